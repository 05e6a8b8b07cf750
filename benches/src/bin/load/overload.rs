//! L8: more connections than a relay can take: those that are in go on, and those that are not hear so at once.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::accept::{Depth, rate};
use crate::aside;
use crate::pairs::{Pairs, histogram};
use crate::peer::{HostKeys, SMALL};
use crate::relay::{Plan, Relay, resident};
use crate::sheet::{Aim, Sheet};
use crate::target::Target;
use crate::wire::Refusal;

/// Links that a relay of this test has room for.
const LINKS: usize = 2048;
const PAIRS: usize = 16;
/// How a relay closes a link that it lets in and has no room for.
const BUSY: u16 = 4003;
const PACE: Duration = Duration::from_millis(5);
const RECORD: usize = 1024;
/// Connections under way at most: what more is due is not offered.
const UNDER_WAY: u64 = 6000;
const PATIENCE: Duration = Duration::from_secs(5);
const MEMORY: u64 = 512 << 20;
const GROUP: &str = "/sys/fs/cgroup/memory/homing-load";

pub(crate) async fn run(sheet: &mut Sheet, seconds: u64) {
    let (time, confined) = (Duration::from_secs(seconds), confine());
    // On one of two processors and ahead of the load, which takes what is left: else there is no overload here.
    let mut by: Vec<String> = confined.clone().unwrap_or_default();
    by.extend(["nice", "-n", "-10", "taskset", "-c", "0"].map(String::from));
    let mut relay = Relay::start(&Plan { links: LINKS, by, ..Plan::default() });
    let (capacity, _) = rate(&relay.target, Depth::Registered, Duration::from_secs(3)).await;
    let capacity = capacity / 3.0;
    sleep(Duration::from_secs(1)).await;

    let aside = aside::runtime();
    let target = relay.target();
    let pairs = aside.spawn(async move { Pairs::start(&target, PAIRS, RECORD, Some(PACE)).await });
    let mut pairs = pairs.await.unwrap();
    sleep(Duration::from_secs(1)).await;
    pairs.begin();
    sleep(time).await;
    let calm = pairs.times.lock().unwrap().clone();
    pairs.begin();
    let came = flood(&relay.target, capacity * 3.0, time).await;
    let rough = pairs.times.lock().unwrap().clone();
    let ended = pairs.ended();
    let millis = |times: &Histogram<u64>, part: f64| times.value_at_quantile(part) as f64 / 1e6;

    let name = |figure: &str| format!("one processor, 512 MiB, {LINKS} links: {figure}");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let offered = count(&came.offered) / time.as_secs_f64();
    sheet.tell("L8", &name("hosts registered in a second"), capacity, "/s", Aim::Known);
    sheet.tell("L8", &name("offered, of what it can take"), offered / capacity, "x", Aim::AtLeast(3.0));
    sheet.tell("L8", &name("p99 of those that are in, before"), millis(&calm, 0.99), "ms", Aim::Known);
    sheet.tell("L8", &name("p99 of those that are in, meanwhile"), millis(&rough, 0.99), "ms", Aim::Known);
    let ratio = millis(&rough, 0.99) / millis(&calm, 0.99);
    sheet.tell("L8", &name("p99 meanwhile over before"), ratio, "x", Aim::AtMost(2.0));
    sheet.hold("L8", &name("links lost that were in"), ended as f64, "", Aim::AtMost(0.0));
    let told = count(&came.refused) + count(&came.closed);
    let others = told + count(&came.dropped) + count(&came.late);
    sheet.tell("L8", &name("let in"), count(&came.admitted), "", Aim::Known);
    sheet.tell("L8", &name("refused with a status and Retry-After"), count(&came.refused), "", Aim::Known);
    sheet.tell("L8", &name("closed as BUSY with retry-after"), count(&came.closed), "", Aim::Known);
    sheet.tell("L8", &name("dropped without a word"), count(&came.dropped), "", Aim::Known);
    sheet.tell("L8", &name("no answer in 5 s"), count(&came.late), "", Aim::Known);
    sheet.tell("L8", &name("of those not let in, told why"), told / others.max(1.0), "", Aim::AtLeast(0.99));
    let times = came.times.lock().unwrap().clone();
    sheet.tell("L8", &name("p99 until a refusal"), millis(&times, 0.99) / 1000.0, "s", Aim::AtMost(1.0));
    let memory = if confined.is_some() { peak() } else { resident(relay.id()) };
    sheet.tell("L8", &name("memory at most"), memory / 1024.0 / 1024.0, "MiB", Aim::AtMost(512.0));
    sheet.hold("L8", &name("relays that died of it"), f64::from(u8::from(!relay.runs())), "", Aim::AtMost(0.0));
    // It is as it was before.
    relay.until_links(2 * PAIRS as u64);
    let (after, _) = rate(&relay.target, Depth::Registered, Duration::from_secs(3)).await;
    sheet.tell(
        "L8",
        &name("hosts registered in a second afterwards, of those before"),
        after / 3.0 / capacity,
        "",
        Aim::AtLeast(0.8),
    );
    drop((pairs, relay));
    aside.shutdown_background();
    let _ = fs::remove_dir(GROUP);
}

