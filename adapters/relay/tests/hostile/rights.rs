//! Proofs that are forged, replayed or out of date, and limits on what a right is good for.

use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use homing_core::crypto::Secret;
use homing_core::hop::{Capability, Code, HostLink, MAX_CONTROL, Purpose, rv_hash};

use crate::raw::Ending;
use crate::stage::{Scene, Stage, play, scene};
use crate::support::{Device, Host, Said, in_an_hour, keys, now, seed};

const DAY: u32 = 24 * 3600;
const DENIED: Ending = (Some(Code::Denied), Some(4008));

pub fn scenes() -> Vec<Scene> {
    vec![
        scene("a registration with a wrong proof", |stage| Box::pin(wrong(stage, |register| register[5 + 32] ^= 1))),
        scene("a registration for another route", |stage| Box::pin(wrong(stage, |register| register[5] ^= 1))),
        scene("a registration with a key of low order", |stage| {
            Box::pin(wrong(stage, |register| register[5..37].fill(0)))
        }),
        scene("a registration of yesterday's link", |stage| Box::pin(replayed(stage))),
        scene("a registration made for another relay", |stage| Box::pin(for_another(stage))),
        scene("the same host again, and its old link at the end", |stage| Box::pin(duplicates(stage))),
        scene("a capability that has expired", |stage| Box::pin(skewed(stage, 0, Some(Code::Denied)))),
        scene("a host's clock that is a day slow", |stage| {
            Box::pin(skewed(stage, in_an_hour() - DAY, Some(Code::Denied)))
        }),
        scene("a host's clock that is a day fast", |stage| Box::pin(skewed(stage, in_an_hour() + DAY, None))),
        scene("a capability to the end of time", |stage| Box::pin(skewed(stage, u32::MAX, None))),
        scene("a capability that its host has denied", |stage| Box::pin(denied(stage))),
        scene("eleven dials on one capability", |stage| Box::pin(eleven(stage))),
        scene("a sixty-fifth channel", |stage| Box::pin(sixty_five(stage))),
        scene("a seventeenth dial on a pairing slot", |stage| Box::pin(seventeen(stage))),
        scene("a pairing slot that is another host's", |stage| Box::pin(squatted(stage))),
        scene("a host that refuses everybody", |stage| Box::pin(refused(stage))),
    ]
}

/// The REGISTER of a host that has heard the challenge and not answered it.
async fn registration(host: &mut Host) -> Vec<u8> {
    let Some(Ok(Message::Binary(hello))) = host.socket.next().await else { panic!("no challenge") };
    assert_eq!(host.link.handle(now(), &hello), Ok(None));
    let mut out = [0; MAX_CONTROL];
    let len = host.link.poll_output(now(), &mut out).unwrap();
    out[..len].to_vec()
}

async fn ending(host: &mut Host) -> Ending {
    let mut closed = None;
    loop {
        match host.next().await {
            Said::Closed { code, .. } => closed = Some(code),
            Said::HungUp(code) => return (closed, code),
            other => panic!("{other:?}"),
        }
    }
}

async fn wrong(stage: &Stage, change: fn(&mut [u8])) {
    let mut host = Host::connect(&stage.relay, None).await;
    let mut register = registration(&mut host).await;
    change(&mut register);
    host.socket.send(Message::binary(register)).await.unwrap();
    assert_eq!(ending(&mut host).await, DENIED);
}

async fn replayed(stage: &Stage) {
    let seed = seed();
    let mut yesterday = Host::connect_as(&stage.relay, &seed, None).await;
    let register = registration(&mut yesterday).await;
    let mut today = Host::connect_as(&stage.relay, &seed, None).await;
    registration(&mut today).await;
    today.socket.send(Message::binary(register.clone())).await.unwrap();
    assert_eq!(ending(&mut today).await, DENIED);
    // Where it belongs it is good, which shows that nothing else was wrong.
    yesterday.socket.send(Message::binary(register)).await.unwrap();
    assert_eq!(yesterday.next().await, Said::Registered);
}

async fn for_another(stage: &Stage) {
    let mut host = Host::connect(&stage.relay, None).await;
    let (identity, key) = keys(&seed());
    host.link = HostLink::new("other.test", identity, key.duplicate(), key, None, now()).unwrap();
    assert_eq!(ending(&mut host).await, DENIED);
}

async fn duplicates(stage: &Stage) {
    let seed = seed();
    let mut newest = Host::connect_as(&stage.relay, &seed, None).await;
    assert_eq!(newest.next().await, Said::Registered);
    for _ in 0..10 {
        let mut next = Host::connect_as(&stage.relay, &seed, None).await;
        assert_eq!(next.next().await, Said::Registered);
        let mut old = core::mem::replace(&mut newest, next);
        assert_eq!(ending(&mut old).await, (Some(Code::Superseded), Some(4010)));
    }
    // The newest is the one that devices reach, whatever becomes of the old ones' sockets.
    let _device = newest.dial(&stage.relay).await;
    newest.accept().await;
}

