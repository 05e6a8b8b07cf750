//! Where the system's news of its network is not read.

use core::convert::Infallible;
use std::io;

/// Events that cannot be had.
#[derive(Debug)]
pub struct Silence(Infallible);

impl Silence {
    /// Subscribes to them.
    ///
    /// # Errors
    /// Always: this system is not asked.
    pub fn subscribe() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits until something has changed.
    ///
    /// # Errors
    /// None, since nobody has one of these.
    pub async fn next(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}
