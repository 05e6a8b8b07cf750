//! Accounts in a file of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use homing_core::hop::operator_hash;

use super::*;

const NOW: u64 = 1_790_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn accounts() -> (tempfile::TempDir, Accounts) {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(&dir.path().join("relay.redb")).unwrap();
    (dir, accounts)
}

fn admitted(accounts: &Accounts, key: &RelayKey, now: u64) -> Result<String, Denial> {
    accounts.admit(&key.hash(), now).unwrap().map(|entitled| entitled.name)
}

#[test]
fn a_key_lets_its_account_in_and_no_other_does() {
    let (dir, accounts) = accounts();
    assert_eq!(accounts.admit(&[7; 32], NOW).unwrap(), Err(Denial::Unknown));
    let alice = accounts.add("alice", "small", None, NOW).unwrap();
    let bob = accounts.add("bob", UNLIMITED, Some(NOW + 10), NOW).unwrap();
    assert_eq!(admitted(&accounts, &alice, NOW).unwrap(), "alice");
    assert_eq!(admitted(&accounts, &bob, NOW + 9).unwrap(), "bob");
    assert_eq!(admitted(&accounts, &bob, NOW + 10), Err(Denial::Expired));
    assert_eq!(accounts.admit(&[7; 32], NOW).unwrap(), Err(Denial::Unknown));
    // Kept over a restart, and no key in it.
    drop(accounts);
    let path = dir.path().join("relay.redb");
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(20).any(|window| window == &alice.as_str().as_bytes()[..20]));
    let accounts = Accounts::open(&path).unwrap();
    assert_eq!(accounts.admit(&alice.hash(), NOW).unwrap().unwrap().plan, "small");
    assert_eq!(accounts.list().unwrap().keys().collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn rotation_overlaps_and_a_third_key_ends_the_first() {
    let (_dir, accounts) = accounts();
    let first = accounts.add("alice", UNLIMITED, None, NOW).unwrap();
    let second = accounts.rotate("alice", DAY, NOW).unwrap();
    let end = NOW + DAY.as_secs();
    assert_eq!(accounts.admit(&first.hash(), NOW).unwrap().unwrap().until, Some(end));
    assert_eq!(accounts.admit(&second.hash(), NOW).unwrap().unwrap().until, None);
    assert_eq!(admitted(&accounts, &first, end), Err(Denial::Unknown));
    let third = accounts.rotate("alice", DAY, NOW + 1).unwrap();
    assert_eq!(admitted(&accounts, &first, NOW + 1), Err(Denial::Unknown));
    assert!(admitted(&accounts, &second, NOW + 1).is_ok() && admitted(&accounts, &third, NOW + 1).is_ok());
    let fourth = accounts.rotate("alice", Duration::ZERO, NOW + 2).unwrap();
    assert_eq!(admitted(&accounts, &third, NOW + 2), Err(Denial::Unknown));
    assert!(admitted(&accounts, &fourth, NOW + 2).is_ok());
    assert_eq!(accounts.list().unwrap()["alice"].old_key_until, None);
}

#[test]
fn a_revoked_account_is_told_from_an_unknown_one_and_stays_so() {
    let (_dir, accounts) = accounts();
    let key = accounts.add("alice", UNLIMITED, None, NOW).unwrap();
    let newer = accounts.rotate("alice", DAY, NOW).unwrap();
    accounts.revoke("alice", NOW + 5).unwrap();
    assert_eq!(admitted(&accounts, &key, NOW + 5), Err(Denial::Revoked));
    assert_eq!(admitted(&accounts, &newer, NOW + 5), Err(Denial::Revoked));
    assert!(matches!(accounts.revoke("alice", NOW), Err(AccountError::Revoked(_))));
    assert!(matches!(accounts.rotate("alice", DAY, NOW), Err(AccountError::Revoked(_))));
    assert!(matches!(accounts.revoke("carol", NOW), Err(AccountError::Unknown(_))));
    assert!(matches!(accounts.add("alice", UNLIMITED, None, NOW), Err(AccountError::Exists(_))));
    assert_eq!(accounts.list().unwrap()["alice"].revoked_at, Some(NOW + 5));
}

#[test]
fn use_is_counted_by_the_month() {
    let (_dir, accounts) = accounts();
    accounts.add("alice", UNLIMITED, None, NOW).unwrap();
    let used = |bytes| BTreeMap::from([("alice".into(), bytes), ("gone".into(), 9)]);
    let month = Month::of(NOW);
    accounts.charge(&used(5), month).unwrap();
    accounts.charge(&used(7), month).unwrap();
    assert_eq!(accounts.list().unwrap()["alice"].used_in(month), 12);
    accounts.charge(&used(1), Month(month.0 + 1)).unwrap();
    assert_eq!(accounts.list().unwrap()["alice"].used, Some((Month(month.0 + 1), 1)));
    assert!(!accounts.list().unwrap().contains_key("gone"));
}

#[test]
fn a_clock_that_jumps_changes_when_things_end_and_breaks_nothing() {
    let (_dir, accounts) = accounts();
    let day = DAY.as_secs();
    let key = accounts.add("alice", UNLIMITED, Some(NOW + 7 * day), NOW).unwrap();
    let newer = accounts.rotate("alice", DAY, NOW).unwrap();
    for (now, old) in [(NOW + day, Err(Denial::Unknown)), (NOW - day, Ok(())), (NOW, Ok(())), (0, Ok(()))] {
        assert_eq!(admitted(&accounts, &key, now).map(drop), old, "{now}");
        assert!(admitted(&accounts, &newer, now).is_ok(), "{now}");
    }
    assert_eq!(admitted(&accounts, &newer, u64::MAX), Err(Denial::Expired));
    assert!(admitted(&accounts, &newer, NOW).is_ok(), "nothing was written because of it");
    // Back over the end of a month: what was used stays used.
    let (month, used) = (Month::of(NOW), BTreeMap::from([("alice".into(), 5)]));
    accounts.charge(&used, Month(month.0 + 1)).unwrap();
    accounts.charge(&used, month).unwrap();
    assert_eq!(accounts.list().unwrap()["alice"].used, Some((Month(month.0 + 1), 10)));
    assert_eq!(accounts.list().unwrap()["alice"].used_in(month), 10);
    assert_eq!(accounts.list().unwrap()["alice"].used_in(Month(month.0 + 2)), 0);
}

#[test]
fn months_begin_with_their_first_day() {
    for (unix, month) in [
        (0, 0),
        (31 * 86_400 - 1, 0),
        (31 * 86_400, 1),
        (951_782_400, 30 * 12 + 1), // 2000-02-29
        (951_868_800, 30 * 12 + 2), // the day after
        (1_735_689_599, 54 * 12 + 11),
        (1_735_689_600, 55 * 12),
    ] {
        assert_eq!(Month::of(unix), Month(month), "{unix}");
    }
}

#[test]
fn names_and_files_that_will_not_do_are_told() {
    let (dir, accounts) = accounts();
    for name in ["", "Alice", "a b", "a/b", &"a".repeat(65), "\u{1b}[2J"] {
        assert!(matches!(accounts.add(name, UNLIMITED, None, NOW), Err(AccountError::Name(_))), "{name:?}");
    }
    accounts.add_hash("imported", UNLIMITED, None, NOW, &operator_hash(b"hk_old")).unwrap();
    assert_eq!(accounts.admit(&operator_hash(b"hk_old"), NOW).unwrap().unwrap().name, "imported");
    let path = dir.path().join("relay.redb");
    assert!(matches!(Accounts::open(&path), Err(AccountError::Storage { .. })), "one process has it");
    drop(accounts);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Accounts::open(&path), Err(AccountError::Mode(_))));
    let damaged = dir.path().join("damaged.redb");
    std::fs::write(&damaged, b"no database").unwrap();
    std::fs::set_permissions(&damaged, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(Accounts::open(&damaged), Err(AccountError::Storage { .. })));
    assert_eq!(std::fs::read(&damaged).unwrap(), b"no database");
}
