//! Connections of one device, or of one guest of it, gathered, so that a bad network cannot fill the trail.
//!
//! The first time that it connects and the first time that it disconnects are told at once, and whichever comes first opens
//! a window of a minute. What follows in it is counted, and told in one line at its end.

use core::time::Duration;
use std::collections::HashMap;
use std::time::Instant;

use serde_json::{Value, json};

use super::gathered::{text, with_texts};

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(60);
/// Windows at a time. Beyond, a device is not told from its guests.
const MAX_WINDOWS: usize = 1024;

/// What a device did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// A session began, or went on.
    Connected,
    /// Its channel is over.
    Disconnected,
}

impl Visit {
    /// What the trail calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

/// How often something was done, and whether the first time was told.
#[derive(Debug, Default)]
struct Count {
    is_told: bool,
    more: u64,
}

#[derive(Debug)]
struct Window {
    begin: Instant,
    connected: Count,
    disconnected: Count,
    last: Visit,
}

/// Whom connections are gathered by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Visitor {
    device: Option<String>,
    guest: Option<String>,
    guest_id: Option<String>,
}

/// Those that have a window open.
#[derive(Debug, Default)]
pub(super) struct Visits(HashMap<Visitor, Window>);

impl Visits {
    /// Whether this one is told at once; else it is counted.
    pub(super) fn tell(&mut self, now: Instant, visit: Visit, fields: &Value) -> bool {
        let [device, guest, guest_id] = ["device", "guest", "guest_id"].map(|name| text(fields, name));
        let mut visitor = Visitor { device, guest, guest_id };
        if self.0.len() >= MAX_WINDOWS && !self.0.contains_key(&visitor) {
            visitor = Visitor { guest: None, guest_id: None, ..visitor };
        }
        let window = self.0.entry(visitor).or_insert_with(|| Window {
            begin: now,
            connected: Count::default(),
            disconnected: Count::default(),
            last: visit,
        });
        window.last = visit;
        let count = match visit {
            Visit::Connected => &mut window.connected,
            Visit::Disconnected => &mut window.disconnected,
        };
        if core::mem::replace(&mut count.is_told, true) {
            count.more = count.more.saturating_add(1);
            return false;
        }
        true
    }

    /// How often it was besides, in the windows that have ended by now, as fields of lines.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Value> {
        self.end_if(now, |window| window.begin + WINDOW <= now)
    }

    /// The same for all windows, which end here.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Value> {
        self.end_if(now, |_| true)
    }

    /// When the next window ends.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|window| window.begin + WINDOW).min()
    }

    fn end_if(&mut self, now: Instant, is_over: impl Fn(&Window) -> bool) -> Vec<Value> {
        let over = self.0.extract_if(|_, window| is_over(window));
        let counted = over.filter(|(_, window)| window.connected.more > 0 || window.disconnected.more > 0);
        counted.map(|(visitor, window)| line(&visitor, &window, now)).collect()
    }
}

fn line(visitor: &Visitor, window: &Window, now: Instant) -> Value {
    let fields = json!({
        "connected": window.connected.more,
        "disconnected": window.disconnected.more,
        "last": window.last.name(),
        "seconds": now.saturating_duration_since(window.begin).as_secs(),
    });
    with_texts(fields, [("device", &visitor.device), ("guest", &visitor.guest), ("guest_id", &visitor.guest_id)])
}

#[cfg(test)]
mod tests {
    use Visit::{Connected, Disconnected};

    use super::*;

    fn of(device: &str) -> Value {
        json!({ "device": device })
    }

    #[test]
    fn a_device_that_comes_and_goes_is_three_lines_a_minute_and_all_is_counted() {
        let (mut visits, start) = (Visits::default(), Instant::now());
        let (mut told, mut counted, mut lines) = (0, 0, Vec::new());
        // Ten minutes, up for two seconds and down for one.
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            lines.extend(visits.due(now));
            match second % 3 {
                0 => told += u64::from(visits.tell(now, Connected, &of("a"))),
                2 => told += u64::from(visits.tell(now, Disconnected, &of("a"))),
                _ => {}
            }
        }
        let end = start + Duration::from_secs(600);
        lines.extend(visits.due(end));
        for line in &lines {
            counted += line["connected"].as_u64().unwrap() + line["disconnected"].as_u64().unwrap();
        }
        assert_eq!((told, told + counted, lines.len()), (20, 400, 10), "each is told or counted");
        let first =
            json!({ "device": "a", "connected": 19, "disconnected": 19, "last": "disconnected", "seconds": 60 });
        assert_eq!(lines[0], first);
        assert!(visits.next().is_none() && visits.end(end).is_empty());
    }

    #[test]
    fn whoever_stays_is_told_as_it_happens() {
        let (mut visits, start) = (Visits::default(), Instant::now());
        let minute = |number: u32| start + WINDOW * number;
        assert!(visits.tell(start, Connected, &of("a")) && visits.tell(start, Connected, &of("b")));
        assert_eq!(visits.next(), Some(minute(1)));
        assert!(visits.due(minute(1)).is_empty(), "one connection is one line");
        assert!(visits.next().is_none());
        assert!(visits.tell(minute(2), Disconnected, &of("a")) && visits.tell(minute(2), Connected, &of("a")));
        let guest = json!({ "device": "a", "guest": "anna", "guest_id": "a-1" });
        assert!(visits.tell(minute(2), Connected, &guest), "a guest is not its device");
        assert!(!visits.tell(minute(2), Connected, &guest));
        let line = visits.end(minute(2) + Duration::from_secs(7)).pop().unwrap();
        let expected = json!({ "device": "a", "guest": "anna", "guest_id": "a-1", "connected": 1, "disconnected": 0,
                               "last": "connected", "seconds": 7 });
        assert_eq!(line, expected, "and what was counted is told at the end");
    }

    #[test]
    fn however_many_guests_there_are_the_table_is_bounded() {
        let (mut visits, now) = (Visits::default(), Instant::now());
        let guest = |number: usize| json!({ "device": "a", "guest": "anna", "guest_id": number.to_string() });
        let told = (0..10_000).filter(|number| visits.tell(now, Connected, &guest(*number))).count();
        assert_eq!((told, visits.0.len()), (MAX_WINDOWS + 1, MAX_WINDOWS + 1), "one more stands for all others");
        let lines = visits.end(now);
        assert_eq!((lines.len(), &lines[0]["connected"]), (1, &json!(10_000 - MAX_WINDOWS - 1)));
        assert_eq!((&lines[0]["device"], lines[0].get("guest")), (&json!("a"), None));
    }
}
