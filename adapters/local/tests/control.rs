//! The control socket between real ends, in real directories.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what it calls too")]

use core::time::Duration;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use homing_local::control::{self, ControlError, Listener, MAX_REQUEST, Request, Role};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[tokio::test]
async fn a_request_gets_its_answers_and_an_end() {
    let dir = TempDir::new().unwrap();
    let _host = start(dir.path(), Role::Host);
    let mut answers = control::call(dir.path(), Role::Host, &json!({"do": "count", "to": 3})).await.unwrap();
    for n in 0..3 {
        assert_eq!(answers.next().await.unwrap(), Some(json!({"n": n})));
    }
    assert_eq!(answers.next().await.unwrap(), None);
}

#[tokio::test]
async fn the_client_may_go_on_talking() {
    let dir = TempDir::new().unwrap();
    let _host = start(dir.path(), Role::Host);
    let mut dialog = control::call(dir.path(), Role::Host, &json!({"do": "echo"})).await.unwrap();
    for word in ["approve", "deny"] {
        dialog.send(&json!(word)).await.unwrap();
        assert_eq!(dialog.next().await.unwrap(), Some(json!({"heard": word})));
    }
}

#[tokio::test]
async fn a_role_learns_that_the_client_hung_up() {
    let dir = TempDir::new().unwrap();
    let listener = Listener::bind(dir.path(), Role::Host).unwrap();
    let (closed, mut heard) = mpsc::channel(1);
    let _host = Stop(tokio::spawn(async move {
        let handler = move |mut request: Request| {
            let closed = closed.clone();
            async move {
                request.replies.send(&"ready").await.unwrap();
                request.replies.closed().await;
                closed.send(()).await.unwrap();
            }
        };
        listener.serve(handler).await;
    }));
    let mut dialog = control::call(dir.path(), Role::Host, &json!({})).await.unwrap();
    assert_eq!(dialog.next().await.unwrap(), Some(json!("ready")));
    assert!(heard.try_recv().is_err(), "not while the client is there");
    drop(dialog);
    timeout(Duration::from_secs(5), heard.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn refusals_and_bad_requests_are_errors_with_a_code() {
    let dir = TempDir::new().unwrap();
    let host = start(dir.path(), Role::Host);
    let mut answers = control::call(dir.path(), Role::Host, &json!({"do": "dance"})).await.unwrap();
    assert_eq!(code(answers.next().await), "unknown");
    let mut answers = control::call(dir.path(), Role::Host, &json!([1])).await.unwrap();
    assert_eq!(code(answers.next().await), "bad_request");
    let long = json!({ "x": "x".repeat(MAX_REQUEST) });
    assert!(matches!(control::call(dir.path(), Role::Host, &long).await, Err(ControlError::TooLong { .. })));
    // A client that does not keep to the limit is told so, and cut off.
    let mut rude = UnixStream::connect(&host.1).await.unwrap();
    let _ = rude.write_all(&[b'x'; MAX_REQUEST + 1]).await;
    let mut said = Vec::new();
    let _ = timeout(Duration::from_secs(5), rude.read_to_end(&mut said)).await.unwrap();
    assert!(String::from_utf8(said).unwrap().contains("bad_request"));
    // And the role serves on.
    control::call(dir.path(), Role::Host, &json!({"do": "count", "to": 0})).await.unwrap();
}

#[tokio::test]
async fn a_panic_in_one_request_spares_the_next() {
    let dir = TempDir::new().unwrap();
    let _host = start(dir.path(), Role::Host);
    let mut broken = control::call(dir.path(), Role::Host, &json!({"do": "panic"})).await.unwrap();
    assert_eq!(broken.next().await.unwrap(), None);
    let mut answers = control::call(dir.path(), Role::Host, &json!({"do": "count", "to": 1})).await.unwrap();
    assert_eq!(answers.next().await.unwrap(), Some(json!({"n": 0})));
}

#[tokio::test]
async fn nobody_there_is_told_with_the_remedy() {
    let dir = TempDir::new().unwrap();
    for data in [dir.path().join("absent"), dir.path().to_path_buf()] {
        for role in [Role::Relay, Role::Host, Role::Device] {
            let error = control::call(&data, role, &json!({})).await.unwrap_err();
            assert!(matches!(error, ControlError::NotRunning { .. }), "{error}");
        }
        assert_eq!(control::running(&data).await.unwrap(), []);
    }
    let error = control::call(dir.path(), Role::Host, &json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), "no host runs with this data directory; start one with `homing host start`");
}

#[tokio::test]
async fn running_lists_the_living_and_removes_the_dead() {
    let dir = TempDir::new().unwrap();
    let host = start(dir.path(), Role::Host);
    let device = start(dir.path(), Role::Device);
    let dead = dir.path().join("run/device-1.sock");
    drop(StdListener::bind(&dead).unwrap());
    let live = control::running(dir.path()).await.unwrap();
    let found: Vec<_> = live.iter().map(|one| (one.role, one.pid, one.path.clone())).collect();
    assert_eq!(found, [(Role::Host, None, host.1.clone()), (Role::Device, Some(std::process::id()), device.1.clone())]);
    assert!(!dead.exists());
    let mut answers = control::call_at(&live[1].path, &json!({"do": "count", "to": 1})).await.unwrap();
    assert_eq!(answers.next().await.unwrap(), Some(json!({"n": 0})));
    control::call(dir.path(), Role::Device, &json!({})).await.unwrap();
}

#[tokio::test]
async fn a_dead_ones_socket_is_taken_over_and_a_living_ones_is_not() {
    let dir = TempDir::new().unwrap();
    let first = Listener::bind(dir.path(), Role::Host).unwrap();
    assert!(matches!(Listener::bind(dir.path(), Role::Host), Err(ControlError::AlreadyServed { role: Role::Host })));
    assert_eq!(mode(first.path()), 0o600);
    assert_eq!(mode(first.path().parent().unwrap()), 0o700);
    let path = first.path().to_path_buf();
    drop(first);
    assert!(!path.exists());
    drop(StdListener::bind(&path).unwrap());
    assert!(path.exists(), "as a killed process leaves it");
    let _host = start(dir.path(), Role::Host);
    control::call(dir.path(), Role::Host, &json!({})).await.unwrap();
}

#[tokio::test]
async fn a_data_directory_too_deep_for_sockets_works_too() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("d".repeat(60)).join("e".repeat(60));
    let host = start(&data, Role::Host);
    assert!(!host.1.starts_with(&data) && mode(host.1.parent().unwrap()) == 0o700);
    let mut answers = control::call(&data, Role::Host, &json!({"do": "count", "to": 1})).await.unwrap();
    assert_eq!(answers.next().await.unwrap(), Some(json!({"n": 0})));
    let sockets = host.1.parent().unwrap().to_path_buf();
    drop(host);
    // After a reboot the directory is gone and the link dangles.
    fs::remove_dir_all(&sockets).unwrap();
    assert!(control::running(&data).await.unwrap().is_empty());
    let _host = start(&data, Role::Host);
    control::call(&data, Role::Host, &json!({})).await.unwrap();
    fs::remove_dir_all(&sockets).unwrap();
}

