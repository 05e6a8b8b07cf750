//! A relay on a thread of its own.

use core::time::Duration;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use homing_driver::relay::RelayUrl;
use homing_relay::directory::{Fixed, NodeInfo};
use homing_relay::{Admission, RelayConfig, Server, TlsFiles};
use tokio::sync::oneshot;

use crate::PATIENCE;
use crate::runtime::Runtime;

/// A relay that runs until it is dropped or stopped.
#[derive(Debug)]
pub struct RunningRelay {
    /// How it is dialled.
    pub url: RelayUrl,
    stop: Option<oneshot::Sender<()>>,
    ended: Receiver<()>,
}

impl RunningRelay {
    /// Starts one that is open to all of this machine; its links have for ever to leave it.
    #[must_use]
    pub fn start<R: Runtime>(tls: Option<TlsFiles>) -> Self {
        let socket = listen();
        let start = if tls.is_some() { "wss://localhost" } else { "ws://127.0.0.1" };
        let url = format!("{start}:{}", socket.local_addr().unwrap().port()).parse().unwrap();
        let mut config = config();
        config.tls = tls;
        Self::run::<R>(config, socket, url)
    }

    /// Starts two that know each other from a list: each sends those on whose route the other serves.
    #[must_use]
    pub fn cluster<R: Runtime>() -> [Self; 2] {
        let sockets = [listen(), listen()];
        let nodes = ["a", "b"].into_iter().zip(&sockets);
        let nodes: Vec<_> = nodes
            .map(|(name, socket)| NodeInfo::new(name, &format!("ws://{}", socket.local_addr().unwrap())).unwrap())
            .collect();
        let mut sockets = sockets.into_iter().zip(nodes.clone()).map(|(socket, me)| {
            let mut config = config();
            let url = me.url.clone();
            config.directory = Some(Arc::new(Fixed::new(me, nodes.clone()).unwrap()));
            Self::run::<R>(config, socket, url)
        });
        [sockets.next().unwrap(), sockets.next().unwrap()]
    }

    fn run<R: Runtime>(config: RelayConfig, socket: TcpListener, url: RelayUrl) -> Self {
        let (has_begun, begun) = mpsc::channel();
        let (has_ended, ended) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            R::run(async move {
                let relay = Server::<R::Relay>::adopt(config, socket).await.unwrap();
                has_begun.send(()).unwrap();
                let asked = async {
                    if stopped.await.is_err() {
                        // Dropped: it runs as long as the process.
                        core::future::pending().await
                    }
                };
                relay.run(asked).await;
            });
            let _ = has_ended.send(());
        });
        begun.recv_timeout(PATIENCE).expect("a relay");
        Self { url, stop: Some(stop), ended }
    }

    /// Tells it to stop.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until it has stopped.
    pub fn ended(&self) {
        self.ended.recv_timeout(PATIENCE).expect("the relay ends");
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn config() -> RelayConfig {
    let mut config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
    config.drain = Duration::from_secs(600);
    config
}
