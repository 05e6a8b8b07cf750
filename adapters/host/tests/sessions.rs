//! Streams that outlive their links: real sockets that break, on either side of the relay.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/world.rs"]
mod world;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use homing_core::crypto::Identity;
use homing_core::handshake::Suite;
use homing_driver::Ended;
use homing_driver::device::{Kept, Opener, call_again};
use homing_host::HostHandle;
use homing_tokio::{ClientTls, RelayUrl, TokioClock, TunnelStream, dial, endpoint_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use world::{Device, Ears, Heard, PATIENCE, World, start_host, start_relay};

const KEEP: Duration = Duration::from_secs(600);

/// A wire to the relay that breaks: after so many bytes of a connection, or when it is told to.
struct Wire {
    url: RelayUrl,
    cuts: Arc<AtomicUsize>,
    cut: watch::Sender<usize>,
}

impl Wire {
    async fn lay(relay: &RelayUrl, lengths: Option<core::ops::Range<usize>>) -> Self {
        let to: SocketAddr = relay.authority().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (cuts, cut) = (Arc::<AtomicUsize>::default(), watch::Sender::new(0));
        let (counted, told) = (cuts.clone(), cut.clone());
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let length = lengths.clone().map_or(usize::MAX, |lengths| {
                    let random = getrandom::u32().unwrap() as usize;
                    lengths.start + random % (lengths.end - lengths.start)
                });
                let (counted, told) = (counted.clone(), told.subscribe());
                tokio::spawn(async move {
                    carry(near, to, length, told).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { url, cuts, cut }
    }

    /// Breaks what runs through it now.
    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Carries a connection both ways until so many bytes have gone through it.
async fn carry(mut near: TcpStream, to: SocketAddr, length: usize, mut cut: watch::Receiver<usize>) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    let (mut up, mut down, mut left) = (vec![0; 8192], vec![0; 8192], length);
    while left > 0 {
        let moved = tokio::select! {
            read = near.read(&mut up) => match read {
                Ok(len @ 1..) if far.write_all(&up[..len.min(left)]).await.is_ok() => len,
                _ => return,
            },
            read = far.read(&mut down) => match read {
                Ok(len @ 1..) if near.write_all(&down[..len.min(left)]).await.is_ok() => len,
                _ => return,
            },
            _ = cut.changed() => return,
        };
        left = left.saturating_sub(moved);
    }
}

/// A device that calls again and again, with the session that it has.
struct Caller {
    kept: Kept,
    opener: watch::Receiver<Option<Opener>>,
    ends: Arc<AtomicUsize>,
    running: JoinHandle<Ended>,
}

impl Caller {
    async fn start(world: &World, device: &Device, through: &RelayUrl) -> Self {
        Self::start_with(world, device, through, Kept::new(KEEP)).await
    }

    async fn start_with(world: &World, device: &Device, through: &RelayUrl, kept: Kept) -> Self {
        let (shown, mut opener) = watch::channel(None);
        let ends = Arc::<AtomicUsize>::default();
        let (kept_too, ends_too) = (kept.clone(), ends.clone());
        let calls = Calls { through: through.clone(), device: device.again(), fresh: world.fresh.clone() };
        let running = tokio::spawn(async move {
            loop {
                let ended = calls.once(&kept_too, &shown).await;
                if ended.is_final() {
                    return ended;
                }
                ends_too.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        timeout(PATIENCE, opener.wait_for(Option::is_some)).await.unwrap().unwrap();
        Self { kept, opener, ends, running }
    }

    fn open(&self) -> TunnelStream {
        self.opener.borrow().as_ref().unwrap().open().unwrap().into()
    }

    /// Waits until the link was lost and is there again.
    async fn until_it_came_back(&mut self) {
        timeout(PATIENCE, self.opener.changed()).await.expect("back in time").unwrap();
    }
}

/// What every call of a device is made with.
struct Calls {
    through: RelayUrl,
    device: Device,
    fresh: world::Fresh,
}

impl Calls {
    async fn once(&self, kept: &Kept, shown: &watch::Sender<Option<Opener>>) -> Ended {
        let mut device = self.device.again();
        // As devices do: a relay lets none call often with one capability.
        if let Some(fresh) = &*self.fresh.lock().unwrap() {
            device.paired.capability = fresh.duplicate();
        }
        let (mut ears, mut heard) = Ears::new(&self.fresh);
        let Ok(socket) = dial(&self.through, &ClientTls::system(), endpoint_config()).await else {
            return Ended::Hop(homing_core::hop::Code::Gone);
        };
        let want =
            world::call_of(&self.through, &device.ticket, Identity::from_secret(&device.identity), device.intent());
        let hearing = async {
            while let Some(said) = heard.recv().await {
                if let Heard::Established(opener) = said {
                    shown.send_replace(Some(opener));
                }
            }
            core::future::pending().await
        };
        tokio::select! {
            ended = call_again(socket, &TokioClock, want, kept, &mut ears) => ended,
            never = hearing => never,
        }
    }
}

/// Sends bytes to the echo service and compares what comes back, slowly enough to be cut often.
async fn echo(stream: TunnelStream, len: usize, seed: usize) {
    let (mut read, mut write) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..len).map(|i| ((i + seed) * 31 % 251) as u8).collect();
    let copy = sent.clone();
    let writing = async move {
        write.write_all(b"\x04echo").await.unwrap();
        for part in copy.chunks(10_000) {
            write.write_all(part).await.unwrap();
        }
        write.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let reading = async { read.read_to_end(&mut got).await.unwrap() };
    timeout(PATIENCE * 3, async { tokio::join!(writing, reading) }).await.unwrap();
    assert!(got == sent, "{} of {} bytes, or others", got.len(), sent.len());
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited too long for {what}"));
}

fn sessions(host: &HostHandle) -> u64 {
    host.status()["sessions"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_survive_a_device_whose_link_breaks_all_the_time() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    let wire = Wire::lay(&world.url, Some(30_000..200_000)).await;
    let caller = Caller::start(&world, &device, &wire.url).await;
    let echoes = (0..4).map(|seed| echo(caller.open(), 300_000 + seed * 1000, seed));
    futures_util::future::join_all(echoes).await;
    assert!(wire.cuts() > 10, "{} cuts", wire.cuts());
    assert!(caller.ends.load(Ordering::Relaxed) >= wire.cuts() / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_survive_a_host_whose_link_breaks_all_the_time() {
    let data = tempfile::tempdir().unwrap();
    let relay = start_relay().await;
    let wire = Wire::lay(&relay, Some(350_000..500_000)).await;
    let host = start_host(data.path(), &wire.url, Suite::Classic).await;
    let world = World { fresh: world::Fresh::default(), url: relay, host };
    let device = world.pair().await;
    let caller = Caller::start(&world, &device, &world.url).await;
    let echoes = (0..2).map(|seed| echo(caller.open(), 400_000 + seed * 1000, seed));
    futures_util::future::join_all(echoes).await;
    // Each cut soon after the other makes the host wait longer.
    assert!(wire.cuts() >= 2, "{} cuts", wire.cuts());
}

/// The device is back before the relay, and so the host, has noticed that it was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_keeps_its_session_for_the_next() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    let mut caller = Caller::start(&world, &device, &world.url).await;
    let mut stream = caller.open();
    stream.write_all(b"\x04echobefore").await.unwrap();
    let mut got = [0; 6];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
    for _ in 0..5 {
        caller.running.abort();
        until("the call to be dropped", || caller.running.is_finished()).await;
        assert!(caller.kept.is_some() && caller.kept.bytes() > 0);
        stream.write_all(b"between").await.unwrap();
        let next = Caller::start_with(&world, &device, &world.url, caller.kept.clone()).await;
        caller = next;
        let mut got = [0; 7];
        timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("the stream goes on").unwrap();
        assert_eq!(&got, b"between");
        until("the host to see one session", || sessions(&world.host) == 1).await;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read(&mut got)).await.unwrap().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_revoked_while_it_is_away_does_not_come_back() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    let caller = Caller::start(&world, &device, &world.url).await;
    let mut stream = caller.open();
    stream.write_all(b"\x04echobefore").await.unwrap();
    let mut got = [0; 6];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
    caller.running.abort();
    until("the host to notice", || sessions(&world.host) == 0).await;
    world.host.revoke("test device").await.unwrap();
    let mut ended = Ended::Asked;
    for _ in 0..3 {
        let calls = Calls { through: world.url.clone(), device: device.again(), fresh: world.fresh.clone() };
        ended = timeout(PATIENCE, calls.once(&caller.kept, &watch::Sender::new(None))).await.unwrap();
        assert!(!matches!(ended, Ended::Asked));
    }
    assert!(caller.kept.is_some(), "{ended}: no proof, so it may still come back");
    caller.kept.end();
    let error = timeout(PATIENCE, stream.read(&mut got)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
}

/// Whoever is told to wait for the rest of it all, and a wire that is cut while nothing moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_stream_survives_and_the_host_notices_who_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    let wire = Wire::lay(&world.url, None).await;
    let mut caller = Caller::start(&world, &device, &wire.url).await;
    let mut stream = caller.open();
    stream.write_all(b"\x04echo").await.unwrap();
    for round in 0..10_u8 {
        caller.opener.mark_unchanged();
        wire.cut();
        caller.until_it_came_back().await;
        stream.write_all(&[round; 100]).await.unwrap();
        let mut got = [0; 100];
        timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("it goes on").unwrap();
        assert_eq!(got, [round; 100]);
    }
    caller.opener.borrow().as_ref().unwrap().close();
    let ended = timeout(PATIENCE, caller.running).await.unwrap().unwrap();
    assert!(matches!(ended, Ended::Asked), "{ended}");
    assert!(!caller.kept.is_some());
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).await.is_err(), "the session was closed");
    until("the host to forget", || sessions(&world.host) == 0).await;
}
