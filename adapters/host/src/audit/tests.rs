use std::fs;
use std::path::Path;

use homing_core::crypto::Secret;
use serde_json::{Value, json};

use super::chain::Line;
use super::*;

fn files(dir: &Path) -> AuditFiles {
    AuditFiles::new(dir, Secret::new([7; 32]))
}

fn entry(number: u64) -> Value {
    json!({ "device": format!("device {number}"), "name": "a\n\u{1b}[31mb" })
}

/// A trail of `count` lines besides those that begin its files.
fn write(dir: &Path, count: u64, file_max: u64) {
    let mut writer = Writer::with_max(files(dir), file_max).unwrap();
    for number in 0..count {
        writer.append(1_700_000_000 + number, "connected", &entry(number)).unwrap();
    }
    writer.seal().unwrap();
}

fn problems(dir: &Path) -> Vec<String> {
    verify(&files(dir)).unwrap().problems.iter().map(ToString::to_string).collect()
}

/// The trail's only file, as lines.
fn lines(dir: &Path) -> Vec<String> {
    fs::read_to_string(dir.join("audit.ndjson")).unwrap().lines().map(str::to_owned).collect()
}

fn put_back(dir: &Path, lines: &[String]) {
    fs::write(dir.join("audit.ndjson"), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn a_trail_goes_on_over_restarts_and_files() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..6 {
        write(dir.path(), 20, 2000);
    }
    let report = verify(&files(dir.path())).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    assert!(report.files == 9 && report.first > 1 && report.last > 120, "the oldest files are gone: {report:?}");
}

#[test]
fn a_line_is_one_line_whatever_it_says() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1, 1 << 20);
    let lines = lines(dir.path());
    assert_eq!(lines.len(), 2);
    let value: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((value["seq"].as_u64(), value["name"].as_str()), (Some(2), Some("a\n\u{1b}[31mb")));
    assert!(!lines[1].contains('\u{1b}'));
}

#[test]
fn every_changed_byte_removed_line_and_swapped_pair_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 6, 1 << 20);
    let good = lines(dir.path());
    assert!(problems(dir.path()).is_empty());
    for (place, line) in good.iter().enumerate() {
        for byte in 0..line.len() {
            let mut changed = line.clone().into_bytes();
            changed[byte] = if changed[byte] == b'1' { b'2' } else { b'1' };
            let mut bad = good.clone();
            bad[place] = String::from_utf8(changed).unwrap();
            put_back(dir.path(), &bad);
            assert!(!problems(dir.path()).is_empty(), "byte {byte} of line {place}");
        }
        let mut bad = good.clone();
        bad.remove(place);
        put_back(dir.path(), &bad);
        assert!(!problems(dir.path()).is_empty(), "line {place} removed");
        let mut bad = good.clone();
        bad.insert(place, line.clone());
        put_back(dir.path(), &bad);
        assert!(!problems(dir.path()).is_empty(), "line {place} twice");
        for other in 0..place {
            let mut bad = good.clone();
            bad.swap(place, other);
            put_back(dir.path(), &bad);
            assert!(!problems(dir.path()).is_empty(), "lines {other} and {place} swapped");
        }
    }
    put_back(dir.path(), &good);
    assert!(problems(dir.path()).is_empty());
}

#[test]
fn a_trail_that_another_key_wrote_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 3, 1 << 20);
    let other = AuditFiles::new(dir.path(), Secret::new([8; 32]));
    assert_eq!(verify(&other).unwrap().count, 4);
}

#[test]
fn files_that_were_removed_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 40, 2000);
    let oldest = files(dir.path()).existing().remove(0);
    let kept = fs::read(&oldest).unwrap();
    fs::remove_file(&oldest).unwrap();
    assert_eq!(problems(dir.path()).len(), 1);
    fs::write(&oldest, kept).unwrap();
    for path in files(dir.path()).existing() {
        fs::remove_file(path).unwrap();
    }
    assert!(problems(dir.path())[0].contains("cut from the end"));
    // The host starts all the same, and what was done stays to be seen.
    write(dir.path(), 3, 1 << 20);
    assert!(!problems(dir.path()).is_empty());
}

