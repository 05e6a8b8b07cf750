use homing_core::handshake::{self, Suite};
use homing_core::pairing::Flags;
use homing_core::wire::Scope;
use homing_driver::WireError;
use tempfile::TempDir;

use super::*;

fn link(relay: &str, plain: bool, expires_in: i64) -> String {
    let expiry = u32::try_from(i64::try_from(unix_now()).unwrap() + expires_in).unwrap();
    let host = *Identity::generate(&mut random()).public();
    let flags = Flags { plain, ..Flags::default() };
    let ticket = Ticket::issue(Suite::Classic, flags, expiry, &host, relay, &mut random()).unwrap();
    let mut link = String::new();
    ticket.write_link(&mut link).unwrap();
    link
}

async fn attempt(link: &str) -> DeviceError {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let error = pair(&data, link, "me", &ClientTls::system(), |_, _| {}).await.unwrap_err();
    assert!(!data.exists() || Profiles::list(&data).unwrap().is_empty());
    error
}

#[tokio::test]
async fn a_link_that_cannot_work_is_refused_before_anything_is_dialled() {
    let nobody = "127.0.0.1:9";
    assert!(matches!(attempt("https://example.org/").await, DeviceError::Link(_)));
    assert!(matches!(attempt(&link("", false, 60)).await, DeviceError::NoRelay));
    let expired = attempt(&link(nobody, true, -1)).await;
    assert_eq!((expired.exit_code(), matches!(expired, DeviceError::Expired)), (5, true));
    let plain = attempt(&link("relay.example.org", true, 60)).await;
    assert!(matches!(plain, DeviceError::RelayName { .. }), "{plain}");
    assert!(plain.to_string().contains("this machine only"), "{plain}");
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_said_at_once() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = attempt(&link(&free.to_string(), true, 60)).await;
    assert_eq!(error.exit_code(), 3, "{error}");
}

fn judged(broken: Broken, after_loss: bool) -> Result<(), u8> {
    let text = link("127.0.0.1:9", true, 60);
    let (ticket, dir) = (parse_link(&text).unwrap(), TempDir::new().unwrap());
    let relay = relay_of(&ticket).unwrap();
    let mut attempts = Attempts {
        ticket: &ticket,
        relay: &relay,
        tls: &ClientTls::system(),
        device_name: "me",
        identity: Identity::generate(&mut random()),
        vault: vault(dir.path()).unwrap(),
        lost_at: after_loss.then(tokio::time::Instant::now),
    };
    attempts.give_up(broken).map_err(|error| error.exit_code())
}

#[test]
fn a_lost_call_is_repeated_and_a_refusal_is_not() {
    let closed = |code| Ended::Closed { scope: Scope::Session, code, text: String::new() };
    for lost in [Ended::Wire(WireError::Closed), Ended::Hop(Code::Gone), closed(code::SHUTDOWN)] {
        assert_eq!(judged(Broken::Ended(lost), false), Ok(()));
    }
    for (refused, code) in [
        (Ended::Hop(Code::PairSlot), 4),
        (Ended::Hop(Code::NotReachable), 3),
        (Ended::Failure(Failure::Rejected, 0), 4),
        (Ended::Handshake(handshake::Error::Forged), 4),
        (closed(code::TICKET_USED), 4),
        (closed(code::DENIED), 4),
        (closed(code::TIMEOUT), 4),
        (Ended::Storage("disk full".into()), 1),
    ] {
        assert_eq!(judged(Broken::Ended(refused), false), Err(code));
    }
}

#[test]
fn after_a_loss_the_host_may_take_a_moment_to_return() {
    for missing in [Code::PairSlot, Code::NotReachable] {
        assert_eq!(judged(Broken::Ended(Ended::Hop(missing)), true), Ok(()));
    }
    let rejected = Ended::Failure(Failure::Rejected, 0);
    assert_eq!(judged(Broken::Ended(rejected), true), Err(4));
}
