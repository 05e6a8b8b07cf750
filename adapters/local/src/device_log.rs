//! The log of a host's devices (protocol 9.7): entries that are chained by hashes, kept by the host and mirrored by each of
//! its devices, so that a host cannot take back what it said. Nothing here reads or writes files.

use homing_core::crypto::{PROTO, hash};
use serde::{Deserialize, Serialize};

use crate::hex;

/// Entries that a host keeps.
pub const KEPT: usize = 1024;
/// The longest entry, in bytes.
pub const LINE_MAX: usize = 1024;

/// A place in the log: how many entries come before it, and what they hash to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PointText", into = "PointText")]
pub struct Point {
    /// The number of the last entry before it, from 1; zero where there is none.
    pub seq: u64,
    /// What that entry and all before it hash to; zeros where there is none.
    pub hash: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct PointText {
    seq: u64,
    hash: String,
}

impl From<Point> for PointText {
    fn from(point: Point) -> Self {
        Self { seq: point.seq, hash: hex::emit(&point.hash) }
    }
}

impl TryFrom<PointText> for Point {
    type Error = &'static str;

    fn try_from(text: PointText) -> Result<Self, Self::Error> {
        let hash = hex::parse(&text.hash).ok_or("a hash has 64 lower-case hex digits")?;
        Ok(Self { seq: text.seq, hash: *hash.expose() })
    }
}

impl Point {
    /// Whether nothing comes before it.
    #[must_use]
    pub fn is_start(&self) -> bool {
        *self == Self::default()
    }

    /// Behind one more entry.
    #[must_use]
    pub fn then(&self, line: &str) -> Self {
        Self { seq: self.seq.saturating_add(1), hash: hash(&[PROTO, b" device log", &self.hash, line.as_bytes()]) }
    }
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Change {
    /// It was let in.
    Added,
    /// It was shut out, or never came back after its pairing.
    Removed,
    /// It has another name.
    Renamed,
    /// What only a later version knows.
    #[serde(other)]
    Other,
}

/// The device that an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What the host knows it by, 8 bytes in hex.
    pub id: String,
    /// What it is called after the change.
    pub name: String,
    /// What kind of device it said to be.
    pub platform: String,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// When it happened, by the host's clock, in Unix seconds.
    pub time: u64,
    /// What happened.
    pub event: Change,
    /// To which device.
    pub device: Listed,
    /// What a renamed device was called before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl Entry {
    /// Reads the entry that follows `point`; none where the line is none.
    #[must_use]
    pub fn parse(point: &Point, line: &str) -> Option<Self> {
        let entry: Self = serde_json::from_str(line).ok().filter(|_| line.len() <= LINE_MAX)?;
        (Some(entry.seq) == point.seq.checked_add(1)).then_some(entry)
    }
}

/// The last entries, each as the line that its hash is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    #[serde(default, skip_serializing_if = "Point::is_start")]
    base: Point,
    #[serde(default, skip_serializing_if = "Point::is_start")]
    head: Point,
    lines: Vec<String>,
}

impl Log {
    /// One that has forgotten everything before `base`.
    #[must_use]
    pub const fn after(base: Point) -> Self {
        Self { base, head: base, lines: Vec::new() }
    }

    /// Adds an entry of the host's own.
    pub fn note(&mut self, time: u64, event: Change, device: &Listed, before: Option<&str>) {
        let entry = Entry {
            seq: self.head.seq.saturating_add(1),
            time,
            event,
            device: device.clone(),
            before: before.map(str::to_owned),
        };
        // Strings and numbers can always be written.
        self.push(serde_json::to_string(&entry).unwrap_or_default(), KEPT);
    }

    /// Adds a line as it is, and forgets the oldest beyond `kept`.
    pub fn push(&mut self, line: String, kept: usize) {
        self.head = self.head.then(&line);
        self.lines.push(line);
        let excess = self.lines.len().saturating_sub(kept);
        for line in self.lines.drain(..excess) {
            self.base = self.base.then(&line);
        }
    }

    /// Before the first line that is kept.
    #[must_use]
    pub const fn base(&self) -> Point {
        self.base
    }

    /// Behind the last one.
    #[must_use]
    pub const fn head(&self) -> Point {
        self.head
    }

    /// Behind the entry of this number, where that is known.
    #[must_use]
    pub fn point(&self, seq: u64) -> Option<Point> {
        self.points().find(|point| point.seq == seq)
    }

    /// What a reader who is at `point` has not seen, and after which point that comes: another one where the log does not
    /// lead through `point`.
    #[must_use]
    pub fn since(&self, point: &Point) -> (Point, &[String]) {
        if *point == self.head {
            return (self.head, &[]);
        }
        match self.points().position(|known| known == *point) {
            Some(place) => (*point, self.lines.get(place..).unwrap_or_default()),
            None => (self.base, &self.lines),
        }
    }