#[test]
fn a_line_that_a_crash_cut_short_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 3, 1 << 20);
    let path = dir.path().join("audit.ndjson");
    let whole = fs::read(&path).unwrap();
    // Written after the last seal, and killed at any byte of it.
    let mut writer = Writer::open(files(dir.path())).unwrap();
    let line = writer.append(1, "connected", &entry(9)).unwrap();
    drop(writer);
    for cut in 0..line.len() {
        fs::write(&path, [&whole, &line.as_bytes()[..cut]].concat()).unwrap();
        assert!(problems(dir.path()).is_empty(), "{cut}");
        write(dir.path(), 1, 1 << 20);
        assert!(problems(dir.path()).is_empty(), "{cut}");
        let head = serde_json::json!({ "first": 1, "last": 4, "chain": Line::parse(core::str::from_utf8(&whole).unwrap()
            .lines().last().unwrap()).map(|line| homing_local::hex::emit(&line.link)) });
        homing_local::file::write_json(&dir.path().join("audit.head"), &head).unwrap();
    }
}

#[test]
fn two_do_not_write_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(files(dir.path())).unwrap();
    assert!(matches!(Writer::open(files(dir.path())), Err(AuditError::Busy)));
    drop(writer);
    Writer::open(files(dir.path())).unwrap();
}

#[test]
fn what_is_noted_reaches_followers_and_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Trail::open(files(dir.path())).unwrap();
    let mut lines = trail.follow();
    for number in 0..100 {
        trail.note("connected", json!({ "device": number }));
    }
    trail.end();
    assert!(lines.try_recv().unwrap().contains("\"event\":\"connected\""));
    drop(trail);
    let report = verify(&files(dir.path())).unwrap();
    assert_eq!((report.lines, report.count), (101, 0));
}

#[test]
fn a_flood_of_refusals_is_two_lines_of_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Trail::open(files(dir.path())).unwrap();
    let refuse = |device: &str| trail.refuse("not granted", json!({ "device": device, "service": "web" }));
    for _ in 0..50_001 {
        refuse("a");
    }
    refuse("b");
    trail.end();
    let report = verify(&files(dir.path())).unwrap();
    assert_eq!((report.lines, report.count), (4, 0), "{report:?}");
    let last: Value = serde_json::from_str(lines(dir.path()).last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["device"], &last["count"]), (&json!("refused"), &json!("a"), &json!(50_000)));
}

#[test]
fn only_connections_and_refusals_are_gathered_and_the_chain_holds() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Trail::open(files(dir.path())).unwrap();
    for _ in 0..100 {
        for device in ["a", "b"] {
            trail.visit(Visit::Connected, json!({ "device": device }));
            trail.visit(Visit::Disconnected, json!({ "device": device }));
        }
        trail.note("paired", json!({ "device": "a" }));
    }
    trail.end_with("stopped");
    let report = verify(&files(dir.path())).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    let lines = lines(dir.path());
    let count = |event: &str| lines.iter().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count();
    assert_eq!(["connected", "disconnected", "reconnected", "paired"].map(count), [2, 2, 2, 100]);
    assert!(lines.last().unwrap().contains("\"event\":\"stopped\""));
    let last: Value = serde_json::from_str(&lines[lines.len() - 2]).unwrap();
    assert_eq!(
        (&last["connected"], &last["disconnected"], &last["last"]),
        (&json!(99), &json!(99), &json!("disconnected"))
    );
}

#[tokio::test]
async fn whoever_asks_can_read_what_has_happened() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Trail::open(files(dir.path())).unwrap();
    for number in 0..100 {
        trail.note("paired", json!({ "device": number }));
        trail.written().await;
        assert!(lines(dir.path()).last().unwrap().contains(&format!("\"device\":{number}")), "{number}");
    }
    trail.end();
    trail.written().await;
}
