//! TCP under a link: which addresses to try for how long, and what a connection is prepared with.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use super::DIAL_TIMEOUT;

/// How long one of several addresses may keep the others waiting.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Unsent bytes that the kernel takes from us: two records. What waits in the kernel can be
/// overtaken by nothing, so a keystroke must not find megabytes of a bulk transfer there.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 32 * 1024;

/// How long the network may take nothing of what was sent before the connection is given up. It matters where an end has
/// gone without a word and nothing is expected of it, as on a link on which a host waits; the others notice sooner.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNHEARD: Duration = Duration::from_secs(75);

/// An address to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where to connect to.
    pub address: SocketAddr,
    /// How long to wait for it.
    pub limit: Duration,
}

/// What to try of a name's addresses, one after the other.
///
/// # Errors
/// Where the name has none.
pub fn attempts(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<Vec<Attempt>> {
    let limited = |address| Attempt { address, limit: ADDRESS_TIMEOUT };
    let mut attempts: Vec<Attempt> = addresses.into_iter().map(limited).collect();
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    // Nobody waits behind the last one.
    attempts.last_mut().ok_or_else(none)?.limit = DIAL_TIMEOUT;
    Ok(attempts)
}

/// Prepares a link's connection: small messages leave at once, and find little before them.
///
/// # Errors
/// Where the socket is gone already.
#[cfg(unix)]
pub fn prepare(tcp: &impl std::os::fd::AsFd) -> io::Result<()> {
    prepare_socket(&socket2::SockRef::from(tcp))
}

/// Prepares a link's connection: small messages leave at once, and find little before them.
///
/// # Errors
/// Where the socket is gone already.
#[cfg(windows)]
pub fn prepare(tcp: &impl std::os::windows::io::AsSocket) -> io::Result<()> {
    prepare_socket(&socket2::SockRef::from(tcp))
}

fn prepare_socket(socket: &socket2::SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        socket.set_tcp_notsent_lowat(UNSENT)?;
        socket.set_tcp_user_timeout(Some(UNHEARD))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn only_the_last_address_may_take_all_the_time() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let limits =
            |count| attempts((0..count).map(address)).unwrap().into_iter().map(|a| a.limit).collect::<Vec<_>>();
        assert_eq!(limits(1), [DIAL_TIMEOUT]);
        assert_eq!(limits(3), [ADDRESS_TIMEOUT, ADDRESS_TIMEOUT, DIAL_TIMEOUT]);
        assert_eq!(attempts([]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
