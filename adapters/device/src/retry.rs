//! What the end of a call means for the next: never again, or when.

use core::time::Duration;

use homing_core::channel::code;
use homing_core::handshake::Failure;
use homing_core::hop::Code;
use homing_driver::Ended;
use homing_tokio::DialError;

use crate::error::DeviceError;

/// Between attempts that need a person's help to succeed.
const SLOW: Duration = Duration::from_secs(30);
/// A relay keeps a dial this long, or longer, before it says that the host is not there.
const PARKED: Duration = Duration::from_secs(5);

/// Why there is no call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// The profile could not be read, or is of no use.
    #[error(transparent)]
    Profile(DeviceError),
    /// The relay was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The call ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The network changed or this machine slept, and the call did not survive it.
    #[error("the connection did not survive a change of this machine's network, or its sleep")]
    Moved,
    /// The host told of other keys, by which it is called next.
    #[error("the host has other keys, and is called by these")]
    Followed,
    /// Another relay led to the host sooner.
    #[error("another relay was faster")]
    Outrun,
}

/// What is to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: no attempt can succeed until a person does something.
    Over,
    /// A person should do something: tell whoever waits at once, try again this late at the earliest.
    Refused(Duration),
    /// Try the other capability, soon.
    OtherCapability,
    /// The relay waited for the host in our stead: dial again soon.
    Soon,
    /// Try again, and not before this is over: whoever refused said so.
    Again(Duration),
    /// As `Again`, and earlier where somebody asks for the host meanwhile: the relay itself was not reached.
    AskedFor,
}

/// Judges a cause, given how long the attempt lasted and whether another capability is left to try.
pub(crate) fn judge(cause: &Cause, lasted: Duration, other_capability: bool) -> Verdict {
    match cause {
        Cause::Profile(DeviceError::UnknownHost { .. } | DeviceError::GuestExpired) => Verdict::Over,
        // A damaged file may be restored, a newer version installed.
        Cause::Profile(_) | Cause::Dial(DialError::TlsSetup(_)) => Verdict::Refused(SLOW),
        Cause::Dial(DialError::Full { retry_after, .. }) => Verdict::Again(retry_after.unwrap_or_default()),
        Cause::Dial(_) => Verdict::AskedFor,
        Cause::Moved | Cause::Followed | Cause::Outrun => Verdict::Soon,
        Cause::Ended(ended) => judge_end(ended, lasted, other_capability),
    }
}

fn judge_end(ended: &Ended, lasted: Duration, other_capability: bool) -> Verdict {
    match ended {
        ended if ended.is_final() => Verdict::Over,
        Ended::Hop(Code::Denied) if other_capability => Verdict::OtherCapability,
        // None of these is proof: a relay can say them in the host's stead. So they do not end a tunnel.
        Ended::Hop(Code::Denied) | Ended::Handshake(_) | Ended::Failure(Failure::Rejected | Failure::Suite, _) => {
            Verdict::Refused(SLOW)
        }
        Ended::Failure(Failure::Busy, retry_ms) => Verdict::Again(Duration::from_millis((*retry_ms).into()).min(SLOW)),
        Ended::Busy { retry_after } => Verdict::Again(*retry_after),
        Ended::Hop(Code::NotReachable) if lasted >= PARKED => Verdict::Soon,
        Ended::Wire(_) | Ended::Silent(_) => Verdict::AskedFor,
        _ => Verdict::Again(Duration::ZERO),
    }
}

/// Whether the relay's answer leaves room for another capability to be the better one.
pub(crate) const fn blames_capability(cause: &Cause) -> bool {
    matches!(cause, Cause::Ended(Ended::Hop(Code::Denied | Code::NotReachable)))
}

/// Whether this device was a guest, and its time is over.
pub(crate) const fn is_expiry(cause: &Cause) -> bool {
    matches!(cause, Cause::Profile(DeviceError::GuestExpired) | Cause::Ended(Ended::Closed { code: code::EXPIRED, .. }))
}

