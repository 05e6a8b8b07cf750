//! Becoming a guest: somebody's device passes on a part of what it may reach, its host is not asked.

use std::path::Path;
use std::sync::Arc;

use homing_core::pairing::{GUEST_MAX, parse_guest_link};
use homing_local::clock::unix_now;
use homing_tokio::ClientTls;
use zeroize::Zeroizing;

use crate::error::DeviceError;
use crate::pair::PairedHost;
use crate::profile::vault;
use crate::tunnel::Tunnel;

/// Stores what a guest's link gives, and reaches the host once. Where the host does not answer, it may later; where it
/// says no, nothing is kept.
///
/// # Errors
/// [`DeviceError`], each kind with what to do about it.
pub(crate) async fn accept(data: &Path, link: &str, tls: ClientTls) -> Result<PairedHost, DeviceError> {
    let mut room = Zeroizing::new([0; GUEST_MAX]);
    let pass = parse_guest_link(link, &mut room)?;
    let guest_until = u64::from(pass.expiry);
    if unix_now() >= guest_until {
        return Err(DeviceError::GuestExpired);
    }
    let token = pass.chain.token(&pass.device_id);
    let ((host, before), _) = vault(data)?.try_update(|profiles| profiles.insert_guest(&pass))?;
    let tunnel = Tunnel::start(data, &host.id, Arc::new(tls))?;
    let listed = tunnel.services().await;
    tunnel.close().await;
    let (services, unreached) = match listed {
        Ok(services) => (services, None),
        Err(no @ (DeviceError::Refused { .. } | DeviceError::GuestExpired)) => {
            vault(data)?.update(|profiles| profiles.take_back(&host.id, &token, before))?;
            return Err(no);
        }
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    Ok(PairedHost { id: host.id, name: host.name, services, guest_until: Some(guest_until), unreached })
}
