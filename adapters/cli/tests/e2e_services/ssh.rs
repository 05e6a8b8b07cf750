//! `ssh` through `homing connect`, to a real sshd.

use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::service::{content, content_hash, hex};
use crate::support::{Device, HOST, Process, World, within};

const LEN: u64 = 10 << 20;

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("openssh-client is installed").success());
}

/// An sshd that lets the key `DIR/key` in as this user, and its port.
async fn sshd(dir: &Path) -> (Process, u16) {
    keygen(&dir.join("host_key"));
    keygen(&dir.join("key"));
    std::fs::copy(dir.join("key.pub"), dir.join("authorized_keys")).unwrap();
    // Where sshd runs as root it confines itself to this directory, which distributions make at boot.
    let _ = std::fs::create_dir_all("/run/sshd");
    let config = format!(
        "ListenAddress 127.0.0.1\nHostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n",
        dir.display()
    );
    std::fs::write(dir.join("sshd_config"), config).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(dir.join("sshd_config"));
    let sshd = Process::spawn("sshd (openssh-server)", command);
    sshd.logged("Server listening on").await;
    (sshd, port)
}

/// A command run through the tunnel.
fn ssh(dir: &Path, device: &Device, remote: &str) -> tokio::process::Command {
    let proxy =
        format!("ProxyCommand={} --data {} connect {HOST}/ssh", env!("CARGO_BIN_EXE_homing"), device.data.display());
    let known = format!("UserKnownHostsFile={}", dir.join("known_hosts").display());
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let mut command = tokio::process::Command::new("ssh");
    command
        .args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
        .args(["-o", "StrictHostKeyChecking=accept-new", "-o", &known, "-o", &proxy, "-i"])
        .arg(dir.join("key"))
        .args(["-l", String::from_utf8(user).unwrap().trim(), HOST, remote])
        .kill_on_drop(true);
    command
}

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
