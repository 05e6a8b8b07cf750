//! The program as it is installed, where a bench runs it: which it is, where it may listen, and what a process has used.

use core::net::SocketAddr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `HOMING`, or what lies beside this bench.
#[must_use]
pub fn homing() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().with_file_name("homing");
    std::env::var_os("HOMING").map_or_else(beside, PathBuf::from)
}

/// It, with the data directory of a role below `dir`; what it prints is dropped.
#[must_use]
pub fn homing_as(dir: &Path, role: &str) -> Command {
    let mut command = Command::new(homing());
    command.arg("--data").arg(dir.join(role)).stdout(Stdio::null());
    command
}

/// An address of this machine that was free a moment ago.
#[must_use]
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// CPU seconds of a process so far, of all its threads, in user and kernel; none where it is gone.
#[must_use]
pub fn cpu(id: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let ticks = times.next()?? + times.next()??;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
