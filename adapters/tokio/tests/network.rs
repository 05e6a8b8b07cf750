//! Changes of a real network, in a namespace of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::process::Command;

use homing_tokio::{Change, Surroundings, is_local};
use tokio::time::timeout;

/// The namespaces that let anybody change a network which nobody else sees.
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--net"];

#[test]
fn each_change_of_the_network_is_told() {
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

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(done.success(), "ip {args}");
}

async fn told(surroundings: &mut Surroundings, what: &str) {
    let change = timeout(Duration::from_secs(5), surroundings.changed()).await;
    assert_eq!(change.unwrap_or_else(|_| panic!("nobody told that {what}")), Change::Network, "{what}");
}

#[tokio::test]
#[ignore = "changes the network: the other test runs it in a namespace"]
async fn inside() {
    let mut surroundings = Surroundings::watch();
    let quiet = timeout(Duration::from_millis(300), surroundings.changed()).await;
    assert!(quiet.is_err(), "{quiet:?} before anything changed");

    ip("link set lo up");
    told(&mut surroundings, "an interface is up").await;
    let address = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
    assert!(!is_local(address));
    ip("address add 10.1.2.3/32 dev lo");
    told(&mut surroundings, "an address came").await;
    assert!(is_local(address));
    ip("route add 10.9.0.0/16 dev lo");
    told(&mut surroundings, "a route came").await;
    ip("address del 10.1.2.3/32 dev lo");
    told(&mut surroundings, "an address went").await;
    assert!(!is_local(address));
    ip("link set lo down");
    told(&mut surroundings, "an interface is down").await;
    let quiet = timeout(Duration::from_millis(1500), surroundings.changed()).await;
    assert!(quiet.is_err(), "{quiet:?} without a change");
}
