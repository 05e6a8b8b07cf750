//! State survives `kill -9` at any moment: what was acknowledged is there, and nothing is half.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what it calls too")]

use core::time::Duration;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use homing_local::Vault;
use serde::{Deserialize, Serialize};

/// Tells the test binary, started once more, to be the one that is killed.
const DIR: &str = "HOMING_TEST_KILLED_IN";
const KILLS: u32 = 1000;

#[derive(Serialize, Deserialize)]
struct State {
    number: u64,
    /// As many copies of the number as make a file of some blocks.
    copies: Vec<u64>,
}

fn vault(dir: &Path) -> (Vault<State>, State) {
    Vault::open_or_create(dir, "state.enc", "state.key", || State { number: 0, copies: Vec::new() }).unwrap()
}

/// Counts on the disk, and says each number once it is there. Without the variable it is no test.
#[test]
fn counts_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let (mut vault, _) = vault(Path::new(&dir));
    loop {
        let counted = vault.update(|state| {
            state.number += 1;
            state.copies = vec![state.number; 2000];
            state.number
        });
        println!("counted {}", counted.unwrap().0);
    }
}

#[test]
fn a_thousand_kills_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    // Only the moment of the kill is random: a line says which it was.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut acknowledged, mut between) = (0, 0);
    for kill in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "counts_until_it_is_killed", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some updates, then any moment of the next one.
        let first = lines.by_ref().map_while(Result::ok).find_map(|line| number(&line));
        std::thread::sleep(Duration::from_micros(random >> 52)); // up to 4 ms
        child.kill().unwrap();
        child.wait().unwrap();
        let said = lines.map_while(Result::ok).filter_map(|line| number(&line)).last().or(first).unwrap();
        assert!(said > acknowledged, "kill {kill}: it went on where it was");
        let (_, state) = vault(dir.path());
        assert!(state.number >= said, "kill {kill}: {said} was acknowledged, {} is there", state.number);
        assert!(state.number <= said + 1 && state.copies == vec![state.number; 2000], "kill {kill}");
        between += u32::from(state.number == said + 1);
        acknowledged = said;
    }
    assert!(between > 0, "no kill fell between the disk and the word of it");
}

fn number(line: &str) -> Option<u64> {
    line.rsplit_once("counted ")?.1.parse().ok()
}
