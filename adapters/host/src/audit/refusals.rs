//! Refusals of one kind, gathered, so that whoever is turned away again and again cannot fill the trail.
//!
//! The first of a kind is told at once and opens a window of a minute. What follows in it is counted, and told in one
//! line at its end; then the next window is twice as long, up to an hour, until one passes in which nothing came.

use core::time::Duration;
use std::collections::HashMap;
use std::time::Instant;

use serde_json::{Value, json};

use super::gathered::{text, with_texts};

/// The first window of a kind.
const WINDOW: Duration = Duration::from_secs(60);
/// The longest window of one that goes on.
const MAX_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Kinds at a time. Beyond, devices and services are not told apart.
const MAX_KINDS: usize = 256;

/// What makes refusals alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    reason: &'static str,
    device: Option<String>,
    service: Option<String>,
}

impl Kind {
    fn new(reason: &'static str, fields: &Value) -> Self {
        Self { reason, device: text(fields, "device"), service: text(fields, "service") }
    }
}

#[derive(Debug)]
struct Window {
    end: Instant,
    length: Duration,
    count: u64,
}

/// The kinds that have a window open.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<Kind, Window>);

impl Refusals {
    /// Whether this one is told at once; else it is counted.
    pub(super) fn tell(&mut self, now: Instant, reason: &'static str, fields: &Value) -> bool {
        let mut kind = Kind::new(reason, fields);
        if self.0.len() >= MAX_KINDS && !self.0.contains_key(&kind) {
            kind = Kind { device: None, service: None, ..kind };
        }
        if let Some(window) = self.0.get_mut(&kind) {
            window.count = window.count.saturating_add(1);
            return false;
        }
        self.0.insert(kind, Window { end: now + WINDOW, length: WINDOW, count: 0 });
        true
    }

    /// How often it was in the windows that have ended by now, as fields of lines.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Value> {
        let mut lines = Vec::new();
        self.0.retain(|kind, window| {
            if window.end > now {
                return true;
            }
            if window.count == 0 {
                return false;
            }
            lines.push(line(kind, window));
            window.count = 0;
            window.length = window.length.saturating_mul(2).min(MAX_WINDOW);
            window.end = now + window.length;
            true
        });
        lines
    }

    /// The same for all windows, which end here.
    pub(super) fn end(&mut self) -> Vec<Value> {
        self.0.drain().filter(|(_, window)| window.count > 0).map(|(kind, window)| line(&kind, &window)).collect()
    }

    /// When the next window ends.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|window| window.end).min()
    }
}

fn line(kind: &Kind, window: &Window) -> Value {
    let fields = json!({ "reason": kind.reason, "count": window.count, "seconds": window.length.as_secs() });
    with_texts(fields, [("device", &kind.device), ("service", &kind.service)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(device: &str) -> Value {
        json!({ "device": device, "service": "web", "method": "GET" })
    }

    #[test]
    fn a_flood_is_two_lines_in_its_first_minute_and_few_afterwards() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let (mut at_once, mut counted, mut lines) = (0, 0, 0);
        for second in 0..24 * 3600 {
            let now = start + Duration::from_secs(second);
            for line in refusals.due(now) {
                lines += 1;
                counted += line["count"].as_u64().unwrap();
                if second == 60 {
                    let first = json!({ "reason": "not granted", "device": "a", "service": "web", "count": 119, "seconds": 60 });
                    assert_eq!(line, first);
                }
            }
            for _ in 0..2 {
                at_once += u64::from(refusals.tell(now, "not granted", &of("a")));
            }
        }
        counted += refusals.end().iter().map(|line| line["count"].as_u64().unwrap()).sum::<u64>();
        assert_eq!((at_once, counted), (1, 2 * 24 * 3600 - 1), "each is told or counted");
        assert!((20..40).contains(&lines), "{lines} lines in a day");
        assert!(refusals.next().is_none());
    }

    #[test]
    fn what_was_quiet_is_told_at_once_again() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert!(refusals.tell(start, "not granted", &of("a")));
        assert_eq!(refusals.next(), Some(start + WINDOW));
        assert!(refusals.due(start + WINDOW).is_empty(), "one refusal is one line");
        assert!(refusals.next().is_none());
        assert!(refusals.tell(start + WINDOW, "not granted", &of("a")));
        assert!(refusals.tell(start + WINDOW, "grant expired", &of("a")));
        assert!(refusals.tell(start + WINDOW, "not granted", &of("b")));
        assert!(!refusals.tell(start + WINDOW, "not granted", &of("b")));
    }

    #[test]
    fn however_many_there_are_the_table_is_bounded() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let told = (0..10_000).filter(|number| refusals.tell(now, "not granted", &of(&number.to_string()))).count();
        assert_eq!(told, MAX_KINDS + 1, "one more stands for all others");
        assert_eq!(refusals.0.len(), MAX_KINDS + 1);
        let lines = refusals.end();
        assert_eq!((lines.len(), lines[0]["count"].as_u64()), (1, Some(10_000 - MAX_KINDS as u64 - 1)));
        assert_eq!(lines[0].get("device"), None);
    }
}
