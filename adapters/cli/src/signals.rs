//! SIGTERM and Ctrl-C: once to stop in order, twice to stop at once.

use core::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// As shells have it for a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Completes with the first signal to stop. The second one ends the process.
///
/// # Errors
/// Where the system does not let us listen for signals.
pub(crate) fn shutdown() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        let mut next = async move || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; once more stops at once");
        tokio::spawn(async move {
            next().await;
            std::process::exit(INTERRUPTED);
        });
    })
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error: io::Error| Failure::failed(format!("cannot listen for signals: {error}")))
}

/// SIGHUP, by which operators ask for files to be read again.
pub(crate) fn hangups() -> Result<tokio::signal::unix::Signal, Failure> {
    listen(SignalKind::hangup())
}
