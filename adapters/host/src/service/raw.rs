//! Services that are bytes: both directions copied, half-closes passed on.

use tokio::io::copy_bidirectional_with_sizes;

use super::connect::{Transport, connect};
use super::{Service, ServiceError, Stream};

/// Per direction; only what is used of it becomes resident.
const BUFFER: usize = 64 * 1024;

pub(super) async fn serve<S: Stream>(mut stream: S, service: &Service) -> Result<(), ServiceError> {
    let mut local = Local { transport: connect(service).await?, ended: false };
    copy_bidirectional_with_sizes(&mut stream, &mut local.transport, BUFFER, BUFFER).await?;
    local.ended = true;
    Ok(())
}

/// A service's connection that is reset unless both directions came to their end: a stream that was cut must not look
/// complete to the service.
struct Local {
    transport: Transport,
    ended: bool,
}

impl Drop for Local {
    fn drop(&mut self) {
        if let (false, Transport::Tcp(tcp)) = (self.ended, &self.transport) {
            // Best effort: closing without a reset is what remains.
            let _ = tcp.set_zero_linger();
        }
    }
}
