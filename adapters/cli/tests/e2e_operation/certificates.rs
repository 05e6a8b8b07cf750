//! Certificates: hosts that have to show one, and a relay that is given another while it runs.

use std::path::{Path, PathBuf};

use crate::ends::{reach_with, tls_from, trusting};
use crate::support::authority::{Authority, certificates};
use crate::support::{HOST, Process, run, until};

struct Relay {
    process: Process,
    url: String,
    port: u16,
}

async fn relay(data: &Path, cert: &Path, key: &Path, flags: &[&str]) -> Relay {
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    // Open, so that nothing but certificates keeps anyone out.
    let start = ["relay", "start", "--listen", "127.0.0.1:0", "--open", "--json", "--tls-cert", cert, "--tls-key", key];
    let process = Process::start("relay", data, &[&start[..], flags].concat());
    let address = process.event("listening").await["address"].as_str().unwrap().to_owned();
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    Relay { process, url: format!("wss://localhost:{port}"), port }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_show_a_certificate_where_the_relay_asks_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let [root, chain, key] = certificates(dir.path());
    let (clients, stranger) = (Authority::new(dir.path(), "clients"), Authority::new(dir.path(), "stranger"));
    let ca = clients.root.to_str().unwrap();
    let relay = relay(&at("relay"), &chain, &key, &["--client-ca", ca]).await;

    let shown = |[cert, key]: &[PathBuf; 2]| {
        ["--client-cert", cert.to_str().unwrap(), "--client-key", key.to_str().unwrap()].map(str::to_owned)
    };
    let host = |data: &str, flags: &[String]| {
        let mut args = vec!["host", "start", "--relay", &relay.url, "--name", HOST];
        args.extend(flags.iter().map(String::as_str));
        Process::spawn(data, trusting(&root, &at(data), &args))
    };
    let none = host("none", &[]);
    let line = none.logged("link lost").await;
    assert!(line.contains("den"), "{line}");
    relay.process.logged("a host shows no certificate").await;
    let wrong = host("wrong", &shown(&stranger.issue("someone")));
    let line = wrong.logged("link lost").await;
    assert!(line.contains("does not take this machine's certificate"), "{line}");
    let waiting = host("waiting", &["--on-demand".to_owned()]);
    let line = waiting.logged("link lost").await;
    assert!(line.contains("403"), "{line}");
    for refused in [none, wrong, waiting] {
        assert!(
            !refused.log().iter().any(|line| line.contains("reachable through") || line.contains("waiting at relay"))
        );
    }

    // Devices have none, and need none.
    let good = clients.issue("host");
    reach_with(dir.path(), &root, &relay.url, &shown(&good).each_ref().map(String::as_str)).await;
    let waits = host("waits", &[&shown(&good)[..], &["--on-demand".to_owned()]].concat());
    waits.logged("waiting at relay").await;

    for (args, words) in [
        (vec!["relay", "start", "--open", "--client-ca", ca], "--tls-cert"),
        (vec!["host", "start", "--relay", &relay.url, "--client-cert", good[0].to_str().unwrap()], "--client-key"),
    ] {
        let refused = run(&at("else"), &args).await;
        assert!(refused.code == 2 && refused.stderr.contains(words), "{refused}");
    }
    let mixed = [&shown(&[good[0].clone(), stranger.issue("other")[1].clone()])[..], &[]].concat();
    let mut args = vec!["host", "start", "--relay", &relay.url];
    args.extend(mixed.iter().map(String::as_str));
    let refused = run(&at("else"), &args).await;
    assert!(refused.code == 1 && refused.stderr.contains("does not belong"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_taken_while_the_relay_runs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let [root, chain, key] = certificates(dir.path());
    let relay = relay(&at("relay"), &chain, &key, &[]).await;
    let args = ["host", "start", "--relay", &relay.url, "--name", HOST];
    let host = Process::spawn("host", trusting(&root, &at("host"), &args));
    host.logged("reachable through relay").await;

    let before = std::fs::read(&key).unwrap();
    std::fs::write(&key, "no key").unwrap();
    relay.process.signal("HUP");
    relay.process.logged("keeping the certificate").await;
    drop(tls_from([127, 0, 0, 1], relay.port, &root).await);

    // From another authority, so that it shows.
    std::fs::write(&key, before).unwrap();
    let old_root = at("old-root.pem");
    std::fs::copy(&root, &old_root).unwrap();
    let [root, _, _] = certificates(dir.path());
    relay.process.signal("HUP");
    relay.process.logged("read the certificate again").await;
    drop(tls_from([127, 0, 0, 1], relay.port, &root).await);
    let late = Process::spawn("late", trusting(&old_root, &at("late"), &args));
    let line = late.logged("link lost").await;
    assert!(line.contains("certificate"), "{line}");
    until("the first host stays", core::time::Duration::from_secs(5), || host.is_running()).await;
    assert!(!host.log().iter().any(|line| line.contains("link lost")), "links that exist go on");
}
