//! SIGHUP: what file and environment say is read again, and taken over where all of it is right.

use core::convert::Infallible;
use core::future::pending;
use std::path::Path;

use homing_host::HostHandle;
use tokio::signal::unix::Signal;

use super::start::{parse_all, warn_of_secrets};
use crate::config::{Config, settings};
use crate::failure::Failure;

/// Flags of services and of relays: they stay what they were.
pub(super) type Flags = (Vec<String>, Vec<String>);

/// Reads them at every signal.
pub(super) async fn at(mut hangups: Signal, host: &HostHandle, data: &Path, flags: &Flags) -> Infallible {
    while hangups.recv().await.is_some() {
        match reload(host, data, flags) {
            Ok(()) => tracing::info!("read the settings again"),
            Err(Failure::Said { text, .. }) => {
                tracing::error!("keeping the settings that were read before: {text}");
            }
            Err(_) => {} // nothing was printed, so nobody failed to read it
        }
    }
    pending().await
}

fn reload(host: &HostHandle, data: &Path, (exposed, relays): &Flags) -> Result<(), Failure> {
    let config = Config::load(data)?;
    let exposed = config.exposed(exposed.clone())?;
    warn_of_secrets(&exposed);
    let relays = parse_all(&config.list(&settings::HOST_RELAY, relays.clone()), "--relay")?;
    host.reload(exposed, relays).map_err(|error| Failure::failed(error.to_string()))
}
