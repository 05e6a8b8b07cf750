//! Pairs of a device and a host that send records one way, as fast as they may or at a pace.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::peer::{Device, Host, HostKeys, LARGE, Said};
use crate::target::Target;
use crate::wire::Lost;

/// Bytes that are written at once, where that much may be sent.
const BATCH: usize = 64 * 1024;

/// What arrived.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// Sends for as long as it is asked to; returns what the hosts got.
pub(crate) struct Pairs {
    pub(crate) arrived: Arc<Arrived>,
    /// Of paced records, the time each took, in nanoseconds.
    pub(crate) times: Arc<Mutex<Histogram<u64>>>,
    tasks: JoinSet<()>,
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap()
}

/// Nanoseconds since this program first asked.
pub(crate) fn nanos() -> u64 {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(0)
}

impl Pairs {
    /// Starts so many pairs; each sends records of `len` bytes, one in `pace` or as fast as credit allows.
    pub(crate) async fn start(target: &Target, pairs: usize, len: usize, pace: Option<Duration>) -> Self {
        let (arrived, times) = (Arc::<Arrived>::default(), Arc::new(Mutex::new(histogram())));
        let mut tasks = JoinSet::new();
        for number in 0..pairs {
            let keys = HostKeys::generate();
            let host = keys.register(target, number, LARGE).await.expect("a host");
            let (arrived, times) = (arrived.clone(), pace.map(|_| times.clone()));
            tasks.spawn(async move {
                let _ = hear(host, &arrived, times.as_deref()).await;
            });
            let device = keys.dial(target, number, LARGE).await.expect("a device");
            tasks.spawn(async move {
                match pace {
                    None => _ = pour(device, len).await,
                    Some(pace) => _ = drip(device, len, pace).await,
                }
            });
        }
        Self { arrived, times, tasks }
    }

    /// Whether all of them still run.
    pub(crate) fn ended(&mut self) -> usize {
        let mut ended = 0;
        while self.tasks.try_join_next().is_some() {
            ended += 1;
        }
        ended
    }

    /// Forgets the times taken so far.
    pub(crate) fn begin(&self) {
        self.times.lock().unwrap().reset();
    }
}

async fn hear(mut host: Host, arrived: &Arrived, times: Option<&Mutex<Histogram<u64>>>) -> Result<(), Lost> {
    loop {
        match host.next().await? {
            Said::Incoming { idx } => _ = host.link.accept(idx),
            Said::Data { len, stamp, .. } => {
                arrived.records.fetch_add(1, Ordering::Relaxed);
                arrived.bytes.fetch_add(len as u64, Ordering::Relaxed);
                if let Some(times) = times {
                    let took = nanos().saturating_sub(stamp).max(1);
                    times.lock().unwrap().saturating_record(took);
                }
            }
            _ => {}
        }
    }
}

async fn pour(mut device: Device, len: usize) -> Result<(), Lost> {
    let body = vec![0x5a; len];
    loop {
        while device.unwritten() < BATCH && device.push(1, &body) {}
        if device.unwritten() > 0 {
            device.flush().await?;
        } else {
            device.next().await?;
        }
    }
}

async fn drip(mut device: Device, len: usize, pace: Duration) -> Result<(), Lost> {
    let mut body = vec![0x5a; len];
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                // The ticks' own delay, a millisecond, is none of the relay's; waiting for its credit is.
                body[..8].copy_from_slice(&nanos().to_le_bytes());
                while !device.push(1, &body) {
                    device.next().await?;
                }
                device.flush().await?;
            }
            said = device.next() => { said?; }
        }
    }
}
