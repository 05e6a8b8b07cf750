//! The system's news of its network, waited for by smol.

use std::io;
use std::os::fd::OwnedFd;

use async_io::Async;
use homing_driver::surroundings::Subscription;

/// A subscription.
#[derive(Debug)]
pub(crate) struct Events {
    socket: Async<OwnedFd>,
    subscription: Subscription,
}

impl Events {
    pub(crate) fn subscribe() -> io::Result<Self> {
        let (socket, subscription) = Subscription::open()?;
        let socket = Async::new_nonblocking(socket)?;
        Ok(Self { socket, subscription })
    }

    /// Waits until something has changed.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        while !self.socket.read_with(|socket| self.subscription.read(socket)).await? {}
        Ok(())
    }
}
