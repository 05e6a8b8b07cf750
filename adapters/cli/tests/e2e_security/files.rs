//! What lies on the disk: for its owner alone, unreadable without its key, and never made worse by a refusal.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use homing_core::pairing::parse_link;
use serde_json::json;

use crate::plain;
use crate::scene::{holds, keys_in, ticket, tree, unhex, unseal};
use crate::support::{Finished, HOST, World, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lies_open_on_the_disk() {
    let echo = plain::echo().await;
    let world = World::start(&[("echo", format!("tcp://{echo}"))]).await;
    let (link, _dialog) = ticket(&world.host_data(), &json!({})).await;
    let data = world.dir.path().join("device");
    let paired = run(&data, &["pair", &link, "--name", "device"]).await;
    assert_eq!(paired.code, 0, "{paired}");
    let forward = crate::support::Process::start(
        "forward",
        &data,
        &["forward", &format!("{HOST}/echo"), "127.0.0.1:0", "--json"],
    );
    forward.event("listening").await;
    let dirs = [&data, &world.host_data(), &world.relay_data()];
    let (mut files, mut sockets) = (Vec::new(), 0);
    for (path, kind, mode) in dirs.iter().flat_map(|dir| tree(dir)) {
        let expected = if kind.is_dir() { 0o700 } else { 0o600 };
        if !kind.is_symlink() {
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
        }
        sockets += usize::from(kind.is_socket());
        if kind.is_file() {
            files.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    assert!(files.len() >= 4 && sockets >= 2, "{} files, {sockets} sockets", files.len());

    let (host, device) = (unseal(&world.host_data(), "relay"), unseal(&data, "vault"));
    let mut secrets = [keys_in(&host), keys_in(&device)].concat();
    assert!(secrets.len() >= 8, "where are the keys? {} found", secrets.len());
    let token = device["hosts"][0]["token"].as_str().unwrap().to_owned();
    assert!(token.len() == 80 && secrets.contains(&token));
    // The host has only a hash of it.
    assert!(!keys_in(&host).iter().any(|key| token.contains(key.as_str())));
    let parsed = parse_link(&link).unwrap();
    secrets.push(parsed.secret.expose().iter().map(|byte| format!("{byte:02x}")).collect());
    for (path, bytes) in &files {
        for secret in &secrets {
            let (raw, text) = (unhex(secret), secret.as_bytes());
            assert!(!holds(bytes, &raw) && !holds(bytes, text), "a secret lies open in {}", path.display());
        }
        assert!(!holds(bytes, &link.as_bytes()[14..]), "the link lies open in {}", path.display());
        // The audit trail is to be read, by the host's owner alone.
        if path.file_name().is_some_and(|name| name == "audit.ndjson") {
            continue;
        }
        for text in ["\"device\"", HOST, "token", "identity"] {
            assert!(!holds(bytes, text.as_bytes()), "{text:?} lies open in {}", path.display());
        }
    }
}

/// What a command does with a state file that is not as it should be.
async fn refused(data: &Path, state: &Path, args: &[&str], words: &str) -> Finished {
    let (before, mode) = (fs::read(state).unwrap(), fs::metadata(state).unwrap().permissions().mode());
    let ended = run(data, args).await;
    assert_eq!(ended.code, 1, "{ended}");
    assert!(ended.stderr.contains(words) && ended.stderr.contains(data.to_str().unwrap()), "{words:?}: {ended}");
    assert!(!ended.stderr.contains("panicked"), "{ended}");
    assert!(fs::read(state).unwrap() == before, "the file was changed");
    assert_eq!(fs::metadata(state).unwrap().permissions().mode(), mode);
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_file_that_is_not_right_is_refused_and_left_alone() {
    let world = World::start(&[]).await;
    let (device, other) = (world.pair().await, world.pair().await);
    world.host.signal("TERM");
    assert_eq!(world.host.ended().await, 0);
    let url = world.relay_url();
    let start = ["host", "start", "--relay", &url];
    let cases: [(&Path, &str, &Path, &[&[&str]]); 2] = [
        (&world.host_data(), "relay", &other.data.join("vault.enc"), &[&["host", "devices", "list"], &start]),
        (&device.data, "vault", &other.data.join("vault.enc"), &[&["hosts", "list"], &["connect", "nest/echo"]]),
    ];
    for (data, name, foreign, commands) in cases {
        let (state, key) = (data.join(format!("{name}.enc")), data.join(format!("{name}.key")));
        let (good, good_key) = (fs::read(&state).unwrap(), fs::read(&key).unwrap());
        for args in commands {
            for mode in [0o644, 0o660, 0o604] {
                for file in [&state, &key] {
                    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
                    refused(data, &state, args, "chmod 600").await;
                    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
                }
            }
        }
        fs::set_permissions(data, fs::Permissions::from_mode(0o777)).unwrap();
        refused(data, &state, commands[0], "chmod 700").await;
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();

        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x20;
            bytes
        };
        let mut bad = vec![Vec::new(), b"{}".to_vec(), fs::read(foreign).unwrap(), vec![0; 4096]];
        bad.extend([0, 4, 5, 20, 40, 55, 62, 70, 80, good.len() / 2, good.len() - 1].map(flipped));
        bad.extend([1, 79, 80, 96, good.len() - 1].map(|len| good[..len].to_vec()));
        bad.push([&good[..], b"x"].concat());
        for (number, bytes) in bad.into_iter().enumerate() {
            fs::write(&state, bytes).unwrap();
            // One of the commands for each: they read by the same code.
            refused(data, &state, commands[number % commands.len()], "restore").await;
        }
        fs::write(&state, &good).unwrap();
        for bytes in [&b""[..], b"short", &[7; 32], &[7; 33]] {
            fs::write(&key, bytes).unwrap();
            refused(data, &state, commands[0], "restore").await;
            assert!(fs::read(&key).unwrap() == bytes);
        }
        fs::remove_file(&key).unwrap();
        for args in commands {
            refused(data, &state, args, "restore").await;
            assert!(!key.exists(), "a new key was put there");
        }
        fs::write(&key, &good_key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let fine = run(data, commands[0]).await;
        assert_eq!(fine.code, 0, "{fine}");
    }
}
