//! L7: a moderate load for an hour, with peers that come and go: does the relay's memory grow, does all come back?

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::{sleep, timeout};

use crate::crowd::{Crowd, Manner};
use crate::peer::{Device, HostKeys, Said, chance};
use crate::relay::{Plan, Relay, cpu, descriptors, resident};
use crate::sheet::{Aim, Sheet};
use crate::target::Target;
use crate::wire::Lost;

/// Room to read into: what they say is short.
const ROOM: usize = 4096;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Soak {
    pub(crate) hosts: usize,
    pub(crate) devices: usize,
    pub(crate) seconds: u64,
}

#[derive(Default)]
struct Tally {
    answers: AtomicU64,
    dials: AtomicU64,
    failed: AtomicU64,
}

pub(crate) async fn run(sheet: &mut Sheet, soak: &Soak) {
    let relay = Relay::start(&Plan { links: 4096, ..Plan::default() });
    relay.until_links(0);
    let fresh = descriptors(relay.id());
    let mut crowd = Crowd::start(&relay.target, soak.hosts, Manner { room: ROOM, echo: true, returns: true }).await;
    let tally = Arc::<Tally>::default();
    for number in 0..soak.devices {
        let (target, keys) = (relay.target(), crowd.keys[number % crowd.keys.len()].clone());
        crowd.tasks.spawn(come_and_go(target, keys, number, tally.clone()));
    }
    // Hosts come and go, too: these are none that devices dial.
    for number in 0..soak.hosts / 10 {
        let target = relay.target();
        crowd.tasks.spawn(async move {
            let keys = HostKeys::generate();
            loop {
                if let Ok(mut host) = keys.register(&target, number, ROOM).await {
                    let stay = Duration::from_secs((5 + chance(50)).into());
                    let _ = timeout(stay, async { while host.next().await.is_ok() {} }).await;
                }
                sleep(Duration::from_millis((100 + chance(5000)).into())).await;
            }
        });
    }
    let (since, mut samples) = (Instant::now(), Vec::new());
    let warm = soak.seconds as f64 / 6.0;
    while since.elapsed().as_secs() < soak.seconds {
        sleep(Duration::from_secs(10.min(soak.seconds / 10).max(1))).await;
        let (at, memory) = (since.elapsed().as_secs_f64(), resident(relay.id()));
        if at >= warm {
            samples.push((at, memory));
        }
        eprintln!(
            "{at:.0} s: {:.0} KiB, {} descriptors, {} dials, {} answers, {} failed, {:.1} s of CPU",
            memory / 1024.0,
            descriptors(relay.id()),
            tally.dials.load(Ordering::Relaxed),
            tally.answers.load(Ordering::Relaxed),
            tally.failed.load(Ordering::Relaxed),
            cpu(relay.id()),
        );
    }
    let (slope, mean) = fit(&samples);
    let minutes = soak.seconds / 60;
    let name = |what: &str| format!("{minutes} min, {} hosts, {} devices: {what}", soak.hosts, soak.devices);
    sheet.hold("L7", &name("slope of VmRSS an hour"), slope * 3600.0 / mean * 100.0, "%", Aim::AtMost(1.0));
    sheet.tell("L7", &name("VmRSS"), mean / 1024.0, "KiB", Aim::Known);
    let lost = crowd.fate.lost.load(Ordering::Relaxed) + tally.failed.load(Ordering::Relaxed);
    sheet.hold("L7", &name("links lost and answers that did not come"), lost as f64, "", Aim::AtMost(0.0));
    sheet.tell("L7", &name("answers"), tally.answers.load(Ordering::Relaxed) as f64, "", Aim::Known);
    sheet.tell("L7", &name("dials"), tally.dials.load(Ordering::Relaxed) as f64, "", Aim::Known);
    crowd.tasks.shutdown().await;
    relay.until_links(0);
    let status = relay.status();
    let left = ["links", "hosts", "channels", "parked", "queued_bytes"].map(|name| status[name].as_u64().unwrap_or(99));
    sheet.hold(
        "L7",
        &name("links, hosts, channels and bytes left"),
        left.iter().sum::<u64>() as f64,
        "",
        Aim::AtMost(0.0),
    );
    // The control socket has just been asked.
    let opened = descriptors(relay.id()) as f64 - fresh as f64;
    sheet.hold("L7", &name("descriptors more than in the beginning"), opened, "", Aim::AtMost(1.0));
    sheet.tell("L7", &name("VmRSS once all have gone"), resident(relay.id()) / 1024.0, "KiB", Aim::Known);
}

/// A device that asks a few times a second, leaves after a while, and comes back.
async fn come_and_go(target: Target, keys: Arc<HostKeys>, number: usize, tally: Arc<Tally>) {
    loop {
        sleep(Duration::from_millis(chance(3000).into())).await;
        tally.dials.fetch_add(1, Ordering::Relaxed);
        match keys.dial(&target, number, ROOM).await {
            Ok(mut device) => {
                if ask(&mut device, &tally).await.is_err() {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(refusal) => {
                eprintln!("dial: {refusal:?}");
                tally.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn ask(device: &mut Device, tally: &Tally) -> Result<(), Lost> {
    for _ in 0..10 + chance(100) {
        // One in sixteen is a large one; all fit the credit that there is at any time.
        let len = if chance(16) == 0 { 16 * 1024 } else { 8 + chance(1000) };
        let body = vec![0x5a; usize::try_from(len).unwrap_or(8)];
        while !device.push(1, &body) {
            device.next().await?;
        }
        let answered = timeout(PATIENCE, async {
            loop {
                match device.next().await? {
                    Said::Data { len, .. } if len == body.len() => return Ok(()),
                    Said::Closed => return Err(Lost::HungUp),
                    _ => {}
                }
            }
        });
        answered.await.unwrap_or(Err(Lost::Silent))?;
        tally.answers.fetch_add(1, Ordering::Relaxed);
        let rest = Duration::from_millis((50 + chance(900)).into());
        let _ = timeout(rest, async { while device.next().await.is_ok() {} }).await;
    }
    Ok(())
}

/// The slope of the line that fits best, and the mean.
fn fit(samples: &[(f64, f64)]) -> (f64, f64) {
    let count = samples.len().max(1) as f64;
    let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), sample| (x + sample.0 / count, y + sample.1 / count));
    let over: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    let under: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    (if under > 0.0 { over / under } else { 0.0 }, y)
}
