//! `ssh` through `homing connect`, to a real sshd.

use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::service::{content, content_hash, hex};
use crate::support::ssh::{ssh, sshd};
use crate::support::{World, within};

const LEN: u64 = 10 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_works_with_connect_as_its_proxy_command() {
    let dir = tempfile::tempdir().unwrap();
    let (_sshd, port) = sshd(dir.path()).await;
    let world = World::start(&[("ssh", format!("tcp://127.0.0.1:{port}"))]).await;
    let device = world.pair().await;

    let output = within(ssh(dir.path(), &device, "echo hello; exit 7").stdin(Stdio::null()).output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(7), &b"hello\n"[..]), "{said}");

    let mut cat = ssh(dir.path(), &device, "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let send = async move {
        for piece in content(LEN) {
            stdin.write_all(&piece).await.unwrap();
        }
        // Dropped: the end of stdin.
    };
    let receive = async {
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = within(async { tokio::join!(send, receive) }).await;
    assert_eq!((got.len() as u64, hex(&Sha256::digest(&got))), (LEN, content_hash(LEN)));
    assert!(within(cat.wait()).await.unwrap().success());
}
