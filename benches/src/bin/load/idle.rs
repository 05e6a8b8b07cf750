//! L1 and L2: connections held, and what each costs.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::crowd::{Crowd, Manner};
use crate::peer::{BEATS, Device, SMALL};
use crate::relay::{Plan, Relay, cpu, descriptors, resident};
use crate::sheet::{Aim, Sheet};

/// Bytes that each device sends in a burst.
const BURST: usize = 64 * 1024;

pub(crate) struct Idle {
    pub(crate) hosts: usize,
    pub(crate) devices: usize,
    pub(crate) tls: bool,
    pub(crate) seconds: u64,
    /// Whether all send at once, afterwards, and the relay is weighed again a minute later.
    pub(crate) burst: bool,
}

pub(crate) async fn run(sheet: &mut Sheet, idle: &Idle) {
    let Idle { hosts, devices, tls, .. } = *idle;
    let (id, kind) = if tls { ("L2", "TLS") } else { ("L2", "plain") };
    let plan = Plan { tls, links: hosts + devices + 64, queues: devices / 4 + 256, ..Plan::default() };
    let relay = Relay::start(&plan);
    let empty = resident(relay.id());
    let crowd = Crowd::start(&relay.target, hosts, Manner { room: SMALL, echo: false, returns: false }).await;
    let (lost, bursts) = (Arc::<AtomicU64>::default(), Arc::new(Semaphore::new(0)));
    let mut tasks = connect(&relay, &crowd, devices, &lost, &bursts).await;
    relay.until_links((hosts + devices) as u64);
    sleep(Duration::from_secs(3)).await;
    let connections = descriptors(relay.id()).saturating_sub(16);
    let count = (hosts + devices) as f64;
    let full = resident(relay.id());
    sheet.tell(
        id,
        &format!("{kind}: idle connections, of the relay's descriptors"),
        connections as f64,
        "",
        Aim::Known,
    );
    let most = if tls { 32.0 } else { 12.0 };
    let name = |what: &str| format!("{kind}, {count} connections: {what}");
    sheet.hold(id, &name("VmRSS for each, all of it"), full / count / 1024.0, "KiB", Aim::AtMost(most));
    sheet.tell(
        id,
        &name("VmRSS for each, without the empty relay's"),
        (full - empty) / count / 1024.0,
        "KiB",
        Aim::Known,
    );

    let (before, beats, spent) = (resident(relay.id()), BEATS.load(Ordering::Relaxed), cpu(relay.id()));
    if idle.seconds > 0 {
        sleep(Duration::from_secs(idle.seconds)).await;
        let lost = crowd.fate.lost.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed);
        let held = format!("{kind}: {count} connections for {} s, unexpected ends", idle.seconds);
        sheet.hold("L1", &held, lost as f64, "", Aim::AtMost(0.0));
        let answered = (BEATS.load(Ordering::Relaxed) - beats) as f64;
        let asked = count * (idle.seconds as f64 / 16.0).floor();
        sheet.hold("L1", &name("keepalives answered, of those due"), answered / asked.max(1.0), "", Aim::AtLeast(1.0));
        let spent = (cpu(relay.id()) - spent) * 1e6 / answered;
        sheet.tell("L1", &name("the relay's CPU for each keepalive"), spent, "us", Aim::Known);
        let cost = (resident(relay.id()) - before) / count;
        sheet.tell("L1", &name("VmRSS that was added meanwhile"), cost, "bytes", Aim::Known);
    }
    if idle.burst {
        bursts.add_permits(devices);
        sleep(Duration::from_secs(10)).await;
        let peak = resident(relay.id());
        sheet.tell(id, &name("VmRSS for each, just after a burst of 64 KiB"), peak / count / 1024.0, "KiB", Aim::Known);
        sleep(Duration::from_secs(60)).await;
        let after = resident(relay.id());
        sheet.hold(id, &name("VmRSS for each, 60 s after it"), after / count / 1024.0, "KiB", Aim::AtMost(48.0));
    }
    tasks.abort_all();
    drop(crowd);
    relay.until_links(0);
    let left = descriptors(relay.id());
    sheet.tell("L1", &format!("{kind}: descriptors once all have gone"), left as f64, "", Aim::AtMost(32.0));
}

/// Joins so many devices with the hosts, one after the other.
async fn connect(
    relay: &Relay,
    crowd: &Crowd,
    devices: usize,
    lost: &Arc<AtomicU64>,
    bursts: &Arc<Semaphore>,
) -> JoinSet<()> {
    let (gate, up) = (Arc::new(Semaphore::new(128)), Arc::<AtomicU64>::default());
    let mut tasks = JoinSet::new();
    for number in 0..devices {
        let (target, keys) = (relay.target(), crowd.keys[number % crowd.keys.len()].clone());
        let (gate, up, lost, bursts) = (gate.clone(), up.clone(), lost.clone(), bursts.clone());
        tasks.spawn(async move {
            let permit = gate.acquire().await.unwrap();
            let device = keys.dial(&target, number, SMALL).await.expect("a dial");
            drop(permit);
            up.fetch_add(1, Ordering::Relaxed);
            live(device, &bursts).await;
            lost.fetch_add(1, Ordering::Relaxed);
        });
    }
    while up.load(Ordering::Relaxed) < devices as u64 {
        sleep(Duration::from_millis(50)).await;
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
    tasks
}

async fn live(mut device: Device, bursts: &Semaphore) {
    loop {
        tokio::select! {
            said = device.next() => if said.is_err() { return },
            permit = bursts.acquire() => { permit.unwrap().forget(); break }
        }
    }
    let (body, mut sent) = (vec![0x5a; 4096], 0);
    while sent < BURST {
        if device.push(1, &body) {
            sent += body.len();
        } else if device.next().await.is_err() {
            return;
        }
    }
    while device.next().await.is_ok() {}
}
