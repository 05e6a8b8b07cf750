//! OpenSSH: a session, `scp` and `sftp` by `ProxyCommand`, while the relay dies.

use core::time::Duration;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::service::content_hash;
use crate::support::ssh::{client, ssh, sshd};
use crate::support::{HOST, World, in_time, until, within};
use crate::{file_hash, fill};

const LEN: u64 = 12 << 20;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_and_a_copy_outlive_two_killed_relays() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (_sshd, port) = sshd(dir.path()).await;
    let mut world = World::start(&[("ssh", format!("tcp://127.0.0.1:{port}"))]).await;
    let device = world.pair().await;
    let said = within(ssh(dir.path(), &device, "echo out; echo err >&2; exit 7").output()).await.unwrap();
    assert_eq!((said.status.code(), &*said.stdout), (Some(7), &b"out\n"[..]), "{said:?}");
    assert!(said.stderr.ends_with(b"err\n"), "{said:?}");

    fill(&dir.path().join("file"), LEN);
    let mut shell = ssh(dir.path(), &device, "echo $$; while read line; do echo \"$$ $line\"; done");
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
    let pid = within(lines.next_line()).await.unwrap().expect("the shell's number");

    // At 2 MB/s, so that it is under way all the while.
    let mut scp = client("scp", dir.path(), &device);
    let mut scp = scp.args(["-q", "-l", "16000", &at("file"), &format!("{HOST}:{}", at("copied"))]).spawn().unwrap();
    let copied = || std::fs::metadata(dir.path().join("copied")).map_or(0, |meta| meta.len());
    for round in 1..=2 {
        let had = copied();
        until("some of the copy is there", LIMIT, || copied() > had + (1 << 20)).await;
        assert!(scp.try_wait().unwrap().is_none(), "the copy ended before the relay");
        world.relay.kill();
        stdin.write_all(format!("{round}\n").as_bytes()).await.unwrap();
        world.restart_relay().await;
        let answer = in_time(LIMIT, lines.next_line()).await.unwrap();
        assert_eq!(answer, Some(format!("{pid} {round}")), "the same shell answers");
    }
    drop(stdin);
    assert_eq!(within(lines.next_line()).await.unwrap(), None);
    assert!(within(shell.wait()).await.unwrap().success());
    assert!(in_time(LIMIT, scp.wait()).await.unwrap().success());
    assert_eq!(file_hash(&dir.path().join("copied")), content_hash(LEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_goes_on_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (_sshd, port) = sshd(dir.path()).await;
    let world = World::start(&[("ssh", format!("tcp://127.0.0.1:{port}"))]).await;
    let device = world.pair().await;
    fill(&dir.path().join("file"), LEN);
    fill(&dir.path().join("back"), LEN / 3);
    let batch = format!("put {} {}\nreget {1} {}\nls -l {1}\n", at("file"), at("up"), at("back"));
    std::fs::write(dir.path().join("batch"), batch).unwrap();
    let mut sftp = client("sftp", dir.path(), &device);
    let done = within(sftp.args(["-b", &at("batch"), HOST]).output()).await.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains(&format!(" {LEN} ")), "{done:?}");
    for name in ["up", "back"] {
        assert_eq!(file_hash(&dir.path().join(name)), content_hash(LEN), "{name}");
    }
}
