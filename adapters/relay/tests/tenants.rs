//! Two accounts at one relay, one of them hostile: whatever it says, with the other's names and numbers or not, it hears
//! nothing of the other and changes nothing for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;
use std::sync::Arc;

use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use homing_core::crypto::Secret;
use homing_core::hop::{
    CAPABILITY_LEN, Capability, Code, DATA, DeviceLink, Dial, Frame, Incoming, Kind, MAX_CONTROL, MAX_MESSAGE, Purpose,
    operator_hash, rv_hash,
};
use homing_core::wire::Writer;
use homing_relay::account::{Admit, Answer, Applicant, Entitlement, Plan, Refusal};
use homing_relay::{Admission, RelayConfig};
use homing_tokio::Socket;

use support::{Device, Host, Running, Said, in_an_hour, now, open, soon};

const ALICE: &str = "hk_alice";
const MALLORY: &str = "hk_mallory";
const RENDEZVOUS: [u8; 16] = [0x5e; 16];

struct Two;

impl Admit for Two {
    fn admit(&self, applicant: Applicant) -> Answer {
        let is = |key: &str| applicant.key_hash == operator_hash(key.as_bytes());
        let plan = Plan { hosts: Some(4), devices: Some(4), ..Plan::default() };
        let entitled = |account: &str| Ok(Entitlement { account: account.into(), plan, ..Entitlement::default() });
        let answer = if is(ALICE) {
            entitled("alice")
        } else if is(MALLORY) {
            entitled("mallory").map(|entitled| Entitlement { bytes_left: Some(1 << 20), ..entitled })
        } else {
            Err(Refusal::Denied)
        };
        Box::pin(core::future::ready(answer))
    }
}

/// A host, a device of its, and the number of their channel at the host.
struct Tenant {
    host: Host,
    device: Device,
    idx: u32,
    /// What its device dialled with, and the very bytes.
    capability: [u8; CAPABILITY_LEN],
    dialled: Vec<u8>,
    registered: Vec<u8>,
}

impl Tenant {
    async fn come(relay: &Running, key: &'static str) -> Self {
        let mut host = Host::connect(relay, Some(key)).await;
        let registered = answer_to_hello(&mut host.socket, |hello| {
            host.link.handle(now(), hello).unwrap();
            let mut out = [0; MAX_CONTROL];
            let len = host.link.poll_output(now(), &mut out).unwrap();
            out[..len].to_vec()
        })
        .await;
        assert_eq!(host.next().await, Said::Registered);
        let capability = host.capability();
        let bytes = *capability.to_bytes().expose();
        let purpose = Purpose::Dial { route_id: host.route, capability };
        let mut device = Device::connect(relay, purpose).await;
        let dialled = answer_to_hello(&mut device.socket, |hello| dial_bytes(&mut device.link, hello)).await;
        assert_eq!(device.next().await, Said::Opened);
        let idx = host.accept().await;
        Self { host, device, idx, capability: bytes, dialled, registered }
    }

    /// A record each way; anything else that either end hears is a disturbance.
    async fn is_undisturbed(&mut self, after: &str) {
        let mut body = [0; 100];
        getrandom::fill(&mut body).unwrap();
        self.device.send(&body).await;
        loop {
            match self.host.next().await {
                Said::Credit => {}
                Said::Data { idx, body: heard } if idx == self.idx && heard == body => break,
                other => panic!("the other tenant's host heard {other:?} after {after}"),
            }
        }
        self.host.send(self.idx, &body).await;
        loop {
            match self.device.next().await {
                Said::Credit => {}
                Said::Data { body: heard, .. } if heard == body => break,
                other => panic!("the other tenant's device heard {other:?} after {after}"),
            }
        }
    }
}

/// Reads the challenge, sends what answers it, and gives those bytes.
async fn answer_to_hello(socket: &mut Socket, answer: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let hello = soon("the challenge", socket.next()).await.unwrap().unwrap().into_data();
    let bytes = answer(&hello);
    socket.send(Message::binary(bytes.clone())).await.unwrap();
    bytes
}

fn dial_bytes(link: &mut DeviceLink, hello: &[u8]) -> Vec<u8> {
    link.handle(now(), hello).unwrap();
    let mut out = [0; MAX_CONTROL];
    let len = link.poll_output(now(), &mut out).unwrap();
    out[..len].to_vec()
}

