//! Services that are bytes: both directions copied, half-closes passed on.

use rustix::net::sockopt::set_socket_linger;
use tokio::io::copy_bidirectional_with_sizes;

use super::connect::{Remote, Transport, connect};
use super::{ServiceError, Stream};

/// Per direction; only what is used of it becomes resident.
const BUFFER: usize = 16 * 1024;

pub(super) async fn serve<S: Stream>(mut stream: S, service: &Remote) -> Result<(), ServiceError> {
    let mut local = connect(service).await?;
    // A stream that was cut must not look complete to the service: until both directions have come to their end, the
    // connection ends by a reset, also where this process is killed.
    if let Transport::Tcp(tcp) = &local {
        tcp.set_zero_linger()?;
    }
    copy_bidirectional_with_sizes(&mut stream, &mut local, BUFFER, BUFFER).await?;
    if let Transport::Tcp(tcp) = &local {
        set_socket_linger(tcp, None).map_err(std::io::Error::from)?;
    }
    Ok(())
}
