//! How an endpoint follows a cluster to the relay that serves its route: what to dial next, and when to give up. No
//! sockets here.

use core::time::Duration;

use super::error::DialError;
use super::seek::Seek;
use super::url::RelayUrl;
use super::{DIAL_TIMEOUT, HOP_TIMEOUT};

/// Redirects that are followed one after the other.
const MAX_HOPS: u8 = 3;
/// Relays of a cluster that may be out of reach before the attempt is over.
const MAX_SKIPS: u8 = 3;

/// The way to a relay that serves a route.
#[derive(Clone, Debug)]
pub struct Way {
    entry: RelayUrl,
    at: RelayUrl,
    seek: Seek,
    hops: u8,
    skips: u8,
}

impl Way {
    /// Begins at a relay, which may send its peers' endpoints on.
    #[must_use]
    pub fn new(entry: &RelayUrl, seek: Seek) -> Self {
        Self { entry: entry.clone(), at: entry.clone(), seek, hops: 0, skips: 0 }
    }

    /// What to dial next.
    #[must_use]
    pub fn hop(&self) -> Hop {
        let limit = if self.hops == 0 { DIAL_TIMEOUT } else { HOP_TIMEOUT };
        Hop { at: self.at.clone(), seek: self.seek, limit }
    }

    /// Takes note of how the dial failed. Where this is no error, there is another relay to dial.
    ///
    /// # Errors
    /// [`DialError`]: this way leads nowhere now.
    pub fn failed(&mut self, error: DialError) -> Result<(), DialError> {
        match error {
            DialError::Elsewhere { relay, to } => {
                if to.is_plain() != self.entry.is_plain() {
                    return Err(DialError::Misled { relay, why: "to another scheme".into() });
                }
                if self.hops == MAX_HOPS {
                    return Err(DialError::Circle { relay: self.entry.authority().into() });
                }
                (self.at, self.hops) = (*to, self.hops.saturating_add(1));
                Ok(())
            }
            // The cluster does not know that this relay is gone, or it is gone for this endpoint only.
            // Or it has another link of this host.
            error if self.skips < MAX_SKIPS && (self.hops > 0 || matches!(error, DialError::Attached { .. })) => {
                self.skips = self.skips.saturating_add(1);
                self.seek.skip = self.seek.skip.saturating_add(1);
                (self.at, self.hops) = (self.entry.clone(), 0);
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// One dial of a way.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Whom to dial.
    pub at: RelayUrl,
    /// What to say there.
    pub seek: Seek,
    /// How long it may take.
    pub limit: Duration,
}

/// Goes a way to its end, hop by hop as `dial` dials them, each within its limit. Also gives the relay that it led to.
///
/// # Errors
/// [`DialError`] of the last hop, or why it went no further.
pub async fn follow<T, F>(
    entry: &RelayUrl,
    seek: Seek,
    mut dial: impl FnMut(Hop) -> F,
) -> Result<(T, RelayUrl), DialError>
where
    F: Future<Output = Result<T, DialError>>,
{
    let mut way = Way::new(entry, seek);
    loop {
        match dial(way.hop()).await {
            Ok(there) => return Ok((there, way.at)),
            Err(error) => way.failed(error)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::ready;

    use futures_util::FutureExt as _;

    use super::*;

    fn url(text: &str) -> RelayUrl {
        text.parse().unwrap()
    }

    fn to(text: &str) -> DialError {
        DialError::Elsewhere { relay: "a".into(), to: url(text).into() }
    }

    #[test]
    fn redirects_are_followed_to_the_same_scheme_and_not_for_ever() {
        let mut way = Way::new(&url("wss://a"), Seek::device(&[1; 16]));
        assert_eq!(way.hop().limit, DIAL_TIMEOUT);
        way.failed(to("wss://b:1")).unwrap();
        let hop = way.hop();
        assert_eq!((hop.at.authority(), hop.seek.skip, hop.limit), ("b:1", 0, HOP_TIMEOUT));
        let plain = way.clone().failed(to("ws://127.0.0.1"));
        assert!(matches!(plain, Err(DialError::Misled { .. })), "{plain:?}");
        way.failed(to("wss://c")).unwrap();
        way.failed(to("wss://a")).unwrap();
        let circle = way.failed(to("wss://b:1"));
        assert!(matches!(circle, Err(DialError::Circle { ref relay }) if **relay == *"a"), "{circle:?}");
    }

    #[test]
    fn a_relay_that_is_gone_is_passed_over_by_asking_the_first_one_again() {
        let entry = url("wss://a");
        let gone = || DialError::timeout(&entry);
        let mut way = Way::new(&entry, Seek::host(&[1; 16], 0));
        for skip in 1..=MAX_SKIPS {
            way.failed(to("wss://b")).unwrap();
            way.failed(gone()).unwrap();
            assert_eq!((way.hop().at, way.hop().seek.skip), (entry.clone(), skip));
        }
        way.failed(to("wss://b")).unwrap();
        assert!(matches!(way.failed(gone()), Err(DialError::Timeout { .. })));
    }

    #[test]
    fn a_relay_that_has_another_link_of_the_host_is_passed_over() {
        let mut way = Way::new(&url("wss://a"), Seek::host(&[1; 16], 1));
        way.failed(DialError::Attached { relay: "a".into() }).unwrap();
        assert_eq!((way.hop().at.authority(), way.hop().seek.skip), ("a", 1));
    }

    #[test]
    fn the_first_relay_being_gone_is_the_end() {
        let entry = url("wss://a");
        let mut way = Way::new(&entry, Seek::device(&[1; 16]));
        assert!(matches!(way.failed(DialError::timeout(&entry)), Err(DialError::Timeout { .. })));
    }

    /// Goes a way on which each dial meets the next of these; gives what came of it, and who was dialled with what.
    fn walk(entry: &str, answers: Vec<Result<u8, DialError>>) -> (Result<(u8, RelayUrl), DialError>, Vec<String>) {
        let (mut answers, mut dialled) = (answers.into_iter(), Vec::new());
        let entry = url(entry);
        let led = follow(&entry, Seek::device(&[1; 16]), |hop| {
            dialled.push(format!("{} {}", hop.at.authority(), hop.seek.skip));
            ready(answers.next().expect("no more dials"))
        });
        let led = led.now_or_never().unwrap();
        assert!(answers.next().is_none(), "{dialled:?}");
        (led, dialled)
    }

    #[test]
    fn a_way_is_gone_to_its_end() {
        let gone = || Err(DialError::timeout(&url("wss://b")));
        let (led, dialled) = walk("wss://a", vec![Err(to("wss://b")), gone(), Err(to("wss://c")), Ok(7)]);
        assert_eq!(led.unwrap(), (7, url("wss://c")));
        assert_eq!(dialled, ["a 0", "b 0", "a 1", "c 1"]);
        let (led, dialled) = walk("wss://a", vec![Ok(7)]);
        assert_eq!((led.unwrap().1, dialled.len()), (url("wss://a"), 1));
    }

    #[test]
    fn a_circle_a_lower_scheme_and_a_strange_answer_end_it() {
        let round = ["wss://b", "wss://a", "wss://b", "wss://a"].map(|next| Err(to(next)));
        let (led, dialled) = walk("wss://a", round.into());
        assert!(matches!(led, Err(DialError::Circle { .. })), "{led:?}");
        assert_eq!(dialled, ["a 0", "b 0", "a 0", "b 0"]);
        let (led, _) = walk("wss://a", vec![Err(to("ws://127.0.0.1:1"))]);
        assert!(matches!(led, Err(DialError::Misled { .. })), "{led:?}");
        let (led, _) = walk("wss://a", vec![Err(DialError::NotARelay { relay: "a".into(), status: 302 })]);
        assert!(matches!(led, Err(DialError::NotARelay { .. })), "{led:?}");
    }
}
