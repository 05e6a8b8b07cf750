//! What comes after 101: two byte streams joined.

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};

use super::ServiceError;
use super::exchange::Upgrade;

/// Per direction; WebSocket messages are mostly small.
const BUFFER: usize = 16 * 1024;

pub(super) async fn join(agreed: Upgrade) -> Result<(), ServiceError> {
    let mut device = TokioIo::new(agreed.device.await?);
    let (mut service, early, _room) = agreed.service.into_socket().await?;
    device.write_all(&early).await?;
    device.flush().await?;
    copy_bidirectional_with_sizes(&mut device, &mut service, BUFFER, BUFFER).await?;
    Ok(())
}
