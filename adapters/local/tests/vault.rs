//! The encrypted state file, on real disks, among real processes, some of which get killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what it calls too")]

use core::time::Duration;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use homing_core::keystore::Header;
use homing_local::{StoreError, Vault};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

const STATE: &str = "vault.enc";
const KEY: &str = "vault.key";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    count: u64,
    /// As long as `count` says, so that half a state cannot pass for a whole one.
    filler: String,
}

impl State {
    fn of(count: u64) -> Self {
        Self { count, filler: "secret ".repeat(usize::try_from(count % 700).unwrap()) }
    }
}

type Store = Vault<State>;

#[test]
fn state_survives_and_generations_count_up() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    assert!(Store::open(&data, STATE, KEY).unwrap().is_none());
    let mut vault = Store::create(&data, STATE, KEY, &State::of(1)).unwrap();
    vault.save(&State::of(600)).unwrap();
    drop(vault);
    let (vault, state) = Store::open(&data, STATE, KEY).unwrap().unwrap();
    assert_eq!((vault.generation(), state), (2, State::of(600)));
    for (path, mode) in [(data.clone(), 0o700), (data.join(STATE), 0o600), (data.join(KEY), 0o600)] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    let sealed = fs::read(data.join(STATE)).unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"), "nothing in the clear");
    assert!(matches!(Store::create(&data, STATE, KEY, &State::of(3)), Err(StoreError::Exists { .. })));
    let (_, state) = Store::open_or_create(&data, STATE, KEY, || State::of(9)).unwrap();
    assert_eq!(state, State::of(600));
}

#[test]
fn two_vaults_share_one_key_file() {
    let dir = TempDir::new().unwrap();
    Store::create(dir.path(), "relay.enc", KEY, &State::of(1)).unwrap();
    let key = fs::read(dir.path().join(KEY)).unwrap();
    Store::create(dir.path(), STATE, KEY, &State::of(2)).unwrap();
    assert_eq!(fs::read(dir.path().join(KEY)).unwrap(), key);
    assert_eq!(Store::open(dir.path(), "relay.enc", KEY).unwrap().unwrap().1, State::of(1));
}

