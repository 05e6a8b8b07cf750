//! This device's copy of a host's log of devices (protocol 9.7): what is added to it, and what is not believed. Only
//! decisions are here; the profile keeps the copy.

use core::fmt;

use homing_local::device_log::{Change, Entry, Log, Point};
use serde::{Deserialize, Serialize};

/// Entries that a device keeps.
const KEPT: usize = 256;
/// Entries in one line of news, at most.
const BATCH: usize = homing_local::device_log::KEPT;

/// What a host says of its log, in one line of news.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Batch {
    /// Where the entries begin.
    after: Point,
    /// The number of the log's last entry.
    head: u64,
    entries: Vec<String>,
}

/// Entries that follow one another.
#[derive(Debug)]
pub(crate) struct Checked {
    after: Point,
    /// Behind the last of them.
    pub(crate) end: Point,
    head: u64,
    entries: Vec<(String, Entry)>,
    /// Set where they do not follow what was known.
    broken: Option<Break>,
}

/// How a host's log fails to go on from the one that it told of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Break {
    /// It ends earlier.
    RolledBack,
    /// It says other things.
    Rewritten,
    /// It has forgotten more than was told of.
    Missing,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RolledBack => {
                "the host's log of devices ends before what it told earlier: its state was put back to an older copy, and \
                 devices that were removed since may be let in again"
            }
            Self::Rewritten => {
                "the host's log of devices is not the one that it told earlier: its state was put back to an older copy \
                 or changed, and devices may be let in that nobody here was told of"
            }
            Self::Missing => {
                "the host's log of devices has a gap: it has forgotten changes that this device was never told of"
            }
        })
    }
}

/// A host's log that was not the one that this device knew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// What is wrong.
    pub what: Break,
    /// When that was noticed, in Unix seconds.
    pub noticed_at: u64,
    /// The log as it was told before.
    before: Log,
}

impl Alarm {
    /// What the host had told before, the oldest first.
    pub fn before(&self) -> impl Iterator<Item = Entry> {
        self.before.entries()
    }
}

/// The copy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Mirror {
    log: Log,
    /// The entry after which its user is told of each.
    told_from: Option<u64>,
    alarm: Option<Alarm>,
}

impl Batch {
    /// Checks the line for somebody who has heard everything up to `at`. None where it is none that may follow anything.
    pub(crate) fn check(self, at: &Point) -> Option<Checked> {
        let Self { after, head, entries } = self;
        if entries.len() > BATCH {
            return None;
        }
        let (mut end, mut checked) = (after, Vec::with_capacity(entries.len()));
        for line in entries {
            let entry = Entry::parse(&end, &line)?;
            end = end.then(&line);
            checked.push((line, entry));
        }
        if head < end.seq {
            return None;
        }
        let broken = match after {
            // Whoever has heard nothing cannot be contradicted.
            after if after == *at || *at == Point::default() => None,
            _ if head < at.seq => Some(Break::RolledBack),
            after if after.seq > at.seq => Some(Break::Missing),
            _ => Some(Break::Rewritten),
        };
        Some(Checked { after, end, head, entries: checked, broken })
    }
}

impl Checked {
    /// Whether this tells of anything.
    pub(crate) const fn is_news(&self) -> bool {
        self.broken.is_some() || !self.entries.is_empty()
    }
}

impl Mirror {
    /// How far the copy goes.
    pub(crate) const fn head(&self) -> Point {
        self.log.head()
    }

    /// What is not acknowledged yet.
    pub(crate) const fn alarm(&self) -> Option<&Alarm> {
        self.alarm.as_ref()
    }

    /// The user has seen it.
    pub(crate) fn accept(&mut self) -> Option<Alarm> {
        self.alarm.take()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.log.entries()
    }

    /// Adds what was checked; other processes may have done so before. Gives the entries that the user is to hear of, and
    /// false where they do not fit the copy any more: then the host is to be asked again.
    pub(crate) fn take(&mut self, heard: &Checked, own_id: &str, now: u64) -> (Vec<Entry>, bool) {
        let is_first = self.head() == Point::default();
        if is_first || (heard.broken.is_some() && self.head() != heard.end) {
            let before = core::mem::replace(&mut self.log, Log::after(heard.after));
            if let Some(what) = heard.broken {
                // The first one says what was known.
                self.alarm.get_or_insert(Alarm { what, noticed_at: now, before });
                // What it says now is no news to tell one by one.
                self.told_from = Some(heard.head);
            }
        }
        let mut point = heard.after;
        let mut fits = self.log.point(point.seq) == Some(point);
        for (line, entry) in &heard.entries {
            if !fits {
                break;
            }
            if self.told_from.is_none() && (entry.event, entry.device.id.as_str()) == (Change::Added, own_id) {
                self.told_from = Some(entry.seq);
            }
            point = point.then(line);
            if point.seq > self.head().seq {
                self.log.push(line.clone(), KEPT);
            } else {
                fits = self.log.point(point.seq) == Some(point);
            }
        }
        if !fits {
            return (Vec::new(), false);
        }
        if heard.end.seq == heard.head {
            self.told_from.get_or_insert(heard.head);
        }
        let from = self.told_from.unwrap_or(u64::MAX);
        let told = heard.entries.iter().map(|(_, entry)| entry).filter(|entry| entry.seq > from).cloned();
        (told.collect(), true)
    }
}

#[cfg(test)]
mod tests {
    use homing_local::device_log::Listed;

