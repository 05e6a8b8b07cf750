//! Networks that change: whoever hears of it looks at once whether the connections are still alive.

use core::time::Duration;
use std::process::Command;
use std::time::Instant;

use crate::hole::End;
use crate::stage::Stage;
use crate::support::within;

/// The namespaces that let anybody change a network which nobody else sees.
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--net"];
/// Three seconds without an answer, and a little. Silence alone would take 24.
const NOTICED: Duration = Duration::from_secs(6);

#[test]
fn a_change_of_network_shows_dead_connections_at_once() {
    let possible = Command::new("unshare").args(NAMESPACE).args(["ip", "link", "show", "lo"]).output();
    if !possible.as_ref().is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED: this machine gives no network namespace: {possible:?}");
    }
    let this = std::env::current_exe().unwrap();
    let args = ["--ignored", "--exact", "network::inside", "--nocapture"];
    let inside = Command::new("unshare").args(NAMESPACE).arg(this).args(args).output().unwrap();
    let (said, logged) = (String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    assert!(inside.status.success() && said.contains("1 passed"), "{said}{logged}");
    eprint!("{logged}");
}

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(done.success(), "ip {args}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "changes the network: the other test runs it in a namespace"]
async fn inside() {
    ip("link set lo up");
    let stage = Stage::set(1, true).await;
    let answers = async || {
        let mut http = stage.connect("web").await;
        assert_eq!(http.get("/show").await.status, 200);
    };
    within(answers()).await;

    for (end, change) in
        [(End::Host, "address add 10.1.2.3/32 dev lo"), (End::Device, "address del 10.1.2.3/32 dev lo")]
    {
        let process = if end == End::Host { &stage.host } else { &stage.proxy.process };
        let losses = || process.log().iter().filter(|line| line.contains("relay does not answer")).count();
        let before = losses();
        stage.holes[0].darken(end);
        let changed = Instant::now();
        ip(change);
        while losses() == before {
            assert!(changed.elapsed() < NOTICED, "the {end:?} noticed nothing:\n{}", process.log().join("\n"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        eprintln!("the {end:?} noticed after {:.1?}", changed.elapsed());
        stage.holes[0].lighten();
        stage.attached(1).await;
        within(answers()).await;
    }
}
