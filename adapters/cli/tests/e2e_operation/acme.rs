//! A certificate by ACME, from Caddy's authority: a relay proves its name on port 443, in a network of its own.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::behind::{program, there};
use crate::ends::{reach, trusting};
use crate::support::{HOST, PATIENCE, Process, until};

/// Where anybody may listen on port 443, and nobody else does.
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--net"];

#[test]
fn a_relay_gets_its_certificate_by_itself() {
    if !there("caddy", "version") {
        return;
    }
    let possible = Command::new("unshare").args(NAMESPACE).args(["ip", "link", "set", "lo", "up"]).output();
    if !possible.as_ref().is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED: this machine gives no network namespace: {possible:?}");
    }
    let this = std::env::current_exe().unwrap();
    let args = ["--ignored", "--exact", "acme::inside", "--nocapture"];
    let inside = Command::new("unshare").args(NAMESPACE).arg(this).args(args).output().unwrap();
    let (said, logged) = (String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    assert!(inside.status.success() && said.contains("1 passed"), "{said}{logged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own"]
async fn inside() {
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let text = format!(
        "{{\n admin off\n local_certs\n skip_install_trust\n auto_https disable_redirects\n http_port 1080\n \
         https_port 1443\n storage file_system {at}/caddy\n}}\nhttps://localhost:1443 {{\n acme_server\n}}\n"
    );
    let path = dir.path().join("Caddyfile");
    std::fs::write(&path, text).unwrap();
    let mut command = program("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path).env("HOME", dir.path());
    let _caddy = Process::spawn("caddy", command);
    let root = dir.path().join("caddy/pki/authorities/local/root.crt");
    let leaf = dir.path().join("caddy/certificates/local/localhost/localhost.crt");
    until("Caddy has its certificate", PATIENCE, || root.exists() && leaf.exists()).await;
    until("Caddy listens", PATIENCE, || TcpStream::connect(("127.0.0.1", 1443)).is_ok()).await;

    let data = dir.path().join("relay");
    let directory = "https://localhost:1443/acme/local/directory";
    let start = ["relay", "start", "--listen", "127.0.0.1:443", "--open", "--json", "--name", "localhost"];
    let acme = ["--acme", "localhost", "--acme-email", "root@localhost", "--acme-directory", directory];
    let args = [&start[..], &acme].concat();
    let relay = Process::spawn("relay", trusting(&root, &data, &args));
    let listening = relay.event("listening").await;
    assert_eq!(listening["url"], "wss://localhost");
    relay.logged("there is a new certificate").await;
    reach(dir.path(), &root, "wss://localhost").await;
    for name in ["acme-account.json", "acme-certificate.json"] {
        let mode = std::fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let log = relay.log().join("\n");
    assert!(!log.contains("PRIVATE") && !log.contains("BEGIN"), "{log}");

    // What it has is kept, so that a restart asks nobody.
    relay.kill();
    let kept = std::fs::read(data.join("acme-certificate.json")).unwrap();
    let relay = Process::spawn("relay", trusting(&root, &data, &args));
    relay.event("listening").await;
    let args = ["host", "start", "--relay", "wss://localhost", "--name", HOST];
    let host = Process::spawn("host", trusting(&root, &dir.path().join("another"), &args));
    host.logged("reachable through relay").await;
    assert!(!relay.log().join("\n").contains("new certificate"));
    assert_eq!(std::fs::read(data.join("acme-certificate.json")).unwrap(), kept);

    // An authority that is not there: the relay goes on trying, and says so.
    let nowhere = ["--acme", "localhost", "--acme-directory", "https://localhost:1444/directory"];
    let start = ["relay", "start", "--listen", "127.0.0.1:8443", "--open", "--json"];
    let lonely =
        Process::spawn("lonely", trusting(&root, &dir.path().join("lonely"), &[&start[..], &nowhere].concat()));
    let line = lonely.logged("no certificate").await;
    assert!(line.contains("localhost:1444") && line.contains("retry"), "{line}");
    assert!(lonely.is_running());
}
