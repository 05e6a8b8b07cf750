//! Decisions that hang on a moment between two calls.

use homing_core::crypto::Identity;
use homing_core::handshake::{HELLO_MAX, Kind, Suite, start};
use homing_core::pairing::{Flags, TICKET_LIFE, Ticket};
use homing_core::wire::Params;

use super::*;
use crate::service::Services;
use crate::shared::HostConfig;

/// Whoever holds a link that is cancelled right now is not taken in under another one.
#[test]
fn a_knock_under_a_cancelled_ticket_does_not_count_for_the_next() {
    let data = tempfile::tempdir().unwrap();
    let (vault, state) = crate::registry::open_or_create(data.path(), "host").unwrap();
    let config = HostConfig {
        suite: Suite::Classic,
        ..HostConfig::new(data.path(), "host", "ws://127.0.0.1:9".parse().unwrap())
    };
    let trail = crate::audit::Trail::open(state.audit_files(data.path())).unwrap();
    let shared = Shared::new(config, Services::default(), Vec::new(), vault, state, trail);
    let now = TokioClock.now();
    let issue = || {
        let flags = Flags { confirm: false, in_band: false, plain: false };
        let ticket = Ticket::issue(
            Suite::Classic,
            flags,
            u32::MAX,
            shared.keys().identity.public(),
            "relay",
            &mut crate::random(),
        );
        let ticket = ticket.unwrap();
        (shared.lock().office.issue(&ticket, now, TICKET_LIFE).unwrap(), ticket)
    };
    let (first, ticket) = issue();
    let (second, _) = issue();
    let mut gate = LinkGate {
        shared: shared.clone(),
        relay: 0,
        route: shared.keys().route.clone(),
        name: "relay".into(),
        heard: None,
        current: false,
    };
    let mut knock = || {
        let (channel, mut hello) = ([1; 16], [0; HELLO_MAX]);
        let kind = Kind::Pair { ticket: &ticket.secrets().handshake };
        let (device, host) = (Identity::generate(&mut crate::random()), *shared.keys().identity.public());
        let own = Params::default();
        let (len, _) =
            start(Suite::Classic, kind, &channel, &device, &host, own, &mut crate::random(), &mut hello).unwrap();
        match gate.hear(now, &channel, &mut hello[..len]) {
            Ok(Knock::Pair(knock)) => knock,
            other => panic!("{other:?}"),
        }
    };
    let (welcome, late) = (knock(), knock());
    let Some(Visitor::Pairing(candidate)) = gate.pairing(now, &welcome) else { panic!("not let in") };
    assert_eq!(candidate.ticket, first);
    gate.heard = Some(first);
    shared.lock().office.cancel(first);
    assert!(gate.pairing(now, &late).is_none());
    assert_eq!(shared.lock().office.id_at(0), Some(second));
    assert_eq!(offer(&shared, "nobody", None)["max_sessions"], crate::MAX_SESSIONS, "devices are told");
}
