//! What both ends of a link agree on about WebSocket: path, subprotocol, sizes.

use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use homing_core::hop::MAX_MESSAGE;

/// The path that a relay serves links under.
pub const PATH: &str = "/homing/1";
/// The subprotocol that both ends name.
pub const SUBPROTOCOL: &str = "homing.1";

/// An endpoint's sizes. The library's own would cost 135 KB per idle link.
///
/// The read buffer holds one whole record, so that a record costs one read; the write buffer lets
/// small messages leave together, and is bounded where the network does not take them.
#[must_use]
pub fn endpoint_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(20 * 1024)
        .write_buffer_size(32 * 1024)
        .max_write_buffer_size(256 * 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}