/// Whether the answer leaves room for other keys of the host to be the right ones.
pub(crate) const fn blames_keys(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Ended(
            Ended::Hop(Code::Denied | Code::NotReachable | Code::Refused)
                | Ended::Handshake(_)
                | Ended::Failure(Failure::Rejected, _)
        )
    )
}

/// What to tell people.
pub(crate) fn phrase(cause: &Cause) -> String {
    match cause {
        Cause::Ended(Ended::Hop(Code::Denied)) => "the relay no longer lets this device knock: it was revoked, or \
            has not called for too long; pair again with a new link"
            .into(),
        Cause::Ended(Ended::Failure(Failure::Rejected, _)) => "the host does not accept this device: it may have been \
            revoked, or away for too long while the host changed its keys; pair again with a new link"
            .into(),
        Cause::Ended(Ended::Handshake(error)) => format!(
            "WRONG HOST KEY: who answers is not the host that this device was paired with ({error}). If the host was \
             set up anew, pair again; if not, somebody stands in its place"
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use homing_core::handshake;
    use homing_core::wire::Scope;

    use super::*;

    const LONG: Duration = Duration::from_secs(25);
    const SHORT: Duration = Duration::from_millis(80);

    fn closed(code: u16) -> Cause {
        Ended::Closed { scope: Scope::Session, code, text: String::new() }.into()
    }

    #[test]
    fn only_what_the_host_itself_said_ends_a_tunnel() {
        for code in [code::REVOKED, code::TOKEN_INVALID, code::DENIED, code::EXPIRED] {
            assert_eq!(judge(&closed(code), LONG, true), Verdict::Over);
        }
        let gone = Cause::Profile(DeviceError::UnknownHost { host: "nas".into() });
        assert_eq!(judge(&gone, SHORT, false), Verdict::Over);
        for code in [code::NORMAL, code::SHUTDOWN, code::SUPERSEDED, code::INTERNAL] {
            assert_eq!(judge(&closed(code), LONG, true), Verdict::Again(Duration::ZERO));
        }
        for unproven in
            [Ended::Failure(Failure::Rejected, 0), Ended::Handshake(handshake::Error::Forged), Ended::Hop(Code::Denied)]
        {
            assert_eq!(judge(&unproven.into(), SHORT, false), Verdict::Refused(SLOW));
        }
    }

    #[test]
    fn a_denied_capability_leads_to_the_other_one_first() {
        let denied = Ended::Hop(Code::Denied).into();
        assert_eq!(judge(&denied, SHORT, true), Verdict::OtherCapability);
        assert!(blames_capability(&denied));
        assert!(!blames_capability(&Ended::Hop(Code::Busy).into()));
    }

    #[test]
    fn a_dial_that_the_relay_kept_is_repeated_soon_and_others_later() {
        let absent = Ended::Hop(Code::NotReachable).into();
        assert_eq!(judge(&absent, LONG, false), Verdict::Soon);
        assert_eq!(judge(&absent, SHORT, false), Verdict::Again(Duration::ZERO));
        let busy = Ended::Failure(Failure::Busy, 4000).into();
        assert_eq!(judge(&busy, SHORT, false), Verdict::Again(Duration::from_secs(4)));
        let full = Cause::Dial(DialError::Full { relay: "r".into(), retry_after: Some(Duration::from_secs(7)) });
        assert_eq!(judge(&full, SHORT, false), Verdict::Again(Duration::from_secs(7)));
        let busy = Ended::Busy { retry_after: Duration::from_secs(9) }.into();
        assert_eq!(judge(&busy, SHORT, true), Verdict::Again(Duration::from_secs(9)));
        let never = Ended::Failure(Failure::Busy, u32::MAX).into();
        assert_eq!(judge(&never, SHORT, false), Verdict::Again(SLOW));
    }

    #[test]
    fn a_wrong_host_key_is_loud() {
        assert!(phrase(&Ended::Handshake(handshake::Error::Forged).into()).starts_with("WRONG HOST KEY"));
    }
}