    use super::*;

    fn note(log: &mut Log, event: Change, name: &str) {
        let device = Listed { id: format!("id of {name}"), name: name.into(), platform: "phone".into() };
        log.note(1_700_000_000, event, &device, None);
    }

    fn log(names: &[&str]) -> Log {
        let mut log = Log::default();
        names.iter().for_each(|name| note(&mut log, Change::Added, name));
        log
    }

    /// What a host with this log answers to somebody who is at `at`.
    fn answer(log: &Log, at: &Point) -> Batch {
        let (after, lines) = log.since(at);
        Batch { after, head: log.head().seq, entries: lines.to_vec() }
    }

    /// Asks, checks and takes; gives the names that the user hears.
    fn hear(mirror: &mut Mirror, log: &Log) -> Vec<String> {
        let at = mirror.head();
        let checked = answer(log, &at).check(&at).expect("in order");
        let (told, fits) = mirror.take(&checked, "id of me", 7);
        assert!(fits && mirror.head() == log.head());
        told.into_iter().map(|entry| entry.device.name).collect()
    }

    #[test]
    fn a_device_hears_what_came_after_itself() {
        let (mut mirror, mut host) = (Mirror::default(), log(&["first", "me", "other"]));
        assert_eq!(hear(&mut mirror, &host), ["other"]);
        assert!(hear(&mut mirror, &host).is_empty());
        note(&mut host, Change::Removed, "other");
        assert_eq!(hear(&mut mirror, &host), ["other"]);
        assert_eq!(mirror.entries().count(), 4);
        assert!(mirror.alarm().is_none());
        // One that finds itself nowhere begins with what is new.
        let (mut late, mut host) = (Mirror::default(), log(&["first"]));
        assert!(hear(&mut late, &host).is_empty());
        note(&mut host, Change::Added, "second");
        assert_eq!(hear(&mut late, &host), ["second"]);
    }

    #[test]
    fn a_log_that_does_not_go_on_is_noticed_and_kept() {
        for (names, what) in [
            (&["me"][..], Break::RolledBack),
            (&[], Break::RolledBack),
            (&["me", "b"], Break::RolledBack),
            (&["me", "b", "x"], Break::Rewritten),
            (&["me", "b", "x", "y"], Break::Rewritten),
        ] {
            let (mut mirror, host) = (Mirror::default(), log(names));
            hear(&mut mirror, &log(&["me", "b", "c"]));
            assert!(hear(&mut mirror, &host).is_empty());
            let alarm = mirror.alarm().unwrap();
            assert_eq!((alarm.what, alarm.noticed_at, alarm.before().count()), (what, 7, 3));
            // It goes on with what the host has now, and the alarm stays.
            let mut later = host.clone();
            note(&mut later, Change::Added, "later");
            assert_eq!(hear(&mut mirror, &later), ["later"]);
            assert_eq!(mirror.accept().unwrap().what, what);
            assert!(mirror.alarm().is_none());
        }
        let (mut mirror, mut short) = (Mirror::default(), Log::default());
        hear(&mut mirror, &log(&["me"]));
        for line in &log(&["me", "b", "c"]).since(&Point::default()).1.to_vec() {
            short.push(line.clone(), 1);
        }
        hear(&mut mirror, &short);
        assert_eq!(mirror.alarm().unwrap().what, Break::Missing);
    }

    #[test]
    fn processes_that_share_the_copy_do_not_contradict_each_other() {
        let (mut mirror, mut host) = (Mirror::default(), log(&["me", "b"]));
        hear(&mut mirror, &host);
        let at = mirror.head();
        note(&mut host, Change::Added, "c");
        let early = answer(&host, &at).check(&at).unwrap();
        note(&mut host, Change::Added, "d");
        let late = answer(&host, &at).check(&at).unwrap();
        let names = |told: &[Entry]| told.iter().map(|entry| entry.device.name.clone()).collect::<Vec<_>>();
        let (told, fits) = mirror.take(&late, "id of me", 7);
        assert_eq!((names(&told), fits), (vec!["c".to_owned(), "d".to_owned()], true));
        let (told, fits) = mirror.take(&early, "id of me", 7);
        assert_eq!((names(&told), fits), (vec!["c".to_owned()], true), "each tells its own user");
        assert_eq!((mirror.head(), mirror.alarm().is_none()), (host.head(), true));
        // The other one met a host that was rolled back.
        let (back, at) = (log(&["me"]), mirror.head());
        let broken = answer(&back, &at).check(&at).unwrap();
        assert!(mirror.take(&broken, "id of me", 7).1 && mirror.take(&broken, "id of me", 8).1);
        assert_eq!(mirror.alarm().unwrap().noticed_at, 7);
        let (_, fits) = mirror.take(&late, "id of me", 7);
        assert!(!fits, "what came before is over");
    }

    #[test]
    fn lines_that_lead_nowhere_are_refused() {
        let host = log(&["a", "b"]);
        let at = Point::default();
        let good = answer(&host, &at);
        assert!(good.clone().check(&at).is_some());
        let mut turned = good.clone();
        turned.entries.reverse();
        assert!(turned.check(&at).is_none());
        assert!(Batch { head: 1, ..good.clone() }.check(&at).is_none());
        assert!(Batch { entries: vec!["{}".into()], ..good.clone() }.check(&at).is_none());
        assert!(Batch { entries: vec![String::new(); BATCH + 1], ..good }.check(&at).is_none());
    }
}
