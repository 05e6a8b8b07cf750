//! A real sshd, and `ssh` through `homing connect`.

use std::path::Path;
use std::process::Command;

use super::{Device, HOST, Process};

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("openssh-client is installed").success());
}

/// An sshd that lets the key `DIR/key` in as this user, and its port.
pub async fn sshd(dir: &Path) -> (Process, u16) {
    keygen(&dir.join("host_key"));
    keygen(&dir.join("key"));
    std::fs::copy(dir.join("key.pub"), dir.join("authorized_keys")).unwrap();
    // Where sshd runs as root it confines itself to this directory, which distributions make at boot.
    let _ = std::fs::create_dir_all("/run/sshd");
    let config = format!(
        "ListenAddress 127.0.0.1\nHostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n\
         Subsystem sftp internal-sftp\n",
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
pub fn ssh(dir: &Path, device: &Device, remote: &str) -> tokio::process::Command {
    let mut command = client("ssh", dir, device);
    command.args(["-T", HOST, remote]);
    command
}

/// `ssh`, `scp` or `sftp`, set to reach the host's service `ssh` through the tunnel.
pub fn client(program: &str, dir: &Path, device: &Device) -> tokio::process::Command {
    let proxy =
        format!("ProxyCommand={} --data {} connect {HOST}/ssh", env!("CARGO_BIN_EXE_homing"), device.data.display());
    let known = format!("UserKnownHostsFile={}", dir.join("known_hosts").display());
    let key = format!("IdentityFile={}", dir.join("key").display());
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = format!("User={}", String::from_utf8(user).unwrap().trim());
    let mut command = tokio::process::Command::new(program);
    command.args(["-F", "none"]).kill_on_drop(true);
    let fixed = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=accept-new"];
    for option in fixed.into_iter().chain([&*known, &key, &user, &proxy]) {
        command.args(["-o", option]);
    }
    command
}
