//! What the host swears to services of their callers, checked by a library that was written elsewhere.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;
use crate::support::{Device, Process, within};

const PACKAGE: &str = "PyJWT[crypto]==2.15.1";

/// A Python with the library, installed once; `HOMING_PYJWT` names one that has it already.
fn python() -> PathBuf {
    if let Some(given) = std::env::var_os("HOMING_PYJWT") {
        return given.into();
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyjwt-2.15.1");
    let (program, done) = (dir.join("bin/python"), dir.join("installed"));
    if !done.exists() {
        let must_run = |command: &mut Command| {
            let output = command.stdin(Stdio::null()).output().expect("python3 is there");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "needs python3 with venv, pip and an index, or HOMING_PYJWT: {said}");
        };
        must_run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir));
        must_run(Command::new(&program).args(["-m", "pip", "install", "--quiet", PACKAGE]));
        std::fs::write(&done, "").unwrap();
    }
    program
}

/// A service that checks assertions for `audience`, and where it is.
async fn checking(jwks: &str, issuer: &str, audience: &str) -> (Process, String) {
    let python = tokio::task::spawn_blocking(python).await.unwrap();
    let mut command = Command::new(python);
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e_upstreams/checks.py"));
    command.args([jwks, issuer, audience]);
    let process = Process::spawn(audience, command);
    let url = format!("http://127.0.0.1:{}", process.event("port").await["port"]);
    (process, url)
}

async fn jwks(host: &Path) -> Value {
    let told = run(host, &["host", "jwks"]).await;
    assert_eq!(told.code, 0, "{told}");
    serde_json::from_str(&told.stdout).unwrap()
}

async fn asked(forward: &Forward, headers: &[&str]) -> (u16, Value) {
    let args: Vec<_> = headers.iter().flat_map(|header| ["-H", header]).collect();
    let (code, text) = status(forward, "/", &args).await;
    (code, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{code} {text}")))
}

/// What the service at `url` itself says of an assertion, past the host.
async fn directly(url: &str, token: &str) -> (u16, String) {
    let answer = curl(&["-w", "\n%{http_code}", "-H", &format!("Homing-Assertion: {token}"), url]).await;
    let (text, code) = answer.stdout.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), text.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_can_check_who_calls_and_nobody_can_forge_it() {
    let mut world = World::start(&[]).await;
    let host = world.host_data();
    let keys = jwks(&host).await;
    let shown = run(&host, &["status", "--json"]).await;
    let shown: Value = serde_json::from_str(shown.stdout.trim()).unwrap();
    let url = format!("{}.well-known/jwks.json", shown["roles"][0]["settings"].as_str().unwrap());
    let served = curl(&["-i", &url]).await.stdout;
    assert!(served.contains("content-type: application/jwk-set+json\r\n"), "{served}");
    assert_eq!(serde_json::from_str::<Value>(served.split("\r\n\r\n").nth(1).unwrap()).unwrap(), keys);
    let elsewhere = curl(&["-H", "Host: evil.example", "-o", "/dev/null", "-w", "%{http_code}", &url]).await;
    assert_eq!(elsewhere.stdout, "421", "only by this machine's names");

    let issuer = keys["issuer"].as_str().unwrap();
    let (_web, at) = checking(&url, issuer, "web").await;
    let (_other, other_at) = checking(&url, issuer, "other").await;
    configure(&world, &format!("[services.web]\nurl = '{at}'\n[services.other]\nurl = '{other_at}'\n")).await;
    let device = world.pair().await;
    let listed = run(&device.data, &["hosts", "list", "--json"]).await;
    assert!(listed.stdout.contains(&format!("\"{issuer}\"")), "devices know the host by it: {listed}");
    let (web, other) = (device.forward("web").await, device.forward("other").await);
    let (code, said) = asked(&web, &[]).await;
    let claims = &said["claims"];
    assert_eq!(code, 200, "{said}");
    assert_eq!((&claims["sub"], &claims["name"]), (&device.id.as_str().into(), &device.name.as_str().into()));
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!((1..=60).contains(&life), "{claims}");
    let token = said["token"].as_str().unwrap();

    // A device's own never arrive, however they are spelled: the service sees the host's one.
    let (_, theirs) = asked(&other, &[]).await;
    let forged = format!("Homing-Assertion: {}", theirs["token"].as_str().unwrap());
    let spelled = format!("homing_assertion: {token}");
    for headers in [&[forged.as_str(), "Homing-Device: ffff"][..], &[&spelled, "Connection: Homing-Assertion"]] {
        let (code, said) = asked(&web, headers).await;
        assert_eq!((code, &said["claims"]["sub"]), (200, &claims["sub"]), "{said}");
        let names = serde_json::json!(["homing-assertion", "homing-device", "homing-device-name"]);
        assert_eq!(said["names"], names);
    }
    // Nor does one that was made for another service pass, nor one that was changed.
    let (code, why) = directly(&at, theirs["token"].as_str().unwrap()).await;
    assert!(code == 401 && why.contains("InvalidAudienceError"), "{code} {why}");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let changed = format!("{signed}.{first}{}", &signature[1..]);
    let (code, why) = directly(&at, &changed).await;
    assert!(code == 401 && why.contains("InvalidSignatureError"), "{code} {why}");
    assert_eq!(directly(&at, token).await.0, 200, "and the checks say yes to what is right");

    // Another device is another, and a new name counts at once.
    let second: Device = world.pair().await;
    let (_, said) = asked(&second.forward("web").await, &[]).await;
    assert_eq!(said["claims"]["sub"], second.id.as_str());
    assert_eq!(run(&host, &["host", "devices", "rename", &device.id, "Zoë"]).await.code, 0);
    let renamed = device.forward("web").await;
    assert_eq!(asked(&renamed, &[]).await.1["claims"]["name"], "Zoë");

    // The key stays the host's over restarts.
    world.host.signal("TERM");
    world.host.ended().await;
    assert_eq!(jwks(&host).await, keys);
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let (code, said) = within(asked(&renamed, &[])).await;
    assert_eq!((code, &said["claims"]["sub"]), (200, &device.id.as_str().into()), "{said}");
}
