//! The links to the relay: with TLS outside of this machine, and only to a relay that proves its name.

use std::path::{Path, PathBuf};
use std::process::Command;

use homing_core::pairing::Ticket;
use homing_core::{crypto::Identity, handshake::Suite, pairing::Flags};
use serde_json::Value;

use crate::plain;
use crate::rogue::entropy;
use crate::support::process::homing;
use crate::support::{HOST, Process, run, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_without_tls_leaves_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    for relay in [
        "ws://192.0.2.1",
        "ws://relay.example.org:8080",
        "ws://10.0.0.1:80",
        "http://127.0.0.1:80",
        "ws://[2001:db8::1]:8080",
    ] {
        let refused = run(&dir.path().join("host"), &["host", "start", "--relay", relay]).await;
        assert_eq!(refused.code, 2, "{relay}: {refused}");
        assert!(refused.stderr.contains("wss://"), "{relay}: {refused}");
    }
    let flags = Flags { confirm: false, in_band: false, plain: true };
    let host = Identity::generate(&mut entropy());
    for relay in ["192.0.2.1", "relay.example.org:8080", "localhost.example.org", "127.0.0.1.example.org:1"] {
        let ticket = Ticket::issue(Suite::Hybrid, flags, u32::MAX, host.public(), relay, &mut entropy()).unwrap();
        let mut link = String::new();
        ticket.write_link(&mut link).unwrap();
        let refused = run(&dir.path().join("device"), &["pair", &link]).await;
        assert!([1, 2].contains(&refused.code), "{relay}: {refused}");
        assert!(refused.stderr.contains("wss://"), "{relay}: {refused}");
    }
    // A relay that takes anyone is for this machine as well.
    let open = run(&dir.path().join("relay"), &["relay", "start", "--listen", "0.0.0.0:0", "--open"]).await;
    assert_eq!(open.code, 2, "{open}");
}

/// An authority, and a certificate of its for `localhost`: paths of root, chain and key.
fn certificates(dir: &Path, name: &str) -> [PathBuf; 3] {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_key = rcgen::KeyPair::generate().unwrap();
    let root = params.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(params, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let paths = ["root", "chain", "key"].map(|part| dir.join(format!("{name}-{part}.pem")));
    for (path, pem) in paths.iter().zip([root.pem(), leaf.pem(), key.serialize_pem()]) {
        std::fs::write(path, pem).unwrap();
    }
    paths
}

fn trusting(roots: &Path, data: &Path, args: &[&str]) -> Command {
    let mut command = homing(data, args);
    command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR").env("HOMING_LOG", "info,homing=debug");
    command
}

/// Runs to its end: code and stderr.
async fn finish(name: &str, command: Command) -> (i32, String) {
    let process = Process::spawn(name, command);
    let code = process.ended().await;
    // What it said last may still be on its way through the pipe.
    until("its last words", crate::support::PATIENCE, || code == 0 || !process.log().is_empty()).await;
    (code, process.log().join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_path_runs_over_tls_and_only_to_a_trusted_relay() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let [root, chain, key] = certificates(dir.path(), "good");
    let [stranger, _, _] = certificates(dir.path(), "other");
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    let start = ["relay", "start", "--listen", "127.0.0.1:0", "--tls-cert", chain, "--tls-key", key, "--json"];
    let relay = Process::start("relay", &at("relay"), &start);
    let relay_key = relay.event("relay_key").await["relay_key"].as_str().unwrap().to_owned();
    let address: Value = relay.event("listening").await["address"].clone();
    let port = address.as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let url = format!("wss://localhost:{port}");

    let key_file = at("relay.key");
    homing_local::file::write(&key_file, relay_key.as_bytes()).unwrap();
    let page = plain::page("", "over TLS").await;
    let web = format!("web=http://{page}");
    let host_args = |url: &str, with_key: bool| {
        let mut args = ["host", "start", "--relay", url, "--name", HOST, "--expose", &web].map(str::to_owned).to_vec();
        if with_key {
            args.extend(["--relay-key-file".to_owned(), key_file.to_str().unwrap().to_owned()]);
        }
        args
    };
    let host = |data: &str, roots: &Path, url: &str, with_key| {
        let args = host_args(url, with_key);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        Process::spawn(data, trusting(roots, &at(data), &args))
    };
    // Not the one that is trusted; a name that is not in the certificate; no key.
    let _refused = [
        (host("a", &stranger, &url, true), "certificate"),
        (host("b", &root, &format!("wss://127.0.0.1:{port}"), true), "certificate"),
        (host("c", &root, &url, false), "den"),
    ];
    for (host, words) in &_refused {
        let line = host.logged("link lost").await;
        assert!(line.contains(words), "{words:?}: {line}");
    }
    let good = host("host", &root, &url, true);
    good.logged("reachable through relay").await;

    let dialog = Process::start("host pair", &at("host"), &["host", "pair", "--auto", "--json"]);
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let (code, said) = finish("untrusting", trusting(&stranger, &at("device"), &["pair", &link])).await;
    assert!(code == 3 && said.contains("certificate"), "{code}: {said}");
    let (code, said) = finish("trusting", trusting(&root, &at("device"), &["pair", &link])).await;
    assert_eq!(code, 0, "{said}");
    let args = ["forward", &format!("{HOST}/web"), "127.0.0.1:0", "--json"];
    let forward = Process::spawn("forward", trusting(&root, &at("device"), &args));
    let address = forward.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    assert!(plain::get(address, "/", "").await.unwrap().ends_with("over TLS"));
    // A device that was paired finds out about a false relay as well.
    let connect = ["connect", &format!("{HOST}/web")];
    let (code, said) = finish("deceived", trusting(&stranger, &at("device"), &connect)).await;
    assert!(code == 3 && said.contains("certificate"), "{code}: {said}");
    // What a plain client says to a relay with TLS is no HTTP.
    let plain = plain::get(format!("127.0.0.1:{port}").parse().unwrap(), "/healthz", "").await;
    assert!(plain.is_err() || !plain.unwrap().contains("200"));
}
