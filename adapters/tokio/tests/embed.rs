//! A host and devices that keep what they know in memory, through a relay on loopback.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::future::pending;
use core::time::Duration;
use std::sync::mpsc;

use homing_core::channel::code;
use homing_core::crypto::{Identity, Secret};
use homing_core::handshake::Suite;
use homing_core::pairing::{MAX_TICKETS, Refused, Ticket, parse_link};
use homing_driver::device::{HostRecord, Profile};
use homing_driver::host::{DeviceRecord, HostKeys, InviteError, Registry};
use homing_driver::{Clock, Ended, Stream};
use homing_relay::{Admission, Relay, RelayConfig};
use homing_tokio::{ClientTls, RelayUrl, TokioClock, TunnelStream, dial, endpoint_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_takes_in_one_device() {
    let relay = start_relay().await;
    let (host, _serving) = start_host(&relay, HostKeys::generate(), |_| {}).await;
    let link = link(&invite(&host, &relay));
    let [first, second] = [0, 1].map(|_| Profile::new(parse_link(&link).unwrap(), "laptop", 1));
    assert!(!first.is_paired() && first.host_name().is_none());
    assert!(matches!(echo(&first, &relay).await, Ended::Asked));
    assert_eq!(first.host_name().as_deref(), Some("test host"));
    let ended = fails(&second, &relay).await;
    assert!(matches!(ended, Ended::Failure(..) | Ended::Closed { code: code::TICKET_USED, .. }), "{ended}");
    assert!(!second.is_paired());
    assert_eq!(host.devices().len(), 1);
    assert!(matches!(echo(&first, &relay).await, Ended::Asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_cut_off_and_stays_out() {
    let relay = start_relay().await;
    let (host, _serving) = start_host(&relay, HostKeys::generate(), |_| {}).await;
    let devices = [0, 1].map(|_| Profile::new(invite(&host, &relay), "laptop", 1));
    for device in &devices {
        assert!(matches!(echo(device, &relay).await, Ended::Asked));
    }
    let [gone, stays] = devices;
    let (calling, opening) = gone.call(socket(&relay).await, TokioClock);
    let calling = tokio::spawn(calling);
    let mut stream = TunnelStream::from(opening.await.unwrap().open().unwrap());
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    let (id, name) = host.devices().remove(0);
    assert_eq!(name, "laptop");
    host.revoke(id);
    let ended = timeout(PATIENCE, calling).await.unwrap().unwrap();
    assert!(matches!(ended, Ended::Closed { code: code::REVOKED, .. }), "{ended}");
    assert!(stream.read(&mut [0]).await.is_err(), "a stream that was cut off did not end");
    fails(&gone, &relay).await;
    assert_eq!(host.devices().len(), 1);
    assert!(matches!(echo(&stays, &relay).await, Ended::Asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_down_is_enough_to_go_on() {
    let relay = start_relay().await;
    let keys = HostKeys::generate();
    let (at_host, written) = mpsc::channel();
    let (host, serving) = start_host(&relay, duplicate(&keys), |host| {
        host.store_with(move |record: &DeviceRecord| at_host.send(copy_device(record)).map_err(|e| e.to_string()));
    })
    .await;
    let device = Profile::new(invite(&host, &relay), "laptop", 1);
    let (at_device, kept) = mpsc::channel();
    device.store_with(move |record: &HostRecord| at_device.send(copy_host(record)).map_err(|e| e.to_string()));
    for _ in 0..2 {
        assert!(matches!(echo(&device, &relay).await, Ended::Asked));
    }
    serving.abort();
    drop((device, host));

    let [record] = <[_; 1]>::try_from(written.try_iter().collect::<Vec<_>>()).unwrap();
    let [first, renewed] = <[_; 2]>::try_from(kept.try_iter().collect::<Vec<_>>()).unwrap();
    assert!(!first.capability.same(&renewed.capability), "no fresh capability came");
    let (_host, _serving) = start_host(&relay, keys, |host| host.add(record)).await;
    for record in [renewed, first] {
        assert!(matches!(echo(&Profile::paired(record), &relay).await, Ended::Asked));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_cannot_be_written_down_is_not_taken_in() {
    let relay = start_relay().await;
    let (host, _serving) = start_host(&relay, HostKeys::generate(), |host| {
        let mut full = true;
        host.store_with(move |_| if core::mem::take(&mut full) { Err("the disk is full".into()) } else { Ok(()) });
    })
    .await;
    let link = link(&invite(&host, &relay));
    let device = Profile::new(parse_link(&link).unwrap(), "laptop", 1);
    let ended = fails(&device, &relay).await;
    assert!(matches!(ended, Ended::Closed { code: code::INTERNAL, .. }), "{ended}");
    assert!(host.devices().is_empty() && !device.is_paired());
    // The ticket is as good as before, for any device.
    let other = Profile::new(parse_link(&link).unwrap(), "another laptop", 1);
    assert!(matches!(echo(&other, &relay).await, Ended::Asked));

    let device = Profile::new(invite(&host, &relay), "laptop", 1);
    device.store_with(|_| Err("the disk is full".into()));
    let ended = fails(&device, &relay).await;
    assert!(matches!(ended, Ended::Storage(_)), "{ended}");
    assert!(!device.is_paired());
}

/// The host stays at two relays, and its device goes from one to the other with its streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_its_call_where_both_ends_keep_it() {
    let relays = [start_relay().await, start_relay().await];
    let host = Registry::keeping(HostKeys::generate(), "test host", PATIENCE);
    let _serving = [serve(&host, &relays[0]).await, serve(&host, &relays[1]).await];
    let both = async {
        while host.links() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, both).await.unwrap();
    let device = Profile::new(invite(&host, &relays[0]), "laptop", 1).keeping(PATIENCE);
    assert!(matches!(echo(&device, &relays[0]).await, Ended::Asked));
    let (calling, opening) = device.call(socket(&relays[0]).await, TokioClock);
    let calling = tokio::spawn(calling);
    let mut stream = TunnelStream::from(opening.await.unwrap().open().unwrap());
    let mut heard = [0; 6];
    stream.write_all(b"before").await.unwrap();
    stream.read_exact(&mut heard).await.unwrap();
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    assert!(device.kept().is_some());
    stream.write_all(b"behind").await.unwrap();
    let (calling, opening) = device.call_through(relays[1].authority(), socket(&relays[1]).await, TokioClock);
    let calling = tokio::spawn(calling);
    let opener = timeout(PATIENCE, opening).await.unwrap().unwrap();
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"behind");
    stream.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read(&mut heard)).await.unwrap().unwrap(), 0);
    opener.close();
    assert!(matches!(timeout(PATIENCE, calling).await.unwrap().unwrap(), Ended::Asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_does_not_take_all_the_room() {
    let relay = start_relay().await;
    let (host, _serving) = start_host(&relay, HostKeys::generate(), |_| {}).await;
    let [greedy, other] = [0, 1].map(|_| Profile::new(invite(&host, &relay), "laptop", 1));
    let (at_device, kept) = mpsc::channel();
    greedy.store_with(move |record: &HostRecord| at_device.send(copy_host(record)).map_err(|e| e.to_string()));
    for device in [&greedy, &other] {
        assert!(matches!(echo(device, &relay).await, Ended::Asked));
    }
    let record = kept.recv().unwrap();
    let mut open = Vec::new();
    let ended = loop {
        // Each is a session of its own: a profile has one at a time.
        let (calling, opening) = Profile::paired(copy_host(&record)).call(socket(&relay).await, TokioClock);
        let calling = tokio::spawn(calling);
        match timeout(PATIENCE, opening).await.unwrap() {
            Some(opener) if open.len() < 8 => open.push(opener),
            _ => break timeout(PATIENCE, calling).await.unwrap().unwrap(),
        }
    };
    assert_eq!(open.len(), 8);
    assert!(matches!(ended, Ended::Closed { code: code::LIMIT, .. }), "{ended}");
    assert!(matches!(echo(&other, &relay).await, Ended::Asked));
    assert!(open.iter().all(|opener| opener.open().is_some()));
}

#[test]
fn tickets_are_few_and_name_a_relay() {
    let host = Registry::new(HostKeys::generate(), "test host");
    let invite = |relay| host.invite(relay, false, Suite::Classic, TokioClock.now());
    assert!(matches!(invite("Relay.Example/x"), Err(InviteError::Relay(_))));
    for _ in 0..MAX_TICKETS {
        assert_eq!(invite("relay.example").unwrap().relay.as_str(), "relay.example");
    }
    assert!(matches!(invite("relay.example"), Err(InviteError::Refused(Refused::TooMany))));
}

async fn start_relay() -> RelayUrl {
    let config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
    let relay = Relay::bind(config).await.unwrap();
    let url = format!("ws://{}", relay.local_addr()).parse().unwrap();
    tokio::spawn(relay.run(pending()));
    url
}

async fn socket(relay: &RelayUrl) -> homing_tokio::Socket {
    dial(relay, &ClientTls::system(), endpoint_config()).await.unwrap()
}

/// A host that echoes, reachable and prepared by `prepare`.
async fn start_host(relay: &RelayUrl, keys: HostKeys, prepare: impl FnOnce(&Registry)) -> (Registry, JoinHandle<()>) {
    let host = Registry::new(keys, "test host");
    prepare(&host);
    let serving = serve(&host, relay).await;
    timeout(PATIENCE, host.reachable()).await.unwrap();
    (host, serving)
}

async fn serve(host: &Registry, relay: &RelayUrl) -> JoinHandle<()> {
    let (ours, relay, socket) = (host.clone(), relay.clone(), socket(relay).await);
    tokio::spawn(async move {
        let handler = |_, stream: Stream| drop(tokio::spawn(answer(stream.into())));
        ours.serve(socket, &TokioClock, relay.authority(), handler).await;
    })
}

async fn answer(stream: TunnelStream) {
    let (mut read, mut write) = tokio::io::split(stream);
    if tokio::io::copy(&mut read, &mut write).await.is_ok() {
        let _ = write.shutdown().await;
    }
}

fn invite(host: &Registry, relay: &RelayUrl) -> Ticket {
    host.invite(relay.authority(), relay.is_plain(), Suite::Classic, TokioClock.now()).unwrap()
}

fn link(ticket: &Ticket) -> String {
    let mut link = String::new();
    ticket.write_link(&mut link).unwrap();
    link
}

/// A call in which a few bytes come back.
async fn echo(device: &Profile, relay: &RelayUrl) -> Ended {
    let (calling, opening) = device.call(socket(relay).await, TokioClock);
    let talking = async {
        let host = opening.await.expect("the host is there");
        let mut stream = TunnelStream::from(host.open().unwrap());
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"hello");
        host.close();
    };
    timeout(PATIENCE, async { tokio::join!(calling, talking) }).await.unwrap().0
}

/// A call that ends before the host is there.
async fn fails(device: &Profile, relay: &RelayUrl) -> Ended {
    let (calling, opening) = device.call(socket(relay).await, TokioClock);
    let (ended, opener) = timeout(PATIENCE, async { tokio::join!(calling, opening) }).await.unwrap();
    assert!(opener.is_none());
    ended
}

fn duplicate(keys: &HostKeys) -> HostKeys {
    let HostKeys { identity, route, capability_key, previous_capability_key } = keys;
    let again = |identity: &Identity| Identity::from_secret(&Secret::new(*identity.secret().expose()));
    HostKeys {
        identity: again(identity),
        route: again(route),
        capability_key: capability_key.duplicate(),
        previous_capability_key: previous_capability_key.duplicate(),
    }
}

fn copy_device(of: &DeviceRecord) -> DeviceRecord {
    let DeviceRecord { id, name, platform, key, suite, root, token_hash } = of;
    let (name, root) = (name.clone(), root.duplicate());
    DeviceRecord { id: *id, name, platform: *platform, key: *key, suite: *suite, root, token_hash: *token_hash }
}

fn copy_host(of: &HostRecord) -> HostRecord {
    HostRecord {
        relay: of.relay.clone(),
        plain: of.plain,
        suite: of.suite,
        identity: of.identity.duplicate(),
        host: of.host,
        host_name: of.host_name.clone(),
        device_id: of.device_id,
        route: of.route,
        capability: of.capability.duplicate(),
        token: of.token.duplicate(),
        root: of.root.duplicate(),
    }
}
