//! The API against its own description, by a fuzzer that was written elsewhere and reads only that.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

/// Requests that follow the description, and requests that do not.
const PACKAGE: &str = "schemathesis==4.32.5";

/// The fuzzer, installed once; `HOMING_SCHEMATHESIS` names one that is there already.
fn schemathesis() -> PathBuf {
    if let Some(given) = std::env::var_os("HOMING_SCHEMATHESIS") {
        return given.into();
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE);
    let (program, done) = (dir.join("bin/schemathesis"), dir.join("installed"));
    if !done.exists() {
        let must_run = |command: &mut Command| {
            let output = command.stdin(Stdio::null()).output().expect("python3 is there");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success(),
                "needs python3 with venv, pip and an index, or HOMING_SCHEMATHESIS: {said}"
            );
        };
        must_run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir));
        must_run(Command::new(dir.join("bin/pip")).args(["install", "--quiet", PACKAGE]));
        std::fs::write(&done, "").unwrap();
    }
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_as_its_description_says() {
    let program = tokio::task::spawn_blocking(schemathesis).await.unwrap();
    let world = World::start(&[]).await;
    world.pair().await;
    let settings = Settings::of(&world.host_data(), "settings:write").await;
    let mut command = tokio::process::Command::new(program);
    command.arg("run").arg(format!("{}api/openapi.json", settings.url));
    command.args([
        "--url",
        &format!("{}api", settings.url),
        "-H",
        &format!("Authorization: Bearer {}", settings.token),
    ]);
    // A stream that never ends is no answer to wait for; keys are not below /api, and e2e_upstreams asks for them.
    command.args([
        "--exclude-path",
        "/audit/events",
        "--exclude-path",
        "/.well-known/jwks.json",
        "--max-examples",
        "40",
        "--seed",
        "1",
        "--no-color",
    ]);
    command.current_dir(world.dir.path()).stdin(Stdio::null()).kill_on_drop(true);
    let limit = core::time::Duration::from_secs(300);
    let output = support::in_time(limit, command.output()).await.expect("the fuzzer starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("passed") || said.contains("No issues"), "{said}");
    assert!(world.host.is_running());
}
