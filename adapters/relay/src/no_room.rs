//! Connections for which there is no room: told so as far as that costs little, and counted.

use core::time::Duration;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use crate::runtime::{Runtime, timeout};

/// Connections that are told at once; there is no more to say to others than the end.
const AT_ONCE: usize = 64;
/// How long one may take to hear it.
const TIME: Duration = Duration::from_secs(1);
/// Bytes of a request that are read, so that the answer is not lost with them.
const REQUEST: usize = 8 * 1024;

const RELAY_FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\n\
connection: close\r\ncontent-length: 39\r\n\r\ntoo many connections at once come here\n";
const ADDRESS_FULL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: text/plain\r\nretry-after: 5\r\n\
connection: close\r\ncontent-length: 57\r\n\r\ntoo many connections of this address are no links so far\n";
/// A fatal alert, `internal_error`: what TLS has for it before anything is agreed on.
const TLS_ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 80];

/// Why.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    /// The relay has as many connections as it may have that are no links.
    Relay,
    /// Their address has.
    Address,
}

/// Tells connections.
#[derive(Debug)]
pub(crate) struct NoRoom {
    places: Arc<Semaphore>,
    tls: bool,
}

impl NoRoom {
    pub(crate) fn new(tls: bool) -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), tls }
    }

    /// Tells this one, in a task of its own.
    pub(crate) fn tell<R: Runtime>(&self, tcp: R::Tcp, reason: Reason) {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let text = match reason {
            _ if self.tls => TLS_ALERT,
            Reason::Relay => RELAY_FULL,
            Reason::Address => ADDRESS_FULL,
        };
        R::spawn(async move {
            let _ = timeout::<R, _>(TIME, say::<R>(tcp, text)).await;
            drop(place);
        });
    }
}

async fn say<R: Runtime>(tcp: R::Tcp, text: &[u8]) -> std::io::Result<()> {
    let mut io = R::accept(tcp, None).await?;
    io.write_all(text).await?;
    io.shutdown().await?;
    let mut rest = io.take(REQUEST as u64);
    let mut request = [0; 512];
    while rest.read(&mut request).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_as_long_as_they_say() {
        for answer in [RELAY_FULL, ADDRESS_FULL] {
            let text = core::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{} for {head}", body.len());
        }
    }
}
