//! The homing device: what it knows of its hosts, calls that are kept alive, and the local ends of
//! services. Nothing here knows a relay's inside.
//!
//! | module | does |
//! |---|---|
//! | [`profile`] | what this device keeps of every host, in an encrypted file |
//! | [`pair`](mod@pair) | becomes a device of a host |
//! | [`tunnel`] | one call to one host, kept alive |
//! | [`news`], [`mirror`] | what hosts tell of their devices, and the copy of it that they cannot take back |
//! | [`tunnels`] | a tunnel per host, made on demand; their status |
//! | [`forward`](mod@forward), [`connect`](mod@connect), [`http_proxy`] | local ends of services |
#![forbid(unsafe_code)]

pub mod connect;
mod door;
pub mod error;
pub mod forward;
mod guest;
pub mod http_proxy;
mod idle;
mod keep;
mod kind;
mod lane;
pub mod mirror;
pub mod news;
pub mod pair;
pub mod profile;
mod race;
mod retry;
pub mod service;
mod splice;
pub mod status;
pub mod tunnel;
pub mod tunnels;

pub use connect::connect;
pub use door::{HostName, NotAName};
pub use error::DeviceError;
pub use forward::forward;
pub use mirror::{Alarm, Break};
pub use news::News;
pub use pair::{PairedHost, pair};
pub use profile::{DeviceLog, GuestLink, HostProfile, HostSummary, Profiles};
pub use service::Service;
pub use status::{LinkState, LinkStatus, RelayState, RelayStatus, serve_status};
pub use tunnel::{KEEP, OpenError, Tunnel};
pub use tunnels::{Tunnels, proxy};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// A random part of one.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)
}

/// The system's randomness. Without it no key can be made, hence the panic inside.
fn random() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
