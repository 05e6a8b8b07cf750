//! A socket that the service manager keeps: the relay comes and goes, and nobody is refused.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::homing;
use crate::support::{PATIENCE, Process, until, within};

/// What a service manager does: descriptor 3 is the socket, and two variables say so.
fn start(data: &Path, socket: &TcpListener) -> Process {
    let relay =
        homing(data, &["relay", "start", "--listen", "127.0.0.1:1", "--open", "--json", "--drain-seconds", "1"]);
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 0</dev/null"]);
    command.arg(relay.get_program()).args(relay.get_args());
    for (name, value) in relay.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Process::spawn_fed("relay", command, Stdio::from(OwnedFd::from(socket.try_clone().unwrap())))
}

/// Whether the relay answers. A connection has to come about in any case.
async fn answers(address: SocketAddr) -> bool {
    let mut tcp = TcpStream::connect(address).await.expect("nobody is refused");
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    let asked = async {
        tcp.write_all(request.as_bytes()).await?;
        tcp.read_to_string(&mut answer).await
    };
    // One that the old relay had taken when it was stopped ends without an answer.
    within(asked).await.is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_refused_while_the_relay_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let data = dir.path().join("relay");
    let mut relay = start(&data, &socket);
    let listening = relay.event("listening").await;
    assert_eq!(listening["address"].as_str().unwrap(), address.to_string(), "the socket given, not --listen");
    assert!(answers(address).await);

    let (done, asked, answered) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (done, asked, answered) = (done.clone(), asked.clone(), answered.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    answered.fetch_add(u32::from(answers(address).await), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        relay.signal("TERM");
        assert_eq!(relay.ended().await, 0);
        let before = asked.load(Ordering::Relaxed);
        relay = start(&data, &socket);
        relay.event("listening").await;
        until("those who waited are served", PATIENCE, || asked.load(Ordering::Relaxed) > before + 8).await;
    }
    done.store(true, Ordering::Relaxed);
    for task in asking {
        task.await.unwrap();
    }
    let (asked, answered) = (asked.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
    assert!(asked - answered <= 4 * 3, "{answered} answers for {asked}: at most one of each asker at each restart");
}

#[tokio::test]
async fn a_socket_for_another_process_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = homing(dir.path(), &["relay", "start", "--listen", "127.0.0.1:0", "--open", "--json"]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let relay = Process::spawn("relay", command);
    let address: SocketAddr = relay.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    assert!(answers(address).await);
}
