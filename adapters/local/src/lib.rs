//! What homing's roles (relay, host, device) share on one machine: where their data lives, how it
//! is kept, and how other processes talk to them. Nothing here touches the network.
//!
//! | module | does |
//! |---|---|
//! | [`data_dir`] | finds the data directory |
//! | [`file`](mod@file) | private files, replaced whole and safe from crashes |
//! | [`store`] | the encrypted state file that several processes may change |
//! | [`keys`] | the key of that file: from a file, locked or not, or from systemd |
//! | [`role_lock`] | one process per role and data directory |
//! | [`control`] | the socket by which commands reach a running role |
//! | [`device_log`] | what happened to a host's devices, chained by hashes |
//! | [`clock`] | the time of day, as numbers and text |
//!
//! Unix only: files have modes, sockets have paths.
#![forbid(unsafe_code)]

pub mod clock;
pub mod control;
pub mod data_dir;
pub mod device_log;
pub mod file;
pub mod hex;
pub mod keys;
pub mod role_lock;
pub mod store;

pub use file::FileError;
pub use role_lock::RoleLock;
pub use store::{StoreError, Vault};
