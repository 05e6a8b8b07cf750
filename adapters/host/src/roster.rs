//! What the log of devices is told: the difference that a change of the host's state made.

use homing_local::device_log::{Change, Listed, Log};

use crate::registry::Device;

/// A device as the log knows it, and when it was paired.
pub(crate) type Known = (Listed, u64);

/// All devices, as the log knows them.
pub(crate) fn of(devices: &[Device]) -> Vec<Known> {
    let known = |device: &Device| {
        let (id, name, platform) = (device.id.clone(), device.name.clone(), device.platform.clone());
        (Listed { id, name, platform }, device.paired_at)
    };
    devices.iter().map(known).collect()
}

/// Notes how `after` differs from `before`, at the time `now`, in Unix seconds.
pub(crate) fn note(log: &mut Log, before: &[Known], after: &[Known], now: u64) {
    let find = |among: &[Known], id: &str| among.iter().position(|(device, _)| device.id == id);
    for (device, _) in before.iter().filter(|(device, _)| find(after, &device.id).is_none()) {
        log.note(now, Change::Removed, device, None);
    }
    for (device, paired_at) in after {
        match find(before, &device.id).and_then(|place| before.get(place)) {
            None => log.note(*paired_at, Change::Added, device, None),
            Some((known, _)) if known.name != device.name => log.note(now, Change::Renamed, device, Some(&known.name)),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, name: &str) -> Known {
        (Listed { id: id.into(), name: name.into(), platform: "phone".into() }, 7)
    }

    #[test]
    fn each_difference_is_noted_once() {
        let mut log = Log::default();
        let (a, b, c) = (known("a", "one"), known("b", "two"), known("c", "three"));
        note(&mut log, &[], &[a.clone(), b.clone()], 10);
        note(&mut log, &[a.clone(), b.clone()], &[a.clone(), b.clone()], 11);
        note(&mut log, &[a, b], &[known("b", "second"), c], 12);
        let said: Vec<_> =
            log.entries().map(|entry| (entry.time, entry.event, entry.device.id, entry.before)).collect();
        assert_eq!(
            said,
            [
                (7, Change::Added, "a".to_owned(), None),
                (7, Change::Added, "b".to_owned(), None),
                (12, Change::Removed, "a".to_owned(), None),
                (12, Change::Renamed, "b".to_owned(), Some("two".to_owned())),
                (7, Change::Added, "c".to_owned(), None),
            ]
        );
    }
}
