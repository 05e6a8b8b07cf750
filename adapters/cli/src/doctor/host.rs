//! The way to a host, end to end.

use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use homing_device::{DeviceError, Tunnels};
use homing_tokio::ClientTls;

use super::Finding;
use crate::failure::{Exit, Failure, in_full};
use crate::output::clean_line;

/// Questions whose fastest answer counts.
const TRIES: usize = 3;

/// Calls the host, measures round trips through the tunnel.
pub(super) async fn check(data: &Path, host: &str) -> Vec<Finding> {
    let tunnels = Tunnels::new(data, ClientTls::system());
    let tunnel = match tunnels.to(host) {
        Ok(tunnel) => tunnel,
        Err(error) => return vec![failed("pairing", error)],
    };
    let started = Instant::now();
    let services = match tunnel.services().await {
        Ok(services) => services,
        Err(error) => return vec![failed("host", error).took(started.elapsed())],
    };
    let called = "reached through the relay; time is of relay, handshake and first answer together";
    let mut findings = vec![Finding::ok("host", called).took(started.elapsed())];
    let mut fastest: Option<Duration> = None;
    for _ in 0..TRIES {
        let asked = Instant::now();
        if tunnel.services().await.is_ok() {
            let took = asked.elapsed();
            fastest = Some(fastest.map_or(took, |fastest| fastest.min(took)));
        }
    }
    if let Some(fastest) = fastest {
        findings.push(Finding::ok("round trip", "a question to the host and its answer").took(fastest));
    }
    let names = services.iter().map(|service| clean_line(&service.name)).collect::<Vec<_>>().join(", ");
    findings.push(if names.is_empty() {
        let advice = "start the host with --expose NAME=URL";
        Finding::warn("services", "the host offers none to this device", advice)
    } else {
        Finding::ok("services", names)
    });
    tunnels.close().await;
    findings
}

fn failed(check: &str, error: DeviceError) -> Finding {
    let detail = in_full(&error);
    let (exit, advice) = match Failure::from(error) {
        Failure::Said { exit: exit @ Exit::Refused, .. } => (exit, "pair again with a new link from the host"),
        Failure::Said { exit: exit @ Exit::Unreachable, .. } => {
            (exit, "check on the host's machine that `homing host start` runs, with `homing status`")
        }
        Failure::Said { exit, .. } => (exit, "see the reason above"),
        Failure::NobodyReads | Failure::Silent(_) => (Exit::Failed, "see the reason above"),
    };
    Finding::fail(exit, check, detail, advice)
}
