//! A service behind a local TCP listener.

use core::convert::Infallible;
use core::time::Duration;
use std::io;
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::error::DeviceError;
use crate::splice::splice;
use crate::tunnel::Tunnel;

/// Connections at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How long to wait when the system has no descriptor for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// No more than one log line about failed connections in this time.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// Carries every connection to the service, each on a stream of its own, for ever. Half-closes go
/// both ways; a side that aborts frees the other at once, and what ends before its time is reset.
/// Dropping the future ends every connection.
pub async fn forward(tunnel: Tunnel, service: &str, listener: TcpListener) -> Infallible {
    let service: Arc<str> = service.into();
    let log = Arc::new(Log::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((tcp, _)) => {
                    let (tunnel, service, log) = (tunnel.clone(), service.clone(), log.clone());
                    connections.spawn(async move {
                        if let Err(error) = serve(tcp, &tunnel, &service).await {
                            log.note(&service, &error);
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors: those in use come back.
                    log.note(&service, &DeviceError::Broken(error));
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

async fn serve(tcp: TcpStream, tunnel: &Tunnel, service: &str) -> Result<(), DeviceError> {
    tcp.set_nodelay(true)?;
    let opened = tokio::select! {
        opened = tunnel.open(service) => opened,
        // Whoever waits for the host may lose patience.
        error = hung_up(&tcp) => return Err(error.into()),
    };
    match opened {
        Ok(stream) => splice(tcp, stream).await.map_err(DeviceError::from_stream),
        Err(error) => {
            let _ = tcp.set_zero_linger();
            Err(error.into())
        }
    }
}

async fn hung_up(tcp: &TcpStream) -> io::Error {
    match tcp.ready(tokio::io::Interest::ERROR).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}

/// Failed connections in the log, without flooding it.
#[derive(Default)]
struct Log(Mutex<Option<Instant>>);

impl Log {
    fn note(&self, service: &str, error: &DeviceError) {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A client that leaves is no news.
        let news = !matches!(error, DeviceError::Broken(error) if error.kind() == io::ErrorKind::ConnectionReset);
        if news && last.is_none_or(|last| now.duration_since(last) >= LOG_PAUSE) {
            *last = Some(now);
            tracing::warn!(service, %error, "connection failed");
        } else {
            tracing::debug!(service, %error, "connection failed");
        }
    }
}
