//! Many hosts at once, each a task: they register, take who comes, echo what they hear, and come back when their link is
//! lost as `adapters/host` does.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use homing_core::backoff::Backoff;
use homing_driver::Clock as _;
use homing_tokio::TokioClock;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::peer::{Host, HostKeys, Said, chance};
use crate::target::Target;
use crate::wire::Lost;

/// How long a host goes on at most with a relay that is about to stop.
const LEAVE_WITHIN: u32 = 3000;

/// What became of hosts, all together.
#[derive(Default)]
pub(crate) struct Fate {
    pub(crate) up: AtomicU64,
    /// Links that ended though nobody wanted it.
    pub(crate) lost: AtomicU64,
    /// Links given up because the relay answered nothing.
    pub(crate) silent: AtomicU64,
    /// Attempts to connect that failed.
    pub(crate) refused: AtomicU64,
    /// When each host was registered.
    pub(crate) arrivals: Mutex<Vec<Instant>>,
    /// When each link was found to be lost.
    pub(crate) losses: Mutex<Vec<Instant>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) room: usize,
    /// Whether what comes is said back.
    pub(crate) echo: bool,
    /// Whether a link that is lost is made anew.
    pub(crate) returns: bool,
}

/// Hosts that run until they are dropped.
pub(crate) struct Crowd {
    pub(crate) keys: Vec<Arc<HostKeys>>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) tasks: JoinSet<()>,
}

impl Crowd {
    /// Starts so many hosts, and waits until all are registered.
    pub(crate) async fn start(target: &Target, count: usize, manner: Manner) -> Self {
        let (fate, gate) = (Arc::<Fate>::default(), Arc::new(Semaphore::new(128)));
        let keys: Vec<_> = (0..count).map(|_| Arc::new(HostKeys::generate())).collect();
        let mut tasks = JoinSet::new();
        for (number, keys) in keys.iter().enumerate() {
            let (fate, target, gate, keys) = (fate.clone(), target.clone(), gate.clone(), keys.clone());
            tasks.spawn(async move {
                let permit = gate.acquire().await.unwrap();
                let first = keys.register(&target, number, manner.room).await;
                drop(permit);
                keep(&keys, &target, number, manner, &fate, first.ok()).await;
            });
        }
        let crowd = Self { keys, fate, tasks };
        crowd.until_up(count as u64).await;
        crowd
    }

    pub(crate) async fn until_up(&self, count: u64) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.fate.up.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < deadline, "{} of {count} hosts", self.fate.up.load(Ordering::Relaxed));
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A host's life: the order of things is that of `adapters/host`.
async fn keep(keys: &HostKeys, target: &Target, number: usize, manner: Manner, fate: &Fate, first: Option<Host>) {
    let mut backoff = Backoff::new();
    let mut host = first;
    loop {
        let began = TokioClock.now();
        if let Some(host) = host.take() {
            fate.up.fetch_add(1, Ordering::Relaxed);
            fate.arrivals.lock().unwrap().push(Instant::now());
            let lost = serve(host, manner).await;
            fate.up.fetch_sub(1, Ordering::Relaxed);
            fate.losses.lock().unwrap().push(Instant::now());
            fate.lost.fetch_add(1, Ordering::Relaxed);
            if matches!(lost, Lost::Silent) {
                fate.silent.fetch_add(1, Ordering::Relaxed);
            }
            if !manner.returns {
                return;
            }
            backoff.proved(began);
        } else {
            fate.refused.fetch_add(1, Ordering::Relaxed);
        }
        sleep(backoff.failed(TokioClock.now(), &mut UnwrapErr(SysRng))).await;
        host = keys.register(target, number, manner.room).await.ok();
    }
}

/// Serves a link until it is over.
async fn serve(mut host: Host, manner: Manner) -> Lost {
    let mut leave: Option<tokio::time::Instant> = None;
    loop {
        let heard = match leave {
            None => host.next().await,
            Some(at) => match tokio::time::timeout_at(at, host.next()).await {
                Ok(heard) => heard,
                Err(_) => return Lost::HungUp,
            },
        };
        match heard {
            Ok(Said::Incoming { idx }) => _ = host.link.accept(idx),
            Ok(Said::Data { idx, len, stamp }) if manner.echo => {
                let mut body = vec![0x5a; len.max(8)];
                body[..8].copy_from_slice(&stamp.to_le_bytes());
                // Where there is no credit the device waits for the rest, and gets it with the next.
                let _ = host.push(idx, &body);
            }
            Ok(Said::Draining) => {
                let within = Duration::from_millis(chance(LEAVE_WITHIN).into());
                leave.get_or_insert(tokio::time::Instant::now() + within);
            }
            Ok(_) => {}
            Err(lost) => return lost,
        }
    }
}
