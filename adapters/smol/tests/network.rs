//! A change of a real network, in a namespace of its own. The rest of it is what tokio's adapter shares and tests.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;
use std::process::Command;

use homing_smol::{Change, Surroundings};

/// The namespaces that let anybody change a network which nobody else sees.
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--net"];

#[test]
fn a_change_of_the_network_is_told() {
    let possible = Command::new("unshare").args(NAMESPACE).args(["ip", "link", "show", "lo"]).output();
    if !possible.as_ref().is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED: this machine gives no network namespace: {possible:?}");
    }
    let this = std::env::current_exe().unwrap();
    let inside = Command::new("unshare").args(NAMESPACE).arg(this).args(["--ignored", "--exact", "inside"]).output();
    let inside = inside.unwrap();
    let said = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&inside.stderr));
}

async fn told(surroundings: &mut Surroundings, wait: Duration) -> Option<Change> {
    let late = async {
        smol::Timer::after(wait).await;
        None
    };
    smol::future::or(async { Some(surroundings.changed().await) }, late).await
}

#[test]
#[ignore = "changes the network: the other test runs it in a namespace"]
fn inside() {
    smol::block_on(async {
        let mut surroundings = Surroundings::watch();
        assert_eq!(told(&mut surroundings, Duration::from_millis(300)).await, None, "before anything changed");
        for state in ["up", "down"] {
            let done = Command::new("ip").args(["link", "set", "lo", state]).status().unwrap();
            assert!(done.success());
            assert_eq!(told(&mut surroundings, Duration::from_secs(5)).await, Some(Change::Network), "{state}");
        }
        assert_eq!(told(&mut surroundings, Duration::from_millis(1500)).await, None, "without a change");
    });
}
