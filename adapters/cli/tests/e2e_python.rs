//! The device of `testvectors/device.py`, which was written from the specification alone, against the real programs: what
//! they say on the wire is what the document says. Its packages come from `testvectors/requirements.txt` and need an index
//! to install from, once; `HOMING_PYTHON` names a Python that has them already.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use core::time::Duration;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use sha2::{Digest, Sha256};
use support::service::{Site, content, content_hash, hex};
use support::{Finished, HOST, Process, World, in_time, run};

/// For one run of the device. Python is slow, and the tests share two cores.
const LIMIT: Duration = Duration::from_secs(60);

/// What the host calls this device.
const NAME: &str = "written from the document";

/// A Python with the packages that the device needs.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("HOMING_PYTHON") {
    Some(given) => given.into(),
    None => prepare(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("python")),
});

fn beside_vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testvectors").join(name)
}

/// Makes a virtual environment with what is required, unless it is there already.
fn prepare(dir: &Path) -> PathBuf {
    let (python, done, wanted) =
        (dir.join("bin/python"), dir.join("installed.txt"), beside_vectors("requirements.txt"));
    let requirements = std::fs::read(&wanted).expect("the list of packages");
    if std::fs::read(&done).ok().as_ref() != Some(&requirements) {
        must_run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir));
        must_run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted));
        std::fs::write(&done, &requirements).unwrap();
    }
    python
}

fn must_run(command: &mut Command) {
    let help = "this test needs python3 with venv and pip, and an index to install from; or HOMING_PYTHON";
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{:?} does not start ({error}): {help}", command.get_program()));
    assert!(output.status.success(), "{command:?}: {help}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the device to its end.
async fn device(args: &[&str]) -> Finished {
    script("device.py", args).await
}

/// Runs a script beside the vectors to its end.
async fn script(name: &str, args: &[&str]) -> Finished {
    let mut command = tokio::process::Command::new(python().await);
    command.arg("-B").arg(beside_vectors(name)).args(args);
    finished(command).await
}

async fn python() -> &'static Path {
    tokio::task::spawn_blocking(|| PYTHON.as_path()).await.unwrap()
}

async fn finished(mut command: tokio::process::Command) -> Finished {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = in_time(LIMIT, command.output()).await.expect("a program starts");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What the device prints, where it succeeds.
async fn said(args: &[&str]) -> String {
    let finished = device(args).await;
    assert_eq!(finished.code, 0, "{args:?}: {finished}");
    finished.stdout
}

/// What it says where it fails.
async fn failure(args: &[&str]) -> String {
    let finished = device(args).await;
    assert_eq!(finished.code, 1, "{args:?}: {finished}");
    assert!(!finished.stderr.contains("Traceback"), "{finished}");
    finished.stderr
}

/// Lets the device in. Gives its profile, its id and the link.
async fn pair(world: &World) -> (PathBuf, String, String) {
    let dialog = Process::start("host pair", &world.host_data(), &["host", "pair", "--auto", "--json"]);
    let link = dialog.event("ticket").await["link"].as_str().expect("a link").to_owned();
    let profile = world.dir.path().join("profile.json");
    let paired = said(&["pair", &link, profile.to_str().unwrap(), "--name", NAME]).await;
    assert_eq!(paired.trim(), format!("paired with {HOST}"));
    let told = dialog.event("paired").await;
    assert_eq!(told["device"]["name"], NAME);
    assert_eq!(dialog.ended().await, 0);
    (profile, told["device"]["id"].as_str().expect("an id").to_owned(), link)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_code_agrees_with_the_vectors() {
    let agreed = said(&["vectors"]).await;
    let number: usize = agreed.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(number > 200, "{agreed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vectors_are_as_they_are_made_and_as_their_schemas_say() {
    let checked = script("generate.py", &["--check"]).await;
    assert_eq!(checked.code, 0, "{checked}");
    assert!(checked.stdout.starts_with("11 files"), "{checked}");
}

/// The conformance runner of the core, which Cargo builds along with the tests of the workspace.
fn conformance_runner() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).expect("a profile's directory");
    let runner = profile.join("examples/conformance");
    if !runner.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--package", "homing-core", "--example", "conformance", "--target-dir"]);
        build.arg(profile.parent().expect("a target directory"));
        must_run(build.args(profile.ends_with("release").then_some("--release")));
    }
    runner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_written_from_the_document_conforms() {
    let runner = tokio::task::spawn_blocking(conformance_runner).await.unwrap();
    let mut command = tokio::process::Command::new(runner);
    command.arg(python().await).arg("-B").arg(beside_vectors("candidate.py"));
    let conforming = finished(command).await;
    assert_eq!(conforming.code, 0, "{conforming}");
    let all = conforming.stdout.lines().last().unwrap_or_default();
    let numbers: Vec<usize> = all.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // Passed, failed, and what only hosts and relays do.
    assert!(matches!(numbers[..], [passed, 0, others] if passed > 600 && others < 100), "{conforming}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_written_from_the_document_pairs_and_fetches() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url()), ("gone", "http://127.0.0.1:1".to_owned())]).await;
    let (profile, id, link) = pair(&world).await;
    let kept: Value = serde_json::from_slice(&std::fs::read(&profile).unwrap()).expect("JSON");
    assert_eq!((&kept["device_id"], &kept["suite"]), (&Value::from(id.as_str()), &Value::from(2)));
    assert_eq!(std::fs::metadata(&profile).unwrap().permissions().mode() & 0o777, 0o600);
    let profile = profile.to_str().unwrap();

    // Every run is a connection of its own. Pages of one run are streams of one session.
    let services = said(&["services", profile]).await;
    let services: Vec<Value> = services.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<_> = services.iter().map(|service| (&service["name"], &service["kind"])).collect();
    assert!(kinds.contains(&(&"web".into(), &"http".into())), "{services:?}");
    let shown = said(&["get", profile, "web", "/show?one", "/show?two", "/nowhere"]).await;
    assert!(shown.contains("200 OK\nGET /show?one\n") && shown.contains("GET /show?two\n"), "{shown}");
    assert!(shown.contains("404 Not Found\n") && shown.contains(&format!("homing-device: {id}\n")), "{shown}");

    // More than every window: credit has to come back on all levels.
    let len = 5_000_000;
    let path = format!("/bytes/{len}");
    let fetched = said(&["get", profile, "web", &path, "--hash"]).await;
    assert_eq!(fetched, format!("200 OK\n{len} {}\n", content_hash(len)));

    // The other way, with new keys every few records.
    let upload = world.dir.path().join("upload");
    std::fs::write(&upload, content(len).flatten().collect::<Vec<_>>()).unwrap();
    let body = upload.to_str().unwrap();
    let taken = said(&["--epoch-records", "20", "get", profile, "web", "/hash", "--body", body, "--hash"]).await;
    let answer = format!("{len} {}", content_hash(len));
    assert_eq!(taken, format!("200 OK\n{} {}\n", answer.len(), hex(&Sha256::digest(&answer))));

    // What is refused, with the reasons of the document.
    let told = failure(&["get", profile, "nothing", "/"]).await;
    assert!(told.contains("no such service"), "{told}");
    let told = failure(&["pair", &link, "/nonexistent/profile"]).await;
    assert!(told.contains("no such ticket") || told.contains("does not know this device or ticket"), "{told}");
    let revoked = run(&world.host_data(), &["host", "devices", "revoke", &id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    let told = failure(&["services", profile]).await;
    assert!(told.contains("denied") || told.contains("does not know this device"), "{told}");
}
