//! A session of ssh, whose connection nobody may lose.

use core::time::Duration;
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::Stage;
use crate::support::in_time;
use crate::support::service::{content, content_hash, hex};
use crate::support::ssh::{ssh, sshd};

const LEN: u64 = 10 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_ssh_outlives_a_killed_relay() {
    let dir = tempfile::tempdir().unwrap();
    let (_sshd, port) = sshd(dir.path()).await;
    let mut stage = Stage::with(1, false, &[format!("ssh=tcp://127.0.0.1:{port}")]).await;
    let mut cat = ssh(dir.path(), &stage.device, "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let send = async move {
        for piece in content(LEN) {
            stdin.write_all(&piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        // Dropped: the end of stdin.
    };
    let receive = async {
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).await.unwrap();
        got
    };
    let kills = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stage.relays[0].process.kill();
            stage.relays[0].restart().await;
        }
    };
    let ((), got, ()) = in_time(Duration::from_secs(60), async { tokio::join!(send, receive, kills) }).await;
    assert_eq!((got.len() as u64, hex(&Sha256::digest(&got))), (LEN, content_hash(LEN)));
    assert!(in_time(Duration::from_secs(10), cat.wait()).await.unwrap().success());
}
