//! What the service manager that started a server is told (sd_notify(3)). Where none did, nothing happens.

use core::convert::Infallible;
use core::future::pending;
use std::net::TcpListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::failure::Failure;

/// The socket that it listens on, where the service manager has taken one (sd_listen_fds(3)).
///
/// # Errors
/// Where there are several, or it is no listener of TCP.
pub(crate) fn socket() -> Result<Option<TcpListener>, Failure> {
    let mut given = ListenFd::from_env();
    if given.len() > 1 {
        return Err(Failure::usage("the service manager gives several sockets: the relay takes one, for TCP"));
    }
    let unfit = |error| Failure::usage(format!("the socket of the service manager is none for TCP: {error}"));
    given.take_tcp_listener(0).map_err(unfit)
}

/// The server does its work now; `status` is one line for people.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It was asked to stop, and does so in order.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the server lives, as often as is asked for, from the threads that do its work: where these hang, so does this.
pub(crate) async fn watch() -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut due = tokio::time::interval(limit / 2);
    loop {
        due.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
