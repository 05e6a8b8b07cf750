//! A service behind a local TCP listener.

use core::convert::Infallible;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::door::{Door, HostName};
use crate::error::DeviceError;
use crate::kind::{Kind, Kinds};
use crate::splice::splice;
use crate::tunnel::{OpenError, Tunnel};

/// Connections at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How long to wait when the system has no descriptor for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// No more than one log line about failed connections in this time.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// Carries every connection to the service, each on a stream of its own, for ever. Half-closes go
/// both ways; a side that aborts frees the other at once, and what ends before its time is reset.
/// Dropping the future ends every connection.
///
/// An HTTP service is not reached by pages of other sites, nor under a name that anybody can have lead to
/// the listener, except for those in `allowed`.
pub async fn forward(tunnel: Tunnel, service: &str, listener: TcpListener, allowed: &[HostName]) -> Infallible {
    let end = Arc::new(End {
        kinds: Kinds::new(tunnel.clone(), service),
        tunnel,
        service: service.into(),
        allowed: allowed.into(),
        log: Log::default(),
    });
    let mut connections = JoinSet::new();
    let mut learning = pin!(end.kinds.learn());
    loop {
        tokio::select! {
            never = &mut learning => match never {},
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((tcp, _)) => {
                    let end = end.clone();
                    connections.spawn(async move {
                        if let Err(error) = end.serve(tcp).await {
                            end.log.note(&end.service, &error);
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors: those in use come back.
                    end.log.note(&end.service, &DeviceError::Broken(error));
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

/// What the connections of a listener share.
struct End {
    tunnel: Tunnel,
    service: Box<str>,
    kinds: Kinds,
    allowed: Arc<[HostName]>,
    log: Log,
}

impl End {
    async fn serve(&self, tcp: TcpStream) -> Result<(), DeviceError> {
        tcp.set_nodelay(true)?;
        let opened = async {
            let stream = self.tunnel.open(&self.service).await?;
            Ok((stream, self.door().await))
        };
        let opened: Result<_, OpenError> = tokio::select! {
            opened = opened => opened,
            // Whoever waits for the host may lose patience.
            error = hung_up(&tcp) => return Err(error.into()),
        };
        match opened {
            Ok((stream, door)) => splice(tcp, stream, door).await.map_err(DeviceError::from_stream),
            Err(error) => {
                let _ = tcp.set_zero_linger();
                Err(error.into())
            }
        }
    }

    async fn door(&self) -> Door {
        match self.kinds.now().await {
            Kind::Http => Door::http(self.allowed.clone()),
            Kind::Raw => Door::open(),
            Kind::NotTold => Door::unknown(self.allowed.clone()),
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
