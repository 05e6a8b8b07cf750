//! Presence is no oracle: who may not dial a host learns neither from what is answered nor from when whether it is there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;
use std::time::Instant;

use futures_util::StreamExt;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{Capability, Code, DeviceLink, MAX_CONTROL, PARK_TIME, Purpose, RouteId};
use homing_core::relay::{self, ChannelSlot, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use rand_core::UnwrapErr;

use support::{Host, PATIENCE, Running, in_an_hour, open};

/// What a route may be, to somebody who has no right to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Present,
    Left,
    Unknown,
}

const ALL: [Route; 3] = [Route::Present, Route::Left, Route::Unknown];

/// Somebody else's pass, to any of these routes.
fn wrong(route_id: RouteId) -> Purpose {
    let (mut key, mut id) = ([0; 32], [0; 8]);
    getrandom::fill(&mut key).unwrap();
    getrandom::fill(&mut id).unwrap();
    Purpose::Dial { route_id, capability: Capability::mint(&Secret::new(key), &route_id, id, in_an_hour(), 0) }
}

fn random() -> RouteId {
    let mut route = [0; 16];
    getrandom::fill(&mut route).unwrap();
    route
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// How often one of the first takes longer than one of the second; a half where nothing tells them apart.
fn rank(first: &[Duration], second: &[Duration]) -> f64 {
    let pairs = first.iter().flat_map(|a| second.iter().map(move |b| a.cmp(b)));
    let sum: f64 = pairs.map(|order| [0.0, 0.5, 1.0][(order as i8 + 1) as usize]).sum();
    sum / (first.len() * second.len()) as f64
}

struct Nowhere;

impl Outbox for Nowhere {
    fn control(&mut self, _: LinkId, _: &[u8]) {}
    fn hang_up(&mut self, _: LinkId, _: Code) {}
}

/// What the switch sends, so that endpoints can answer.
#[derive(Default)]
struct Said(Vec<Vec<u8>>);

impl Outbox for Said {
    fn control(&mut self, _: LinkId, message: &[u8]) {
        self.0.push(message.to_vec());
    }
    fn hang_up(&mut self, _: LinkId, _: Code) {}
}

/// Without sockets, where a microsecond would show: the work is the same.
#[test]
fn the_switch_works_as_long_for_nobody_as_for_a_wrong_proof() {
    const SAMPLES: usize = 600;
    let mut rng = UnwrapErr(getrandom::SysRng);
    fn slots<T: Default>(count: usize) -> Vec<T> {
        core::iter::repeat_with(T::default).take(count).collect()
    }
    let now = homing_core::Instant::ZERO;
    let (links, channels, routes) = (slots::<LinkSlot>(64), slots::<ChannelSlot>(64), slots::<RouteSlot>(128));
    let unix = u64::from(in_an_hour()) - 3600;
    let mut switch = Switch::new(relay::Config::default(), links, channels, routes, now, unix, &mut rng);
    let mut register = |switch: &mut Switch<_, _, _>| {
        let mut said = Said::default();
        let link = switch.attach(now, "relay", &mut rng, &mut said).unwrap();
        let (identity, key) = (Identity::generate(&mut rng), Secret::random(&mut rng));
        let route = homing_core::hop::route_id(identity.public());
        let mut host =
            homing_core::hop::HostLink::<1>::new("relay", identity, key, Secret::random(&mut rng), None, now).unwrap();
        host.handle(now, &said.0[0]).unwrap();
        let mut out = [0; MAX_CONTROL];
        let len = host.poll_output(now, &mut out).unwrap();
        switch.handle(now, link, &mut out[..len], &mut rng, &mut said).unwrap();
        (route, link)
    };
    let (present, _) = register(&mut switch);
    let (left, gone) = register(&mut switch);
    switch.detach(gone, &mut Nowhere);
    assert_eq!(switch.counters().hosts, 1);

    let keys = [Secret::new([1; 32]), Secret::new([2; 32])];
    let mut times = [(); 3].map(|()| Vec::new());
    let mut rng = UnwrapErr(getrandom::SysRng);
    for _ in 0..SAMPLES {
        for (route, times) in ALL.into_iter().zip(&mut times) {
            let route = match route {
                Route::Present => present,
                Route::Left => left,
                Route::Unknown => random(),
            };
            let mut said = Said::default();
            let link = switch.attach(now, "relay", &mut rng, &mut said).unwrap();
            let mut device = DeviceLink::new("relay", wrong(route), now).unwrap();
            device.handle(now, &said.0[0]).unwrap();
            let mut out = [0; MAX_CONTROL];
            let len = device.poll_output(now, &mut out).unwrap();
            let began = Instant::now();
            switch.handle(now, link, &mut out[..len], &mut rng, &mut Nowhere).unwrap();
            times.push(began.elapsed());
            assert_eq!(switch.counters().parked, 1);
            switch.detach(link, &mut Nowhere);
        }
    }
    let [present, left, unknown] = &mut times;
    let medians = [median(present), median(left), median(unknown)];
    println!("{medians:?}, {:?} of it for a proof", check(&keys));
    // Without the check of a proof it is about half.
    for other in &medians[1..] {
        assert!(*other * 4 > medians[0] * 3 && *other * 2 < medians[0] * 3, "{medians:?}");
    }
}

/// How long it takes to compute the proofs of a host's two keys.
fn check(keys: &[Secret<32>; 2]) -> Duration {
    let mut times = [(); 100].map(|()| {
        let (route, began) = (random(), Instant::now());
        for key in keys {
            let capability = Capability::mint(key, &route, [1; 8], 7, 0);
            core::hint::black_box(capability.dial_proof("relay", &[9; 32]));
        }
        began.elapsed()
    });
    median(&mut times)
}

/// Over sockets: how long a PING behind the dial takes, which waits for the dial's work; and the answer itself, byte for
/// byte, when its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_peoples_hosts_absent_ones_and_none_are_alike() {
    const SAMPLES: usize = 250;
    let relay = Running::start(open()).await;
    let host = Host::register(&relay).await;
    let left = Host::register(&relay).await;
    let gone = left.route;
    drop(left);
    relay.until("one host", |status| status.hosts == 1).await;
    let route = |route| match route {
        Route::Present => host.route,
        Route::Left => gone,
        Route::Unknown => random(),
    };

    let mut waiting = Vec::new();
    for kind in ALL {
        for _ in 0..4 {
            waiting.push((kind, dialled(&relay, route(kind)).await));
        }
    }
    let answers = waiting.into_iter().map(|(kind, (mut socket, since))| async move {
        let mut heard = Vec::new();
        let patience = tokio::time::timeout(PARK_TIME + PATIENCE, async {
            while let Some(Ok(message)) = socket.next().await {
                heard.push(message);
            }
        });
        patience.await.unwrap();
        (kind, heard, since.elapsed())
    });
    let answers = futures_util::future::join_all(answers);
    let pings = async {
        let mut times = [(); 3].map(|()| Vec::new());
        for _ in 0..SAMPLES {
            for (kind, times) in ALL.into_iter().zip(&mut times) {
                times.push(ping_behind(&relay, route(kind)).await);
            }
        }
        times
    };
    let (answers, mut times) = tokio::join!(answers, pings);

    let (_, first, _) = &answers[0];
    assert!(!first.is_empty());
    for (kind, heard, took) in &answers {
        assert_eq!(heard, first, "{kind:?}");
        assert!(*took >= PARK_TIME && *took < PARK_TIME + Duration::from_secs(5), "{kind:?} after {took:?}");
    }
    let took = |kind| answers.iter().filter(move |(of, ..)| *of == kind).map(|(.., took)| *took);
    for kind in [Route::Left, Route::Unknown] {
        let (one, other) = (took(kind).min().unwrap(), took(Route::Present).min().unwrap());
        assert!(one.abs_diff(other) < Duration::from_secs(2), "{kind:?}: {one:?} and {other:?}");
    }
    let ranks = [rank(&times[0], &times[1]), rank(&times[0], &times[2]), rank(&times[1], &times[2])];
    println!("{ranks:?} {:?}", times.each_mut().map(|times| median(times)));
    // Six standard deviations of what chance does.
    assert!(ranks.iter().all(|rank| (0.35..=0.65).contains(rank)), "{ranks:?}");
}

/// A dial with somebody else's pass.
async fn dialled(relay: &Running, route: RouteId) -> (homing_tokio::Socket, Instant) {
    let mut device = support::Device::connect(relay, wrong(route)).await;
    let hello = device.socket.next().await.unwrap().unwrap();
    device.link.handle(support::now(), &hello.into_data()).unwrap();
    let since = Instant::now();
    device.say().await;
    (device.socket, since)
}

/// How long the answer to a PING takes that is sent right behind a dial.
async fn ping_behind(relay: &Running, route: RouteId) -> Duration {
    let (mut socket, since) = dialled(relay, route).await;
    let ping = [0x8e, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    socket.send(async_tungstenite::tungstenite::Message::binary(ping.to_vec())).await.unwrap();
    let pong = support::soon("the pong", socket.next()).await.unwrap().unwrap();
    assert_eq!(pong.into_data()[0], 0x8f);
    since.elapsed()
}