    /// The entries that can be read.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.points().zip(&self.lines).filter_map(|(point, line)| Entry::parse(&point, line))
    }

    /// Every point that is known, the oldest first.
    fn points(&self) -> impl Iterator<Item = Point> {
        let behind = self.lines.iter().scan(self.base, |point, line| {
            *point = point.then(line);
            Some(*point)
        });
        core::iter::once(self.base).chain(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(number: u64) -> Listed {
        Listed { id: format!("{number:016x}"), name: format!("laptop {number}"), platform: "phone".into() }
    }

    fn log(entries: u64) -> Log {
        let mut log = Log::default();
        for number in 1..=entries {
            log.note(1_700_000_000 + number, Change::Added, &listed(number), None);
        }
        log
    }

    #[test]
    fn an_entry_is_the_line_that_the_specification_shows() {
        let mut log = log(1);
        log.note(1_700_000_060, Change::Renamed, &Listed { name: "desk".into(), ..listed(1) }, Some("laptop 1"));
        assert_eq!(
            log.lines,
            [
                r#"{"seq":1,"time":1700000001,"event":"added","device":{"id":"0000000000000001","name":"laptop 1","platform":"phone"}}"#,
                r#"{"seq":2,"time":1700000060,"event":"renamed","device":{"id":"0000000000000001","name":"desk","platform":"phone"},"before":"laptop 1"}"#,
            ]
        );
        // As an implementation of another kind computes them.
        assert_eq!(
            hex::emit(&log.point(1).unwrap().hash),
            "834dedf1046c7ad598d3cddec0b6012ce7677de4e46f9f21c15be0d65d5c9d6b"
        );
        assert_eq!(hex::emit(&log.head().hash), "e96433518a31ef7df38809f67dc5d555768246413b1364d70a09d457bee0d3b4");
        assert_eq!(log.entries().map(|entry| entry.event).collect::<Vec<_>>(), [Change::Added, Change::Renamed]);
    }

    #[test]
    fn a_reader_is_told_what_it_has_not_seen() {
        let log = log(5);
        let at = log.point(3).unwrap();
        assert_eq!(log.since(&at), (at, &log.lines[3..]));
        assert_eq!(log.since(&log.head()), (log.head(), &[][..]));
        assert_eq!(log.since(&Point::default()), (Point::default(), &log.lines[..]));
        // Longer than the log, or of another one: all that there is, which begins somewhere else.
        for other in [Point { seq: 6, ..at }, Point { hash: [1; 32], ..at }] {
            assert_eq!(log.since(&other), (Point::default(), &log.lines[..]));
        }
    }

    #[test]
    fn what_is_forgotten_is_still_hashed() {
        let (whole, mut short) = (log(9), Log::default());
        for line in &whole.lines {
            short.push(line.clone(), 4);
        }
        assert_eq!((short.head(), short.base()), (whole.head(), whole.point(5).unwrap()));
        assert_eq!(short.since(&whole.point(7).unwrap()).1, &whole.lines[7..]);
        assert_eq!(short.since(&whole.point(2).unwrap()), (short.base(), &whole.lines[5..]));
    }

    #[test]
    fn lines_of_others_are_read_with_care() {
        let (point, line) = (Point::default(), log(1).lines[0].clone());
        assert!(Entry::parse(&point, &line).is_some());
        assert!(Entry::parse(&point.then(&line), &line).is_none(), "out of order");
        assert!(Entry::parse(&Point { seq: u64::MAX, ..point }, &line).is_none());
        let later = line.replace("\"added\"", "\"moved\",\"more\":[1]");
        assert_eq!(Entry::parse(&point, &later).unwrap().event, Change::Other);
        assert!(Entry::parse(&point, &format!("{line}{}", " ".repeat(LINE_MAX))).is_none());
        for bad in ["", "{}", "7", &line[..40]] {
            assert!(Entry::parse(&point, bad).is_none(), "{bad}");
        }
        assert!(serde_json::from_str::<Point>(r#"{"seq":1,"hash":"00"}"#).is_err());
        for log in [Log::default(), log(2), Log::after(Point { seq: 3, hash: [1; 32] })] {
            let text = serde_json::to_string(&log).unwrap();
            assert_eq!(serde_json::from_str::<Log>(&text).unwrap(), log, "{text}");
        }
        let text = serde_json::to_string(&point.then(&line)).unwrap();
        assert_eq!(serde_json::from_str::<Point>(&text).unwrap(), point.then(&line));
    }
}
