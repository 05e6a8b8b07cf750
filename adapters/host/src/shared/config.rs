//! What a host starts with.

use core::time::Duration;
use std::net::TcpListener;
use std::path::PathBuf;

use homing_core::handshake::Suite;
use homing_tokio::{ClientTls, RelayUrl};
use zeroize::Zeroizing;

use crate::service::Exposed;

/// Sessions at once, over all devices, where nobody says otherwise.
pub const MAX_SESSIONS: usize = 64;
/// Sessions at once of one device.
pub const MAX_SESSIONS_PER_DEVICE: usize = 8;
/// And of all its guests: the rest are for the device itself.
pub const MAX_SESSIONS_OF_GUESTS: usize = 6;
/// How long a session waits for its device, where nobody says otherwise.
pub const KEEP: Duration = Duration::from_secs(10 * 60);
/// How long a host on demand keeps a link that nobody uses, where nobody says otherwise.
pub const LINGER: Duration = Duration::from_secs(10);

/// What a host starts with.
#[derive(Debug)]
pub struct HostConfig {
    /// The data directory.
    pub data: PathBuf,
    /// What the host calls itself when it is made; later starts keep the first name.
    pub name: String,
    /// Its relays. Where there are none it takes those that were set while it ran.
    pub relays: Vec<RelayUrl>,
    /// Whether it may start without a relay, to be given one on its settings page.
    pub relays_later: bool,
    /// What set `relays`, as its owner knows it: while the host runs they are not changed then.
    pub relays_fixed_by: Option<String>,
    /// Where its settings are served: at an address of this machine only. None for nowhere.
    pub settings: Option<TcpListener>,
    /// What devices can reach.
    pub exposed: Vec<Exposed>,
    /// The relay operator's key, where it asks for one.
    pub relay_key: Option<Zeroizing<String>>,
    /// Trust in relays.
    pub tls: ClientTls,
    /// Primitives of new pairings.
    pub suite: Suite,
    /// How long a session waits for its device after its connection was lost.
    pub keep: Duration,
    /// Whether it has links with its relays only while a device needs one, and otherwise waits to be knocked at.
    pub on_demand: bool,
    /// How long it then keeps a link that nobody uses.
    pub linger: Duration,
    /// Sessions at once, over all devices.
    pub max_sessions: usize,
    /// Whether devices may have guests, unless their grants say otherwise.
    pub guests: bool,
}

impl HostConfig {
    /// A host with its state in the directory `data`, this name, and one relay; it exposes nothing
    /// yet, and has the defaults for everything else.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, name: impl Into<String>, relay: RelayUrl) -> Self {
        Self {
            data: data.into(),
            name: name.into(),
            relays: vec![relay],
            relays_later: false,
            relays_fixed_by: None,
            settings: None,
            exposed: Vec::new(),
            relay_key: None,
            tls: ClientTls::system(),
            suite: Suite::Hybrid,
            keep: KEEP,
            on_demand: false,
            linger: LINGER,
            max_sessions: MAX_SESSIONS,
            guests: true,
        }
    }
}
