//! Keys that lie locked on the disk, or not at all.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::support::Process;
use crate::support::process::homing;
use crate::support::service::Site;

fn secret_file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_needs_its_passphrase_and_nothing_is_lost() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let (data, dir) = (world.host_data(), world.dir.path());
    let device = world.pair().await;
    let plain = std::fs::read(data.join("relay.key")).unwrap();
    let passphrase = secret_file(dir, "passphrase", b"correct horse\n");
    let wrong = secret_file(dir, "wrong", b"battery staple\n");
    let lock = run(&data, &["config", "lock", "--passphrase-file", passphrase.to_str().unwrap(), "--json"]).await;
    assert_eq!(lock.code, 0, "{lock}");
    let locked = std::fs::read(data.join("relay.key")).unwrap();
    assert!(!locked.windows(8).any(|part| plain.windows(8).any(|known| known == part)), "none of the key is left");
    // What runs goes on.
    assert_eq!(run(&data, &["host", "audit", "-n", "1"]).await.code, 1, "needs the key");
    assert_eq!(run(&data, &["host", "devices", "list"]).await.code, 0, "asks the host, which has it");
    world.host.kill();

    let start = |variable: &str, value: &Path| {
        let url = world.relay_url();
        let service = format!("web={}", site.url());
        let mut command =
            homing(&data, &["host", "start", "--relay", &url, "--expose", &service, "--name", support::HOST]);
        command.env(variable, value);
        Process::spawn("host", command)
    };
    let none = run(&data, &["host", "devices", "list"]).await;
    assert!(none.code == 1 && none.stderr.contains("HOMING_PASSPHRASE_FILE"), "{none}");
    let refused = start("HOMING_PASSPHRASE_FILE", &wrong);
    refused.logged("does not open").await;
    assert_eq!(refused.ended().await, 1);
    assert_eq!(std::fs::read(data.join("relay.key")).unwrap(), locked);
    let host = start("HOMING_PASSPHRASE_FILE", &passphrase);
    host.logged("reachable through relay").await;
    let forward = device.forward("web").await;
    assert_eq!(support::client::Http::to(forward.address).await.get("/show").await.status, 200);
    drop(forward);
    host.kill();

    let unlock = || {
        let mut command = homing(&data, &["config", "unlock"]);
        command.env("HOMING_PASSPHRASE_FILE", &passphrase);
        command.status().unwrap().success()
    };
    assert!(unlock());
    assert_eq!(std::fs::read(data.join("relay.key")).unwrap(), plain);
    // A key that the service manager hands over need not be on the disk.
    let credentials = dir.join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let given = credentials.join("relay.key");
    std::fs::rename(data.join("relay.key"), &given).unwrap();
    std::fs::set_permissions(&given, std::fs::Permissions::from_mode(0o444)).unwrap();
    let refused = start("CREDENTIALS_DIRECTORY", &credentials);
    refused.logged("other users can get at").await;
    assert_eq!(refused.ended().await, 1);
    // As systemd lays it there for a service with a user of its own.
    std::fs::set_permissions(&given, std::fs::Permissions::from_mode(0o440)).unwrap();
    let host = start("CREDENTIALS_DIRECTORY", &credentials);
    host.logged("reachable through relay").await;
    let forward = device.forward("web").await;
    assert_eq!(support::client::Http::to(forward.address).await.get("/show").await.status, 200);
    assert!(!data.join("relay.key").exists());
}
