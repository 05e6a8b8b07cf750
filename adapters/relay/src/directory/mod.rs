//! Which relay serves a route, where several relays are one cluster. What is decided stands apart from how it is heard of:
//! `ranking`, `decision`, `lease` and `book` are given times and news, and hold no socket. Payload never comes here.
//!
//! | directory | hears of other relays | a host is at |
//! |---|---|---|
//! | [`Alone`] | there are none | this one |
//! | [`Fixed`] | from its configuration | the first by rank, or the first two |
//! | `Nats`, with the feature `cluster` | from NATS | where it was, or the first by rank that lives |

mod alone;
#[cfg(feature = "cluster")]
mod book;
mod decision;
mod fixed;
#[cfg(feature = "cluster")]
mod lease;
mod name;
#[cfg(feature = "cluster")]
mod nats;
mod ranking;

use core::fmt;
use core::pin::Pin;
use std::sync::Arc;

use homing_driver::relay::Seek;

pub use alone::Alone;
pub use fixed::{Fixed, FixedError};
pub use name::{BadNode, NodeInfo};
#[cfg(feature = "cluster")]
pub use nats::{Nats, NatsAccess, NatsAccessError, NatsConfig, NatsError};

/// A route as directories know it: [`blinded_route`](homing_core::hop::blinded_route).
pub type Blinded = [u8; 16];

/// Whether a host may be served here, once that is known.
pub type Claiming = Pin<Box<dyn Future<Output = Result<(), Unclaimed>> + Send>>;

/// A directory at work.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells where routes are served, and takes care that no two relays serve one.
pub trait Directory: Send + Sync + fmt::Debug {
    /// Where a link that is asked for belongs. Answers at once, by what is known here. `dialled` is this relay's name as
    /// the endpoint knows it; `present` says what of the same host is here.
    fn place(&self, seek: &Seek, dialled: &str, present: Present) -> Placement;

    /// A host has proved its route, and is to be served here by its link of this number.
    fn claim(&self, route: Blinded, link: u8) -> Claiming;

    /// Whether the route is still served here.
    fn holds(&self, route: &Blinded) -> bool;

    /// The last link of the route is gone from here.
    fn release(&self, route: Blinded);

    /// Cuts an account off at the other relays, too.
    fn revoke(&self, account: &str);

    /// This relay is about to stop.
    fn drain(&self);

    /// Keeps up with the other relays, for ever.
    fn run(&self, node: Arc<dyn Node>) -> Running;

    /// How it stands.
    fn counts(&self) -> Counts;
}

/// What of a host is at a relay that is asked for a link of it. Of devices, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// A link of another number.
    pub other: bool,
    /// The host waits here, and asks for the link that it is to be reached by.
    pub waits: bool,
}

/// Where a link belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Here.
    Here,
    /// At the relay with this URL.
    At(Arc<str>),
    /// Nowhere: another link of the host has the place.
    Taken,
    /// Nowhere now: this relay has withdrawn, and knows no other.
    Nowhere,
}

/// Why a host is not to be served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclaimed {
    /// Another link of the same host has the route.
    #[error("another link of this host is attached")]
    Taken,
    /// This relay has withdrawn, or another one was faster.
    #[error("this relay does not serve the route")]
    Elsewhere,
}

/// The relay that a directory works for.
pub trait Node: Send + Sync {
    /// Ends the links of a route's host: another relay serves it, or this one no longer may. Returns how many there were.
    fn close(&self, route: &Blinded) -> usize;
    /// Whether a host of this route is here.
    fn has(&self, route: &Blinded) -> bool;
    /// Cuts an account's hosts off.
    fn cut(&self, account: &str);
    /// Whether links come in and records pass.
    fn is_well(&self) -> bool;
}

/// How a directory stands, for a page and for alarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Its state.
    pub standing: Standing,
    /// Relays that take links, with this one.
    pub nodes: u64,
    /// Routes that are served here.
    pub routes: u64,
    /// Routes that it knows a relay for.
    pub known: u64,
    /// Hosts sent to another relay so far.
    pub hosts_sent: u64,
    /// Devices sent to another relay so far.
    pub devices_sent: u64,
    /// Routes given up so far, since another relay has them or this one could not prove that it does.
    pub given_up: u64,
    /// How often the directory was lost.
    pub lost: u64,
}

/// Whether a relay can rely on its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    #[default]
    Holding,
    /// It cannot be reached. What is here is served as before, others are sent where they belonged.
    Cut,
    /// This relay did not run for longer than its lease lasts, or is not well: it takes nothing, and gives up what it
    /// cannot prove to own.
    Withdrawn,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Holding, Self::Cut, Self::Withdrawn];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Cut => "cut",
            Self::Withdrawn => "withdrawn",
        }
    }
}
