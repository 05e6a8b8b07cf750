//! What others get to see: the relay on its links, the machine's users in the process list, readers of logs in these.

use homing_core::pairing::parse_link;
use serde_json::json;

use crate::plain;
use crate::scene::{self, Scene, event, holds, keys_in, ticket, unhex, unseal};
use crate::support::process::homing;
use crate::support::{HOST, Process, World, run};

const BODY: &str = "plaintext-marker-in-the-page ";
const HEADER: &str = "X-Plain-Marker: marker-in-a-header\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_sees_nothing_of_what_passes() {
    let body = BODY.repeat(4000);
    let page = plain::page(HEADER, &body).await;
    let scene = Scene::start(&[("marked-service", format!("http://{page}"))]).await;
    let (link, mut dialog) = ticket(&scene.host_data(), &json!({})).await;
    let data = scene.dir.path().join("device");
    let paired = run(&data, &["pair", &link, "--name", "marked-device"]).await;
    assert_eq!(paired.code, 0, "{paired}");
    event(&mut dialog).await;
    let service = format!("{HOST}/marked-service");
    let forward = Process::start("forward", &data, &["forward", &service, "127.0.0.1:0", "--json"]);
    let address = forward.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    let answer = plain::get(address, "/marked-path?q=marked-query", "Cookie: marked-cookie\r\n").await.unwrap();
    assert!(answer.contains("marker-in-a-header") && answer.ends_with(&body));

    let seen = scene.mitm.seen();
    // He did see it all pass, on both links, and the names that are his to see.
    for direction in [&seen.host_links, &seen.device_links, &seen.bodies[1]] {
        assert!(direction.len() > body.len(), "{} bytes", direction.len());
    }
    let (host, device) = (unseal(&scene.host_data(), "relay"), unseal(&data, "vault"));
    let profile = &device["hosts"][0];
    let route = unhex(profile["route_id"].as_str().unwrap());
    assert!(seen.holds(&route), "a device names its host's route to the relay");
    let heads = String::from_utf8(seen.heads.clone()).unwrap();
    let requests: Vec<_> = heads.lines().filter(|line| line.starts_with("GET ")).collect();
    assert!(requests.len() >= 3 && requests.iter().all(|line| *line == "GET /homing/1 HTTP/1.1"), "{requests:?}");

    let words = [
        "plaintext-marker",
        "marker-in-a-header",
        "X-Plain-Marker",
        "marked-service",
        "marked-device",
        "marked-path",
        "marked-query",
        "marked-cookie",
        "HTTP/1.1 200 OK\r\nContent-Length",
        HOST,
    ];
    let mut hidden: Vec<(String, Vec<u8>)> = words.map(|word| (word.to_owned(), word.into())).to_vec();
    let parsed = parse_link(&link).unwrap();
    hidden.push(("the host's public key".into(), parsed.host.as_bytes().to_vec()));
    hidden.push(("the ticket's secret".into(), parsed.secret.expose().to_vec()));
    for (what, bytes) in [("token", 40), ("identity", 32), ("device_root", 32), ("device_id", 8)] {
        let value = unhex(profile[what].as_str().unwrap());
        assert_eq!(value.len(), bytes, "{what}");
        hidden.push((format!("the device's {what}"), value));
    }
    // Of a capability the relay sees the id, never the key.
    let capability = unhex(profile["capability"].as_str().unwrap());
    hidden.push(("a capability's key".into(), capability[13..].to_vec()));
    for what in ["identity", "route"] {
        hidden.push((format!("the host's {what}"), unhex(host[what].as_str().unwrap())));
    }
    for (what, bytes) in hidden {
        assert!(!seen.holds(&bytes), "the relay sees {what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_process_lists_hold_no_secret() {
    let echo = plain::echo().await;
    let dir = tempfile::tempdir().unwrap();
    let verbose = |name: &str, data: &str, args: &[&str]| {
        let args = [args, &["-vv", "--json"]].concat();
        Process::spawn(name, homing(&dir.path().join(data), &args))
    };
    let relay = verbose("relay", "relay", &["relay", "start", "--listen", "127.0.0.1:0"]);
    let operator_key = relay.event("relay_key").await["relay_key"].as_str().unwrap().to_owned();
    let url = relay.event("listening").await["url"].as_str().unwrap().to_owned();
    let key_file = dir.path().join("operator");
    homing_local::file::write(&key_file, operator_key.as_bytes()).unwrap();
    let echo = format!("echo=tcp://{echo}");
    let args = ["host", "start", "--relay", &url, "--expose", &echo, "--name", HOST, "--relay-key-file"];
    let host = verbose("host", "host", &[&args[..], &[key_file.to_str().unwrap()]].concat());
    host.logged("reachable through relay").await;
    let (host_data, data) = (dir.path().join("host"), dir.path().join("device"));
    let (link, mut dialog) = ticket(&host_data, &json!({})).await;
    // By stdin, so that the link is in no process list and no history.
    let mut pairing = tokio::process::Command::from(homing(&data, &["pair", "-", "-vv", "--name", "device"]));
    let mut pairing = pairing.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = pairing.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, link.as_bytes()).await.unwrap();
    drop(stdin);
    let pairing = pairing.wait_with_output().await.unwrap();
    assert!(pairing.status.success());
    let id = event(&mut dialog).await["device"]["id"].as_str().unwrap().to_owned();
    let forward = verbose("forward", "device", &["forward", &format!("{HOST}/echo"), "127.0.0.1:0"]);
    let address: core::net::SocketAddr = forward.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    plain::exchange(&mut tcp, b"marker-in-the-stream").await.unwrap();

    let (host_state, vault) = (unseal(&host_data, "relay"), unseal(&data, "vault"));
    let mut secrets = [keys_in(&host_state), keys_in(&vault)].concat();
    // The route's name is not secret.
    let route = vault["hosts"][0]["route_id"].as_str().unwrap();
    secrets.retain(|key| key != route);
    let parsed = parse_link(&link).unwrap();
    secrets.extend([
        hex(parsed.secret.expose()),
        hex(&parsed.secrets().rendezvous),
        operator_key.clone(),
        link[14..].to_owned(),
        "marker-in-the-stream".to_owned(),
    ]);
    assert!(secrets.len() > 10);

    for process in [&relay, &host, &forward] {
        let command = std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap();
        assert!(holds(&command, b"-vv"));
        for secret in &secrets {
            assert!(!holds(&command, secret.as_bytes()), "a secret is in the process list");
        }
    }
    let revoked = run(&host_data, &["host", "devices", "revoke", &id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    forward.ended().await;
    host.logged("device revoked").await;
    let logs = [relay.log(), host.log(), forward.log(), vec![String::from_utf8(pairing.stderr).unwrap()]];
    let lines: Vec<_> = logs.concat();
    assert!(lines.len() > 10, "is anything logged? {lines:#?}");
    for line in &lines {
        // However it may be spelled: hexadecimal, Base32, or bytes as Rust prints them.
        let plain = line.to_lowercase();
        for secret in &secrets {
            let bytes =
                if secret.bytes().all(|b| b.is_ascii_hexdigit()) { unhex(secret) } else { secret.clone().into() };
            let debug = format!("{:?}", &bytes[..bytes.len().min(8)]);
            let found = plain.contains(&secret.to_lowercase()) || line.contains(debug.trim_matches(['[', ']']));
            assert!(!found, "a log tells a secret: {line}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A copy of the state without its key is no device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_file_alone_is_worth_nothing() {
    let world = World::start(&[]).await;
    let device = world.pair().await;
    let copy = world.dir.path().join("copy");
    homing_local::file::make_dir(&copy).unwrap();
    std::fs::copy(device.data.join("vault.enc"), copy.join("vault.enc")).unwrap();
    let refused = run(&copy, &["connect", &format!("{HOST}/echo")]).await;
    assert_eq!(refused.code, 1, "{refused}");
    assert_eq!(scene::hosts(&device.data).await.len(), 1);
}