/// What came of connections.
struct Came {
    offered: AtomicU64,
    admitted: AtomicU64,
    refused: AtomicU64,
    closed: AtomicU64,
    dropped: AtomicU64,
    late: AtomicU64,
    /// Until refusals came.
    times: Mutex<Histogram<u64>>,
}

/// Offers so many hosts in a second, whether or not those before were answered.
async fn flood(target: &Target, rate: f64, time: Duration) -> Arc<Came> {
    let came = Arc::new(Came {
        offered: AtomicU64::new(0),
        admitted: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        closed: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        late: AtomicU64::new(0),
        times: Mutex::new(histogram()),
    });
    let keys: Arc<Vec<_>> = Arc::new((0..2 * LINKS).map(|_| HostKeys::generate()).collect());
    let (under_way, end) = (Arc::<AtomicU64>::default(), Instant::now() + time);
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut due, mut number, mut tasks) = (0.0, 0, JoinSet::new());
    while Instant::now() < end {
        ticks.tick().await;
        due += rate / 1000.0;
        while due >= 1.0 {
            due -= 1.0;
            if under_way.load(Ordering::Relaxed) >= UNDER_WAY {
                continue;
            }
            number += 1;
            under_way.fetch_add(1, Ordering::Relaxed);
            came.offered.fetch_add(1, Ordering::Relaxed);
            let (target, came, under_way) = (target.clone(), came.clone(), under_way.clone());
            let keys = keys.clone();
            tasks.spawn(async move {
                let since = Instant::now();
                let opened = timeout(PATIENCE, keys[number % keys.len()].register(&target, number, SMALL)).await;
                under_way.fetch_sub(1, Ordering::Relaxed);
                let counter = match opened {
                    Err(_) => &came.late,
                    Ok(Ok(host)) => {
                        came.admitted.fetch_add(1, Ordering::Relaxed);
                        sleep(end.saturating_duration_since(Instant::now())).await;
                        return drop(host);
                    }
                    Ok(Err(
                        said @ (Refusal::Answered { status: 429 | 503, retry_after: true }
                        | Refusal::Closed { code: BUSY, retry_after: true }),
                    )) => {
                        let took = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        came.times.lock().unwrap().saturating_record(took);
                        if matches!(said, Refusal::Closed { .. }) { &came.closed } else { &came.refused }
                    }
                    Ok(Err(_)) => &came.dropped,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            });
        }
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
    came
}

/// What a relay is started by that is to have 512 MiB; none where there is no such group to be had.
fn confine() -> Option<Vec<String>> {
    let group = Path::new(GROUP);
    let made = fs::create_dir_all(group).and_then(|()| {
        fs::write(group.join("memory.limit_in_bytes"), MEMORY.to_string())?;
        fs::write(group.join("memory.max_usage_in_bytes"), "0")
    });
    let script = format!("echo $$ > {GROUP}/cgroup.procs && exec \"$@\"");
    made.ok().map(|()| ["sh", "-c", &script, "sh"].map(String::from).to_vec())
}

fn peak() -> f64 {
    let said = fs::read_to_string(Path::new(GROUP).join("memory.max_usage_in_bytes")).unwrap_or_default();
    said.trim().parse().unwrap_or(f64::NAN)
}
