//! A NATS server with TLS that asks who is there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::nats::{until_all, until_metric};
use crate::server::Server;
use crate::stage::{Relay, Stage, free, relays};
use crate::support::authority::Authority;
use crate::support::run;

/// A user's key, and its seed.
const KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
/// What the README says that a relay's user needs, and no more.
const MAY: &str = r#"{
    publish: ["$JS.API.>", "$KV.homing-nodes.>", "$KV.homing-routes.>", "$JS.FC.>", "homing.*"]
    subscribe: ["_INBOX.>", "homing.*"]
}"#;

/// A file that nobody else may read.
fn secret(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    text_of(&path)
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

async fn server(dir: &Path, authority: &Authority, tls: &str, authorization: &str) -> Server {
    let [chain, key] = authority.issue("127.0.0.1");
    let settings =
        format!("tls {{\ncert_file: {chain:?}\nkey_file: {key:?}\n{tls}\n}}\nauthorization {{\n{authorization}\n}}\n");
    Server::start_with(dir.join("nats"), free(1)[0], settings).await
}

/// Three relays with these flags each.
async fn start(dir: &Path, flags: [&[&str]; 3]) -> Vec<Relay> {
    let of = |name: &str, _: &[_]| {
        let place = ["a", "b", "c"].iter().position(|known| *known == name).unwrap();
        let all = flags[place].iter().chain(&["--cluster-lease-seconds", "3"]);
        all.map(|flag| (*flag).to_owned()).collect()
    };
    relays(dir, of).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_not_let_in_says_why_serves_and_joins_once_it_may() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let users = format!(
        "users = [ {{ user: relay, password: geheim, permissions: {MAY} }}, {{ nkey: {KEY}, permissions: {MAY} }} ]"
    );
    let server = server(dir.path(), &authority, "", &users).await;
    let (url, root) = (format!("tls://{}", server.address), text_of(&authority.root));
    let file = |name: &str, text: &str| secret(dir.path(), name, text);
    let (right, seed, wrong) = (file("right", "geheim"), file("seed", SEED), file("wrong", "falsch-geraten"));
    let common = ["--cluster-nats", &url, "--cluster-nats-ca", &root];
    let user = |path| [&common[..], &["--cluster-nats-user", "relay", "--cluster-nats-password-file", path]].concat();
    let key = [&common[..], &["--cluster-nats-nkey-file", &seed]].concat();
    let relays = start(dir.path(), [&user(&right), &key, &user(&wrong)]).await;
    for relay in &relays[..2] {
        relay.process.logged("joined the cluster").await;
        until_metric(relay, "homing_relay_directory_nodes", 2).await;
    }
    let said = relays[2].process.logged("the cluster's directory is lost").await;
    assert!(said.contains("does not let this relay in") && said.contains(&wrong), "{said}");

    // It serves whoever comes, and goes on trying.
    until_metric(&relays[2], "homing_relay_directory{state=\"cut\"}", 1).await;
    assert!(relays[2].ready().await.starts_with("ready\nwarning"));
    let urls = [relays[2].url()];
    let stage = Stage::set(dir, relays, &urls).await;
    secret(stage.path(), "wrong", "geheim");
    stage.relays[2].process.logged("joined the cluster").await;
    until_all(&stage.relays, "homing_relay_directory_nodes", 3).await;
    stage.answers().await;
    until_all(&stage.relays, "homing_relay_directory_known", 1).await;

    for relay in &stage.relays {
        let log = relay.process.log();
        let told = log.iter().find(|line| ["geheim", "falsch", SEED].iter().any(|secret| line.contains(secret)));
        assert_eq!(told, None);
    }
    let tries = stage.relays[2].process.log().iter().filter(|line| line.contains("let this relay in")).count();
    assert_eq!(tries, 1, "said once, however often it was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_show_certificates_that_the_other_trusts() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let (authority, clients) = (Authority::new(dir.path(), "authority"), Authority::new(dir.path(), "clients"));
    let asks = format!("verify: true\nca_file: {:?}", clients.root);
    let server = server(dir.path(), &authority, &asks, "token: geheim").await;
    let (url, plain) = (format!("tls://{}", server.address), format!("nats://{}", server.address));
    let (token, root) = (secret(dir.path(), "token", "geheim"), text_of(&authority.root));
    let [cert, key] = clients.issue("relay").map(|path| text_of(&path));
    let common = ["--cluster-nats-token-file", &token];
    let shown = ["--cluster-nats-cert", &cert, "--cluster-nats-key", &key];
    let of = |url| [&common[..], &["--cluster-nats", url]].concat();
    let trusting = ["--cluster-nats-ca", &root];
    let distrusts = [&of(&url)[..], &shown].concat();
    let shows_none = [&of(&url)[..], &trusting].concat();
    // This server asks for TLS, whatever its address says. One that is gone is passed over.
    let right = [&of(&plain)[..], &trusting, &shown, &["--cluster-nats", "nats://127.0.0.1:1"]].concat();
    let relays = start(dir.path(), [&distrusts, &shows_none, &right]).await;
    relays[2].process.logged("joined the cluster").await;
    for (relay, advice) in [(&relays[0], "--cluster-nats-ca"), (&relays[1], "--cluster-nats-cert")] {
        let said = relay.process.logged("no TLS with NATS").await;
        assert!(said.contains("the cluster's directory is lost") && said.contains(advice), "{said}");
        assert!(relay.ready().await.starts_with("ready\nwarning"));
    }
    until_metric(&relays[2], "homing_relay_directory_nodes", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_stand_in_files_only_and_in_one_way() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let me = ["--cluster-node", "a", "--cluster-url", "ws://127.0.0.1:1"];
    let start = async |more: &[&str]| {
        let args = [&["relay", "start", "--open", "--listen", "127.0.0.1:0"], &me[..], more].concat();
        let ended = run(dir.path(), &args).await;
        assert_eq!(ended.code, 2, "{ended}");
        assert!(!format!("{ended}").contains("geheim"), "{ended}");
        ended.stderr
    };
    let said = start(&["--cluster-nats", "nats://relay:geheim@127.0.0.1:4222"]).await;
    assert!(said.contains("--cluster-nats-password-file") && said.contains("127.0.0.1:4222"), "{said}");
    let nats = ["--cluster-nats", "tls://127.0.0.1:4222"];
    let with = |more: &[&'static str]| [&nats[..], more].concat();
    let said = start(&with(&["--cluster-nats-user", "relay"])).await;
    assert!(said.contains("--cluster-nats-password-file"), "{said}");
    let said = start(&with(&["--cluster-nats-token-file", "/t", "--cluster-nats-nkey-file", "/n"])).await;
    assert!(said.contains("give one"), "{said}");
    let said = start(&with(&["--cluster-nats-token-file", "/nowhere/token"])).await;
    assert!(said.contains("there is no /nowhere/token"), "{said}");
    let open = secret(dir.path(), "open", "geheim");
    std::fs::set_permissions(PathBuf::from(&open), std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = start(&[&nats[..], &["--cluster-nats-token-file", &open]].concat()).await;
    assert!(said.contains("chmod 600"), "{said}");
    let said = start(&with(&["--cluster-nats-cert", "/c"])).await;
    assert!(said.contains("--cluster-nats-key"), "{said}");
    let said = start(&[&nats[..], &["--cluster-nats-ca", &open]].concat()).await;
    assert!(said.contains("holds no certificate"), "{said}");
}
