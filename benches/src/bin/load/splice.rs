//! The bound for forwarding: a process that takes a connection, makes another, and lets tokio copy between them. It knows
//! nothing of messages, credit or who is who.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use homing_benches::program::free_address;

use crate::relay::cpu;

/// As much as a relay reads at once.
const BUFFER: usize = 64 * 1024;

/// The process itself: `load splice FROM TO`.
pub(crate) async fn serve(from: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(from).await.unwrap();
    loop {
        let (mut here, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let Ok(mut there) = TcpStream::connect(to).await else { return };
            let _ = (here.set_nodelay(true), there.set_nodelay(true));
            let _ = copy_bidirectional_with_sizes(&mut here, &mut there, BUFFER, BUFFER).await;
        });
    }
}

/// The same, started beside this one.
pub(crate) struct Splice {
    child: Child,
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Splice {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, to) = (free_address(), listener.local_addr().unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["splice", &address.to_string(), &to.to_string()]).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        Self { child, listener, address }
    }

    /// A connection through it: the end that dialled, and the other.
    pub(crate) async fn pair(&self) -> (TcpStream, TcpStream) {
        let here = loop {
            match TcpStream::connect(self.address).await {
                Ok(here) => break here,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let (there, _) = self.listener.accept().await.unwrap();
        here.set_nodelay(true).unwrap();
        there.set_nodelay(true).unwrap();
        (here, there)
    }

    /// Bytes in a second and CPU seconds for a GB, of so many connections that send in pieces of `batch`.
    pub(crate) async fn pour(&self, pairs: usize, batch: usize, time: Duration) -> (f64, f64) {
        let arrived = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..pairs {
            let ((mut here, mut there), arrived) = (self.pair().await, arrived.clone());
            tasks.spawn(async move {
                let body = vec![0x5a; batch];
                while here.write_all(&body).await.is_ok() {}
            });
            tasks.spawn(async move {
                let mut buf = vec![0; 128 * 1024];
                while let Ok(len) = there.read(&mut buf).await
                    && len > 0
                {
                    arrived.fetch_add(len as u64, Ordering::Relaxed);
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (before, spent) = (arrived.load(Ordering::Relaxed), cpu(self.child.id()));
        tokio::time::sleep(time).await;
        let bytes = (arrived.load(Ordering::Relaxed) - before) as f64;
        (bytes / time.as_secs_f64(), (cpu(self.child.id()) - spent) / (bytes / 1e9))
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
