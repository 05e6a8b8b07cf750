//! Programs that know nothing of homing, as their makers ship them, behind the real binary: each with the clients that
//! its users have.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod copyparty;
mod feed;
mod install;
mod jupyter;
mod nginx;
mod node_red;
mod sshd;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use support::service::{content, hex};

/// A port that nobody listens at.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Makes a file of so many bytes, whose hash is `content_hash(len)`.
fn fill(path: &Path, len: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    content(len).for_each(|piece| file.write_all(&piece).unwrap());
}

/// The hash of a file, in hex.
fn file_hash(path: &Path) -> String {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 256 * 1024]);
    let mut file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            len => hash.update(&piece[..len]),
        }
    }
    hex(&hash.finalize())
}
