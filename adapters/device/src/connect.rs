//! A service on two byte streams, such as stdin and stdout: what `ProxyCommand` of ssh expects.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

use crate::error::DeviceError;
use crate::tunnel::Tunnel;

const BUFFER: usize = 32 * 1024;

/// Carries `input` to the service and what it says to `output`, until the service has ended. The
/// end of `input` is passed on, and the service's last words still come. To an `http` service it is
/// not: there it would mean that whoever asked has gone, and the answer would be cancelled.
///
/// A read of stdin cannot be cancelled: a program that gave it here exits by
/// [`exit`](std::process::exit), or waits for another line.
///
/// # Errors
/// [`DeviceError::NotReachable`], [`DeviceError::Refused`], or [`DeviceError::Broken`] where the
/// service, or whoever reads `output`, broke off.
pub async fn connect(
    tunnel: &Tunnel,
    service: &str,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> Result<(), DeviceError> {
    let stream = tunnel.open(service).await?;
    let (mut from, mut to) = split(stream);
    // Asked beside the first bytes, known long before their end.
    let is_http = async {
        let known = tunnel.services().await.unwrap_or_default();
        known.iter().any(|known| known.name == service && known.kind == "http")
    };
    let forward = async move {
        let mut buf = vec![0; BUFFER];
        loop {
            let len = input.read(&mut buf).await?;
            // A service that wants no more may still have something to say.
            if len == 0 || to.write_all(buf.get(..len).unwrap_or_default()).await.is_err() {
                return Ok::<_, DeviceError>(to);
            }
        }
    };
    let up = async {
        let (is_http, to) = tokio::join!(is_http, forward);
        let mut to = to?; // input that broke off is no end: the stream is reset
        if !is_http {
            let _ = to.shutdown().await;
        }
        core::future::pending::<Result<core::convert::Infallible, DeviceError>>().await
    };
    let down = async {
        let mut buf = vec![0; BUFFER];
        loop {
            let len = from.read(&mut buf).await.map_err(DeviceError::from_stream)?;
            if len == 0 {
                return Ok(output.flush().await?);
            }
            output.write_all(buf.get(..len).unwrap_or_default()).await?;
            output.flush().await?;
        }
    };
    tokio::select! {
        broken = up => match broken {
            Ok(never) => match never {},
            Err(error) => Err(error),
        },
        ended = down => ended,
    }
}
