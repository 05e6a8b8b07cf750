//! Debian's NATS server.

use core::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Process;

/// A server with JetStream.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    data: PathBuf,
    /// What its configuration has more.
    settings: String,
}

impl Server {
    pub(crate) async fn start(data: PathBuf, address: SocketAddr) -> Self {
        Self::start_with(data, address, String::new()).await
    }

    /// The same with these lines in its configuration.
    pub(crate) async fn start_with(data: PathBuf, address: SocketAddr, settings: String) -> Self {
        std::fs::create_dir_all(&data).unwrap();
        let file = data.join("nats.conf");
        std::fs::write(&file, format!("listen: {address}\njetstream {{ store_dir: {data:?} }}\n{settings}\n")).unwrap();
        Self { process: spawn(&file).await, address, data, settings }
    }

    pub(crate) async fn restart(&mut self) {
        *self = Self::start_with(self.data.clone(), self.address, self.settings.clone()).await;
    }
}

async fn spawn(file: &Path) -> Process {
    let mut command = Command::new("nats-server");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin")).arg("-c").arg(file);
    let process = Process::spawn("nats-server", command);
    process.logged("Server is ready").await;
    process
}
