//! When a relay says that there is use in coming back: of the text it says it with, what counts.

use core::time::Duration;

use homing_core::backoff::LONGEST_TOLD;

/// What the reason of a close frame begins with (protocol 12.1).
const REASON: &str = "retry-after=";

/// The value of `Retry-After` in seconds. None where it is no number: dates are not understood. A relay can silence nobody
/// for ever: [`LONGEST_TOLD`] is the most that counts.
#[cfg(feature = "net")]
pub(crate) fn header(value: &[u8]) -> Option<Duration> {
    number(value.trim_ascii()).map(|seconds| Duration::from_secs(seconds).min(LONGEST_TOLD))
}

/// The reason of a close frame.
pub(crate) fn reason(text: &str) -> Option<Duration> {
    let seconds = number(text.strip_prefix(REASON)?.as_bytes())?;
    Some(Duration::from_secs(seconds).min(LONGEST_TOLD))
}

/// The value of `retry` in a stream of events, in milliseconds.
#[cfg(feature = "net")]
pub(crate) fn event(value: &[u8]) -> Option<Duration> {
    number(value).map(|millis| Duration::from_millis(millis).min(LONGEST_TOLD))
}

/// A number of digits, the largest there is where they say more.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0')));
    Some(digits.iter().fold(0, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_count_and_none_silences_for_ever() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((reason("retry-after=0"), reason("retry-after=31")), (seconds(0), seconds(31)));
        let long = format!("retry-after={}", "9".repeat(100));
        assert_eq!((reason("retry-after=301"), reason(&long)), (Some(LONGEST_TOLD), Some(LONGEST_TOLD)));
        for garbage in [
            "",
            "retry-after=",
            "retry-after=-1",
            "retry-after=+1",
            "retry-after=1.5",
            "retry-after= 1",
            "Retry-After=1",
        ] {
            assert_eq!(reason(garbage), None, "{garbage}");
        }
    }

    #[cfg(feature = "net")]
    #[test]
    fn headers_and_events_are_read_as_numbers() {
        assert_eq!(header(b" 2 "), Some(Duration::from_secs(2)));
        assert_eq!(header(b"99999999999"), Some(LONGEST_TOLD));
        assert_eq!(event(b"1500"), Some(Duration::from_millis(1500)));
        for garbage in [&b""[..], b"Fri, 31 Dec 1999 23:59:59 GMT", b"2s", b"0x10", b"-3", &[0xff]] {
            assert_eq!((header(garbage), event(garbage)), (None, None), "{garbage:?}");
        }
    }
}
