//! L6: what a relay adds to a record's time while it forwards half of what it can.

use core::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::aside;
use crate::forward;
use crate::pairs::{Pairs, histogram, nanos};
use crate::relay::{Plan, Relay};
use crate::sheet::{Aim, Sheet};

/// Pairs that make the load.
const PAIRS: usize = 32;
const RECORD: usize = 16 * 1024;
/// Pairs that are timed, and how often each sends.
const PROBES: usize = 8;
const PACE: Duration = Duration::from_millis(10);
const PROBE: usize = 100;

pub(crate) async fn run(sheet: &mut Sheet, seconds: u64) {
    let time = Duration::from_secs(seconds);
    // Ahead of the load, which would be on other machines: what is asked is how long the relay takes.
    let by = ["nice", "-n", "-10"].map(String::from).to_vec();
    let relay = Relay::start(&Plan { links: 1024, by, ..Plan::default() });
    let (records, ..) = forward::pour(&relay, PAIRS, RECORD, time.min(Duration::from_secs(5))).await;
    // Half of what L4 asks for, and half of what there is.
    let asked = 350.0 * 1024.0 * 1024.0 / RECORD as f64;
    for (what, rate) in [("quiet", 0.0), ("350 MiB/s", asked), ("half of what it can", records / 2.0)] {
        let load = if rate > 0.0 {
            let pace = Duration::from_secs_f64(PAIRS as f64 / rate);
            Some(Pairs::start(&relay.target, PAIRS, RECORD, Some(pace)).await)
        } else {
            None
        };
        let (aside, target) = (aside::runtime(), relay.target());
        let probes = aside.spawn(async move { Pairs::start(&target, PROBES, PROBE, Some(PACE)).await });
        let (probes, direct) = (probes.await.unwrap(), aside.spawn(Direct::start()).await.unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
        probes.begin();
        direct.times.lock().unwrap().reset();
        tokio::time::sleep(time).await;
        let ours = probes.times.lock().unwrap().clone();
        let bound = direct.times.lock().unwrap().clone();
        drop(load);
        aside.shutdown_background();
        let name = |figure: &str| format!("{what}: {figure}");
        let micros = |times: &Histogram<u64>, part: f64| times.value_at_quantile(part) as f64 / 1000.0;
        for (part, figure, most) in [(0.5, "p50", 150.0), (0.99, "p99", 2000.0), (0.999, "p99.9", 0.0)] {
            let (through, without) = (micros(&ours, part), micros(&bound, part));
            sheet.tell("L6", &name(&format!("{figure} through the relay")), through, "us", Aim::Known);
            sheet.tell("L6", &name(&format!("{figure} without it")), without, "us", Aim::Known);
            let aim = if rate == asked && most > 0.0 { Aim::AtMost(most) } else { Aim::Known };
            sheet.tell("L6", &name(&format!("{figure} added")), through - without, "us", aim);
        }
    }
}

/// The same probes over connections without a relay, beside the others.
struct Direct {
    times: std::sync::Arc<std::sync::Mutex<Histogram<u64>>>,
    _tasks: JoinSet<()>,
}

impl Direct {
    async fn start() -> Self {
        let times = std::sync::Arc::new(std::sync::Mutex::new(histogram()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..PROBES {
            let mut here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut there, _) = listener.accept().await.unwrap();
            here.set_nodelay(true).unwrap();
            tasks.spawn(async move {
                let mut body = [0x5a; PROBE];
                let mut ticks = interval(PACE);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                loop {
                    ticks.tick().await;
                    body[..8].copy_from_slice(&nanos().to_le_bytes());
                    if here.write_all(&body).await.is_err() {
                        return;
                    }
                }
            });
            let times = times.clone();
            tasks.spawn(async move {
                let mut body = [0; PROBE];
                while there.read_exact(&mut body).await.is_ok() {
                    let sent = body.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
                    times.lock().unwrap().saturating_record(nanos().saturating_sub(sent).max(1));
                }
            });
        }
        Self { times, _tasks: tasks }
    }
}
