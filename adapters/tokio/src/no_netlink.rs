//! Where the system's news of its network is not read.

use core::convert::Infallible;
use std::io;

/// A subscription that cannot be had.
#[derive(Debug)]
pub(crate) struct Events(Infallible);

impl Events {
    pub(crate) fn subscribe() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) async fn next(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}
