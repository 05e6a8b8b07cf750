//! A relay on a full disk: it goes on, keeps what it had, and recovers by itself.

use core::net::SocketAddr;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::exhausted::{ends, reads};
use crate::support::{HOST, Process, run};

/// Lets anybody mount what nobody else sees.
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

#[test]
fn on_a_full_disk_it_goes_on_and_keeps_what_it_had() {
    let possible = Command::new("unshare").args(NAMESPACE).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !possible.as_ref().is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED: this machine gives no mount namespace: {possible:?}");
    }
    let this = std::env::current_exe().unwrap();
    let args = ["--ignored", "--exact", "full::inside", "--nocapture"];
    let inside = Command::new("unshare").args(NAMESPACE).arg(this).args(args).output().unwrap();
    let (said, logged) = (String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    assert!(inside.status.success() && said.contains("1 passed"), "{said}{logged}");
}

async fn names(data: &Path) -> Vec<String> {
    let list = run(data, &["relay", "keys", "list", "--json"]).await;
    assert_eq!(list.code, 0, "{list}");
    let accounts: Value = serde_json::from_str(list.stdout.trim()).unwrap();
    accounts.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a mount namespace of its own"]
async fn inside() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("relay");
    homing_local::file::make_dir(&data).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "none"]).arg(&data).status().unwrap();
    assert!(mounted.success());
    let start = ["relay", "start", "--listen", "127.0.0.1:0", "--json"];
    let relay = Process::start("relay", &data, &start);
    let key = relay.event("relay_key").await["relay_key"].as_str().unwrap().to_owned();
    let key_file = dir.path().join("key");
    homing_local::file::write(&key_file, key.as_bytes()).unwrap();
    let address: SocketAddr = relay.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    let (host, _forward, forward) = ends(dir.path(), address, Some(&key_file)).await;
    assert!(reads(forward).await);

    let filler = data.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    while file.write_all(&[7]).is_ok() {}
    // Until the file of accounts would have to grow.
    let mut made = Vec::new();
    let refused = loop {
        let name = format!("account-{}", made.len());
        let added = run(&data, &["relay", "keys", "add", &name]).await;
        if added.code != 0 {
            break added;
        }
        made.push(name);
        assert!(made.len() < 500, "there has to be an end of the room");
    };
    assert!(refused.code == 1 && refused.stderr.contains("No space left"), "{refused}");
    for _ in 0..10 {
        assert!(reads(forward).await, "links that exist go on");
    }
    assert_eq!(names(&data).await, [&made[..], &["default".to_owned()]].concat(), "what there was is there");

    drop(file);
    std::fs::remove_file(&filler).unwrap();
    // A host comes back, which takes a look at the accounts.
    host.kill();
    let url = format!("ws://{address}");
    let args = ["host", "start", "--relay", &url, "--name", HOST, "--relay-key-file", key_file.to_str().unwrap()];
    let again = Process::start("host", &dir.path().join("host"), &args);
    again.logged("reachable through relay").await;
    let added = run(&data, &["relay", "keys", "add", "bob"]).await;
    assert_eq!(added.code, 0, "{added}");
    relay.kill();
    let relay = Process::start("relay", &data, &start);
    relay.event("listening").await;
    made.extend(["bob".to_owned(), "default".to_owned()]);
    assert_eq!(names(&data).await, made, "and whole");
}
