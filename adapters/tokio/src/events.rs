//! The system's news of its network, waited for by tokio.

use std::io;
use std::os::fd::OwnedFd;

use homing_driver::surroundings::Subscription;
use tokio::io::unix::AsyncFd;

/// A subscription.
#[derive(Debug)]
pub(crate) struct Events {
    socket: AsyncFd<OwnedFd>,
    subscription: Subscription,
}

impl Events {
    pub(crate) fn subscribe() -> io::Result<Self> {
        let (socket, subscription) = Subscription::open()?;
        #[allow(deprecated, reason = "its successor is unsafe code; what that asks for, an `OwnedFd` keeps anyway")]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket, subscription })
    }

    /// Waits until something has changed.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| self.subscription.read(socket.get_ref())) {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) | Err(_) => {} // nothing of interest, or nothing at all
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}
