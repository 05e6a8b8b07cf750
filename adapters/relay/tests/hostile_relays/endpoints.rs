//! Hosts and devices as a program embeds them.

use core::net::SocketAddr;

use homing_core::handshake::Suite;
use homing_driver::Ended;
use homing_driver::device::Profile;
use homing_driver::host::{HostKeys, Registry};
use homing_driver::relay::{ClientTls, DialError, RelayUrl, endpoint_config};
use homing_tokio::TokioClock;

/// Who meets a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    HostOnTokio,
    DeviceOnTokio,
    #[cfg(feature = "smol")]
    HostOnSmol,
    #[cfg(feature = "smol")]
    DeviceOnSmol,
}

impl Who {
    pub const ALL: [Self; if cfg!(feature = "smol") { 4 } else { 2 }] = [
        Self::HostOnTokio,
        Self::DeviceOnTokio,
        #[cfg(feature = "smol")]
        Self::HostOnSmol,
        #[cfg(feature = "smol")]
        Self::DeviceOnSmol,
    ];

    pub fn is_device(self) -> bool {
        match self {
            Self::HostOnTokio => false,
            Self::DeviceOnTokio => true,
            #[cfg(feature = "smol")]
            Self::HostOnSmol => false,
            #[cfg(feature = "smol")]
            Self::DeviceOnSmol => true,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub enum Met {
    /// There was no link.
    NoLink(DialError),
    /// There was one, and it ended.
    Ended(Ended),
}

/// Dials the relay and stays as long as it can.
pub async fn meet(address: SocketAddr, who: Who) -> Met {
    let relay: RelayUrl = format!("ws://{address}").parse().unwrap();
    match who {
        Who::HostOnTokio | Who::DeviceOnTokio => on_tokio(relay, who.is_device()).await,
        #[cfg(feature = "smol")]
        Who::HostOnSmol | Who::DeviceOnSmol => smol::spawn(on_smol(relay, who.is_device())).await,
    }
}

fn registry() -> Registry {
    Registry::new(HostKeys::generate(), "test host")
}

/// A device that has a link, and wants to be paired.
fn device(relay: &RelayUrl) -> Profile {
    let now = homing_driver::Clock::now(&TokioClock);
    let ticket = registry().invite(relay.authority(), relay.is_plain(), Suite::Classic, now).unwrap();
    Profile::new(ticket, "laptop", 1)
}

async fn on_tokio(relay: RelayUrl, is_device: bool) -> Met {
    let socket = match homing_tokio::dial(&relay, &ClientTls::system(), endpoint_config()).await {
        Ok(socket) => socket,
        Err(error) => return Met::NoLink(error),
    };
    Met::Ended(if is_device {
        device(&relay).call(socket, TokioClock).0.await
    } else {
        registry().serve(socket, &TokioClock, relay.authority(), |_, _| {}).await
    })
}

#[cfg(feature = "smol")]
async fn on_smol(relay: RelayUrl, is_device: bool) -> Met {
    use homing_smol::SmolClock;
    let socket = match homing_smol::dial(&relay, &ClientTls::system(), endpoint_config()).await {
        Ok(socket) => socket,
        Err(error) => return Met::NoLink(error),
    };
    Met::Ended(if is_device {
        device(&relay).call(socket, SmolClock).0.await
    } else {
        registry().serve(socket, &SmolClock, relay.authority(), |_, _| {}).await
    })
}
