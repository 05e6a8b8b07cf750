//! What a stream begins with: the name of the service wanted, as `u8 length || name`. No name asks
//! for the list of services.

use core::time::Duration;
use std::io;

use homing_tokio::TunnelStream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::error::DeviceError;

/// The longest list of services, in bytes.
const LIST_MAX: u64 = 64 * 1024;
/// How long a host may take to list its services.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// A service that a host offers to this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it speaks, such as `http` or `tcp`.
    pub kind: String,
}

/// What a host tells of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Offer {
    pub(crate) services: Vec<Service>,
    /// The relays that it can be reached through, `wss://…`. An older host names none.
    #[serde(default)]
    pub(crate) relays: Vec<String>,
    /// After how many seconds without a stream its devices may leave it, so that it can sleep.
    #[serde(default)]
    pub(crate) rest_after: Option<u64>,
}

/// The first bytes of a stream to the service `name`; none where no service can have that name.
pub(crate) fn preface(name: &str) -> Option<Vec<u8>> {
    let len = u8::try_from(name.len()).ok().filter(|len| *len > 0)?;
    let mut bytes = Vec::with_capacity(name.len().saturating_add(1));
    bytes.push(len);
    bytes.extend_from_slice(name.as_bytes());
    Some(bytes)
}

/// Asks for the services, and what else the host tells, over a fresh stream.
pub(crate) async fn ask(mut stream: TunnelStream) -> Result<Offer, DeviceError> {
    let asked = async {
        stream.write_all(&[0]).await?;
        // A host that has answered by now wants no end of the question; one that is gone gives no answer.
        let _ = stream.shutdown().await;
        read_offer(&mut stream).await
    };
    match timeout(LIST_TIMEOUT, asked).await {
        Ok(Ok(offer)) => Ok(offer),
        Ok(Err(error)) => Err(DeviceError::from_stream(error)),
        Err(_) => Err(DeviceError::not_reachable("the host did not list its services in 10 s")),
    }
}

async fn read_offer(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Offer> {
    let mut text = Vec::new();
    let len = from.take(LIST_MAX.saturating_add(1)).read_to_end(&mut text).await?;
    if u64::try_from(len).unwrap_or(u64::MAX) > LIST_MAX {
        return Err(io::Error::other("the host's list of services is longer than 64 KiB"));
    }
    serde_json::from_slice(&text).map_err(|_| {
        io::Error::other("the host's list of services cannot be read; are both programs of the same version?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_is_a_length_and_a_name() {
        assert_eq!(preface("web").unwrap(), b"\x03web");
        assert_eq!(preface(&"x".repeat(255)).unwrap().len(), 256);
        assert!(preface("").is_none() && preface(&"x".repeat(256)).is_none());
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_end_and_no_further_than_allowed() {
        let text = br#"{"services":[{"name":"web","kind":"http"},{"name":"ssh","kind":"tcp","later":1}],"more":2}"#;
        let offer = read_offer(&mut text.as_slice()).await.unwrap();
        assert_eq!(offer.services[1], Service { name: "ssh".into(), kind: "tcp".into() });
        assert!(offer.relays.is_empty());
        let text = br#"{"relays":["wss://a.example"],"services":[]}"#;
        assert_eq!(read_offer(&mut text.as_slice()).await.unwrap().relays, ["wss://a.example"]);
        assert!(read_offer(&mut &text[..20]).await.is_err());
        let endless = format!("{}{{\"services\":[]}}", " ".repeat(64 * 1024));
        assert!(read_offer(&mut endless.as_bytes()).await.unwrap_err().to_string().contains("64 KiB"));
    }
}
