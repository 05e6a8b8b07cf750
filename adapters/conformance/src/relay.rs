//! A relay on a thread of its own.

use core::time::Duration;
use std::sync::mpsc::{self, Receiver};

use homing_driver::relay::RelayUrl;
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
        let (tell, told) = mpsc::channel();
        let (has_ended, ended) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let start = if tls.is_some() { "wss://localhost" } else { "ws://127.0.0.1" };
        std::thread::spawn(move || {
            R::run(async move {
                let mut config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
                config.tls = tls;
                config.drain = Duration::from_secs(600);
                let relay = Server::<R::Relay>::bind(config).await.unwrap();
                tell.send(relay.local_addr().port()).unwrap();
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
        let port = told.recv_timeout(PATIENCE).expect("a relay");
        Self { url: format!("{start}:{port}").parse().unwrap(), stop: Some(stop), ended }
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