#[tokio::test]
async fn a_shared_socket_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Listener::bind(dir.path(), Role::Host), Err(ControlError::NotPrivate { .. })));
    assert!(matches!(control::running(dir.path()).await, Err(ControlError::NotPrivate { .. })));
}

/// Ends a role's task at the end of its test.
struct Stop<T>(JoinHandle<T>);

impl<T> Drop for Stop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn start(data: &Path, role: Role) -> (Stop<()>, PathBuf) {
    let listener = Listener::bind(data, role).unwrap();
    let path = listener.path().to_path_buf();
    let serving = async move {
        listener.serve(answer).await;
    };
    (Stop(tokio::spawn(serving)), path)
}

async fn answer(request: Request) {
    let Request { value, mut replies } = request;
    match value["do"].as_str() {
        Some("count") => {
            for n in 0..value["to"].as_u64().unwrap() {
                replies.send(&json!({ "n": n })).await.unwrap();
            }
        }
        Some("echo") => {
            while let Some(line) = replies.next_line().await {
                replies.send(&json!({ "heard": line })).await.unwrap();
            }
        }
        Some("panic") => panic!("on request"),
        _ => replies.refuse("unknown", "no such request").await.unwrap(),
    }
}

fn code(answer: Result<Option<Value>, ControlError>) -> String {
    match answer {
        Err(ControlError::Refused { code, message }) if !message.is_empty() => code,
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