#[test]
fn a_missing_key_is_never_replaced() {
    let dir = created(&State::of(1));
    fs::remove_file(dir.path().join(KEY)).unwrap();
    let before = fs::read(dir.path().join(STATE)).unwrap();
    let error = Store::open_or_create(dir.path(), STATE, KEY, State::default).unwrap_err();
    assert!(matches!(error, StoreError::KeyMissing { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().join(KEY).to_str().unwrap()), "{error}");
    assert!(!dir.path().join(KEY).exists());
    assert_eq!(fs::read(dir.path().join(STATE)).unwrap(), before);
}

#[test]
fn damaged_and_foreign_files_are_named_and_left_alone() {
    let dir = created(&State::of(5));
    let path = dir.path().join(STATE);
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [flipped, good[..good.len() / 2].to_vec(), b"{}".to_vec(), Vec::new()] {
        fs::write(&path, &bad).unwrap();
        let error = Store::open(dir.path(), STATE, KEY).unwrap_err();
        assert!(matches!(error, StoreError::Sealed { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        Store::open_or_create(dir.path(), STATE, KEY, State::default).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), bad);
    }
    fs::write(&path, &good).unwrap();
    fs::write(dir.path().join(KEY), [0; 31]).unwrap();
    assert!(matches!(Store::open(dir.path(), STATE, KEY), Err(StoreError::KeyDamaged { .. })));
}

#[test]
fn files_that_others_can_read_are_refused() {
    let dir = created(&State::of(1));
    for name in [STATE, KEY] {
        let path = dir.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Store::open(dir.path(), STATE, KEY).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Store::open(dir.path(), STATE, KEY).unwrap().unwrap();
}

#[test]
fn a_stale_save_is_refused_and_an_update_is_not() {
    let dir = created(&State::of(1));
    let (mut first, _) = Store::open(dir.path(), STATE, KEY).unwrap().unwrap();
    let (mut second, _) = Store::open(dir.path(), STATE, KEY).unwrap().unwrap();
    first.save(&State::of(2)).unwrap();
    assert!(matches!(second.save(&State::of(3)), Err(StoreError::Changed { .. })));
    let (seen, state) = second.update(|state| core::mem::replace(state, State::of(4)).count).unwrap();
    assert_eq!((seen, state), (2, State::of(4)));
    assert_eq!(first.read().unwrap(), State::of(4));
}

#[test]
fn a_failed_change_writes_nothing() {
    #[derive(Debug)]
    struct Refused;
    impl From<StoreError> for Refused {
        fn from(error: StoreError) -> Self {
            panic!("{error}")
        }
    }
    let dir = created(&State::of(1));
    let (mut vault, _) = Store::open(dir.path(), STATE, KEY).unwrap().unwrap();
    let before = fs::read(vault.path()).unwrap();
    vault
        .try_update(|state| {
            state.count = 9;
            Err::<(), _>(Refused)
        })
        .unwrap_err();
    assert_eq!(fs::read(vault.path()).unwrap(), before);
    vault.update(|state| state.count = 9).unwrap();
    assert_ne!(fs::read(vault.path()).unwrap(), before);
}

#[test]
fn processes_lose_none_of_each_others_changes() {
    let dir = created(&State::of(0));
    let children: Vec<_> = (0..4).map(|_| child("child_that_counts_25", dir.path())).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (vault, state) = Store::open(dir.path(), STATE, KEY).unwrap().unwrap();
    assert_eq!((vault.generation(), state), (101, State::of(100)));
}

#[test]
fn a_process_killed_while_it_saves_leaves_a_whole_state() {
    let dir = created(&State::of(0));
    let mut seen = 1;
    for round in 0..60_u64 {
        let mut saver = child("child_that_saves_forever", dir.path());
        // Not before it saved at least once, or there would be nothing to interrupt.
        wait_until(|| generation(dir.path()) > seen);
        // Somewhere within the next few saves.
        std::thread::sleep(Duration::from_micros(round * 7919 % 4001));
        saver.kill().unwrap();
        saver.wait().unwrap();
        let (vault, state) = Store::open(dir.path(), STATE, KEY).unwrap().unwrap();
        assert!(vault.generation() > seen);
        assert_eq!(state, State::of(vault.generation() - 1), "every save is the next state, whole");
        seen = vault.generation();
    }
    // What the killed ones left behind stands in nobody's way, and does not pile up.
    let (mut vault, _) = Store::open(dir.path(), STATE, KEY).unwrap().unwrap();
    vault.save(&State::of(1)).unwrap();
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".vault.enc.lock", ".vault.key.lock", STATE, KEY]);
}

#[test]
#[ignore = "run by another test, as a process of its own"]
fn child_that_counts_25() {
    let Some(dir) = child_dir() else { return };
    let (mut vault, _) = Store::open(&dir, STATE, KEY).unwrap().unwrap();
    for _ in 0..25 {
        vault.update(|state| *state = State::of(state.count + 1)).unwrap();
    }
}

#[test]
#[ignore = "run by another test, as a process of its own"]
fn child_that_saves_forever() {
    let Some(dir) = child_dir() else { return };
    let (mut vault, _) = Store::open(&dir, STATE, KEY).unwrap().unwrap();
    let orphaned = Instant::now() + Duration::from_secs(60);
    while Instant::now() < orphaned {
        vault.update(|state| *state = State::of(state.count + 1)).unwrap();
    }
}

fn created(state: &State) -> TempDir {
    let dir = TempDir::new().unwrap();
    Store::create(dir.path(), STATE, KEY, state).unwrap();
    dir
}

fn child(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--test-threads=1"])
        .env("VAULT_TEST_DIR", dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os("VAULT_TEST_DIR").map(PathBuf::from)
}

fn generation(dir: &Path) -> u64 {
    Header::parse(&fs::read(dir.join(STATE)).unwrap()).unwrap().generation
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_micros(200));
    }
}