/// A host and its keys, for capabilities of any kind.
async fn registered(stage: &Stage) -> (Host, Secret<32>) {
    let seed = seed();
    let mut host = Host::connect_as(&stage.relay, &seed, None).await;
    assert_eq!(host.next().await, Said::Registered);
    (host, keys(&seed).1)
}

async fn dial(stage: &Stage, host: &Host, capability: Capability) -> (Device, Said) {
    let purpose = Purpose::Dial { route_id: host.route, capability };
    let mut device = Device::connect(&stage.relay, purpose).await;
    let said = device.next().await;
    (device, said)
}

async fn skewed(stage: &Stage, expiry: u32, refused: Option<Code>) {
    let (host, key) = registered(stage).await;
    let (_device, said) = dial(stage, &host, Capability::mint(&key, &host.route, [1; 8], expiry, 0)).await;
    assert_eq!(said, refused.map_or(Said::Opened, |code| Said::Closed { idx: 1, code }));
}

async fn denied(stage: &Stage) {
    let (mut host, key) = registered(stage).await;
    let capability = Capability::mint(&key, &host.route, [1; 8], in_an_hour(), 0);
    let (device, said) = dial(stage, &host, capability.duplicate()).await;
    assert_eq!(said, Said::Opened);
    drop(device);
    host.link.deny([1; 8], u32::MAX).unwrap();
    // It is heard before what comes on the same link later.
    host.link.set_pair_slot(rv_hash(&[7; 16]), 60).unwrap();
    host.say().await;
    let rendezvous = Secret::new([7; 16]);
    let mut other = Device::connect(&stage.relay, Purpose::Pair { rendezvous }).await;
    assert_eq!(other.next().await, Said::Opened);
    assert_eq!(dial(stage, &host, capability).await.1, Said::Closed { idx: 1, code: Code::Denied });
}

async fn eleven(stage: &Stage) {
    let (host, key) = registered(stage).await;
    let mut devices = Vec::new();
    for number in 1..=11 {
        let capability = Capability::mint(&key, &host.route, [1; 8], in_an_hour(), 0);
        let (device, said) = dial(stage, &host, capability).await;
        let expected = if number <= 10 { Said::Opened } else { Said::Closed { idx: 1, code: Code::Busy } };
        assert_eq!(said, expected, "dial {number}");
        devices.push(device);
    }
}

async fn sixty_five(stage: &Stage) {
    let host = Host::register(&stage.relay).await;
    let mut devices = Vec::new();
    for _ in 0..64 {
        devices.push(host.dial(&stage.relay).await);
    }
    let (_device, said) = dial(stage, &host, host.capability()).await;
    assert_eq!(said, Said::Closed { idx: 1, code: Code::Busy });
    let channels = stage.relay.handle.status().channels;
    drop(devices.pop());
    stage.relay.until("a place", |s| s.channels < channels).await;
    assert_eq!(dial(stage, &host, host.capability()).await.1, Said::Opened);
}

async fn pair(stage: &Stage, rendezvous: [u8; 16]) -> (Device, Said) {
    let purpose = Purpose::Pair { rendezvous: Secret::new(rendezvous) };
    let mut device = Device::connect(&stage.relay, purpose).await;
    let said = device.next().await;
    (device, said)
}

async fn seventeen(stage: &Stage) {
    let mut host = Host::register(&stage.relay).await;
    host.link.set_pair_slot(rv_hash(&[5; 16]), 60).unwrap();
    host.say().await;
    for number in 1..=17 {
        let (_device, said) = pair(stage, [5; 16]).await;
        let expected = if number <= 16 { Said::Opened } else { Said::Closed { idx: 1, code: Code::PairSlot } };
        assert_eq!(said, expected, "dial {number}");
    }
}

async fn squatted(stage: &Stage) {
    let mut owner = Host::register(&stage.relay).await;
    owner.link.set_pair_slot(rv_hash(&[6; 16]), 60).unwrap();
    owner.say().await;
    let (_device, said) = pair(stage, [6; 16]).await;
    assert_eq!(said, Said::Opened);
    owner.accept().await;
    // Neither does another get it, nor can it end it.
    let mut squatter = Host::register(&stage.relay).await;
    for ttl in [60, 0] {
        squatter.link.set_pair_slot(rv_hash(&[6; 16]), ttl).unwrap();
        squatter.say().await;
    }
    let _at_squatter = squatter.dial(&stage.relay).await;
    squatter.accept().await;
    let (_device, said) = pair(stage, [6; 16]).await;
    assert_eq!(said, Said::Opened);
    loop {
        match owner.next().await {
            Said::Incoming { .. } => break,
            Said::Closed { .. } | Said::Credit => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn refused(stage: &Stage) {
    let mut host = Host::register(&stage.relay).await;
    for _ in 0..100 {
        let mut device = host.dial(&stage.relay).await;
        let Said::Incoming { idx } = host.next().await else { panic!("nobody at the door") };
        assert!(host.link.refuse(idx, Code::Refused));
        host.say().await;
        assert_eq!(device.next().await, Said::Closed { idx: 1, code: Code::Refused });
    }
}

#[tokio::test]
async fn every_right_is_proved_and_bounded() {
    play(scenes()).await;
}