fn word(idx: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut w = Writer::new(&mut bytes);
    frame.emit(idx, &mut w).unwrap();
    let len = w.len();
    bytes.truncate(len);
    bytes
}

fn data(idx: u32) -> Vec<u8> {
    [&[DATA][..], &idx.to_le_bytes(), b"from mallory"].concat()
}

/// Says it, and then asks for a sign of life. The relay's answers until that, or until it has hung up.
async fn say(socket: &mut Socket, message: Vec<u8>) -> Vec<Vec<u8>> {
    let ping = word(0, &Frame::Ping(0x7e57));
    let _ = socket.send(Message::binary(message)).await;
    let _ = socket.send(Message::binary(ping)).await;
    let mut heard = Vec::new();
    let pong = word(0, &Frame::Pong(0x7e57));
    while let Some(Ok(message)) = soon("an answer, or the end", socket.next()).await {
        match message {
            Message::Binary(bytes) if *bytes == *pong => break,
            Message::Binary(bytes) => heard.push(bytes.to_vec()),
            _ => {}
        }
    }
    heard
}

/// Every message that there is, about this channel or link.
fn every_message(idx: u32, alice: &Tenant) -> Vec<(&'static str, Vec<u8>)> {
    let route_id = alice.host.route;
    let channel_id = [9; 16];
    let capability = Capability::from_bytes(&alice.capability);
    let dial = Dial { route_id, cap_id: capability.id, expiry: in_an_hour(), class: 0, proof: [0; 16] };
    vec![
        ("HELLO", {
            let mut hello = vec![0x80, 0, 0, 0, 0, 1, 0];
            hello.extend([9; 64]);
            hello
        }),
        ("OK", word(0, &Frame::Ok { ttl: 75 })),
        ("REGISTER of the other's", alice.registered.clone()),
        ("DIAL of the other's", alice.dialled.clone()),
        ("DIAL with the other's pass", word(1, &Frame::Dial(dial))),
        ("DIAL_PAIR", word(1, &Frame::DialPair { rendezvous: [0x5f; 16] })),
        ("PAIR_SLOT of the other's", word(0, &Frame::PairSlot { rv_hash: rv_hash(&RENDEZVOUS), ttl: 600 })),
        ("PAIR_SLOT, deleting the other's", word(0, &Frame::PairSlot { rv_hash: rv_hash(&RENDEZVOUS), ttl: 0 })),
        ("CAP_DENY of the other's", word(0, &Frame::CapDeny { cap_id: capability.id, until: u32::MAX })),
        ("INCOMING", word(idx.max(1), &Frame::Incoming(Incoming { channel_id, kind: Kind::Pair, credit: 4096 }))),
        ("ACCEPT", word(idx.max(1), &Frame::Accept { credit: 1 << 20 })),
        ("REFUSE", word(idx.max(1), &Frame::Refuse { code: Code::Refused })),
        ("OPENED", word(1, &Frame::Opened { channel_id, credit: 4096 })),
        ("DATA", data(idx)),
        ("CREDIT", word(idx.max(1), &Frame::Credit { bytes: 1 << 20 })),
        ("CLOSED", word(idx, &Frame::Closed { code: Code::Gone })),
        ("PONG", word(0, &Frame::Pong(1))),
        ("ATTACH", word(0, &Frame::Attach { channel_id, mac: [0; 16] })),
        ("KNOCK", word(0, &Frame::Knock)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_tenant_hears_nothing_of_another_and_changes_nothing_for_it() {
    let admission = Admission::Ask(Arc::new(Two));
    let metrics = Some(([127, 0, 0, 1], 0).into());
    let relay = Running::start(RelayConfig { admission, metrics, ..open() }).await;
    let mut alice = Tenant::come(&relay, ALICE).await;
    alice.host.link.set_pair_slot(rv_hash(&RENDEZVOUS), 600).unwrap();
    alice.host.say().await;
    alice.is_undisturbed("nothing at all").await;

    let mut tried = 0;
    for idx in [alice.idx, alice.idx ^ 1, alice.idx.wrapping_add(1 << 20), 1, 0] {
        for number in 0..every_message(idx, &alice).len() {
            // As a link that has said nothing, as a host with a device, and as that device.
            for role in ["a stranger", "a host", "a device"] {
                let (name, message) = every_message(idx, &alice).swap_remove(number);
                let what = format!("{name} on {idx:x} by {role}");
                let heard = match role {
                    "a stranger" => {
                        let mut socket = relay.dial().await.unwrap();
                        drop(soon("the challenge", socket.next()).await);
                        say(&mut socket, message).await
                    }
                    _ => {
                        let mut mallory = Tenant::come(&relay, MALLORY).await;
                        let heard = match role {
                            "a host" => say(&mut mallory.host.socket, message).await,
                            _ => say(&mut mallory.device.socket, message).await,
                        };
                        drop(mallory);
                        heard
                    }
                };
                for message in heard {
                    // That it was wrong, or that there is credit for what was its own.
                    let (idx, frame) = Frame::parse(&message).unwrap();
                    let own = matches!(frame, Frame::Closed { .. } | Frame::Credit { .. } | Frame::Pong(_));
                    assert!(own, "{message:02x?} on {idx} after {what}");
                }
                alice.is_undisturbed(&what).await;
                tried += 1;
            }
        }
        relay.until("alice alone", |status| status.links == 2 && status.channels == 1).await;
    }
    assert_eq!(tried, 5 * 19 * 3);
    assert_eq!(relay.metric("refusals_total{limit=\"account_hosts\"}").await, 0, "each was tried, indeed");

    // The slot is still hers, and her pass still good.
    let mut guest = Device::connect(&relay, Purpose::Pair { rendezvous: Secret::new(RENDEZVOUS) }).await;
    assert_eq!(guest.next().await, Said::Opened);
    assert!(matches!(alice.host.next().await, Said::Incoming { .. }));
    drop(guest);
    while !matches!(alice.host.next().await, Said::Closed { .. }) {}
    let capability = Capability::from_bytes(&alice.capability);
    let mut again = Device::connect(&relay, Purpose::Dial { route_id: alice.host.route, capability }).await;
    assert_eq!(again.next().await, Said::Opened);
    assert!(matches!(alice.host.next().await, Said::Incoming { .. }));
    drop(again);
    while !matches!(alice.host.next().await, Said::Closed { .. }) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenant_uses_up_or_loses_is_its_own() {
    let admission = Admission::Ask(Arc::new(Two));
    let relay = Running::start(RelayConfig { admission, ..open() }).await;
    let mut alice = Tenant::come(&relay, ALICE).await;
    let mut mallory = Tenant::come(&relay, MALLORY).await;
    // All the hosts and devices that it may have, and more.
    let mut held = Vec::new();
    loop {
        let mut host = Host::connect(&relay, Some(MALLORY)).await;
        let said = host.next().await;
        if said != Said::Registered {
            assert_eq!(said, Said::Closed { idx: 0, code: Code::Busy });
            break;
        }
        held.push(host);
        assert!(held.len() < 4);
    }
    let mut devices = Vec::new();
    loop {
        let purpose = Purpose::Dial { route_id: mallory.host.route, capability: mallory.host.capability() };
        let mut device = Device::connect(&relay, purpose).await;
        let said = device.next().await;
        if said != Said::Opened {
            assert_eq!(said, Said::Closed { idx: 1, code: Code::Busy });
            break;
        }
        devices.push(device);
        assert!(devices.len() < 4);
    }
    alice.is_undisturbed("a tenant that took all its places").await;
    let _more = Tenant::come(&relay, ALICE).await;

    // All the bytes.
    let spent = async {
        loop {
            match mallory.host.link.credit(mallory.idx) {
                0 => drop(mallory.host.next().await),
                _ if mallory.host.try_send(mallory.idx, &[7; 1000]).await => {}
                _ => drop(mallory.host.next().await),
            }
            if mallory.device.link.is_over() {
                return;
            }
            if let Ok(Said::Closed { .. } | Said::HungUp(_)) =
                tokio::time::timeout(Duration::from_millis(1), mallory.device.next()).await
            {
                return;
            }
        }
    };
    soon("its bytes to be used up", spent).await;
    alice.is_undisturbed("a tenant that used up its bytes").await;

    // And cut off altogether.
    assert!(relay.handle.cut("mallory") <= 4);
    alice.is_undisturbed("a tenant that was cut off").await;
    assert_eq!(relay.handle.cut("nobody"), 0);
    assert_eq!(relay.handle.cut("alice"), 2);
    while alice.host.next().await != (Said::Closed { idx: 0, code: Code::Denied }) {}
}
