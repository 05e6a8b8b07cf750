//! A relay that is under attack, and an honest pair on it that must not notice.

use core::pin::Pin;

use homing_relay::Status;

use crate::support::{Device, Host, Running, Said, open, soon};

/// A relay, and a host and a device that are joined through it.
pub struct Stage {
    host: Host,
    device: Device,
    idx: u32,
    before: Status,
    /// What it runs on.
    pub runtime: &'static str,
    pub relay: Running,
}

impl Stage {
    pub async fn set(relay: Running, runtime: &'static str) -> Self {
        let mut host = Host::register(&relay).await;
        let mut device = host.dial(&relay).await;
        let idx = host.accept().await;
        device.send(b"hello").await;
        while !matches!(host.next().await, Said::Data { .. }) {}
        let before = relay.until("a quiet relay", |s| s.queued_bytes == 0 && s.links == 2).await;
        Self { host, device, idx, before, runtime, relay }
    }

    /// One for each runtime.
    pub async fn on_each() -> Vec<Self> {
        vec![
            Self::set(Running::start(open()).await, "tokio").await,
            #[cfg(feature = "smol")]
            Self::set(Running::start_on_smol(open()).await, "smol").await,
        ]
    }

    /// The honest pair is served while an attack may last.
    pub async fn serves(&mut self, during: &str) {
        let text = during.as_bytes();
        self.device.send(text).await;
        loop {
            match self.host.next().await {
                Said::Data { body, .. } if body == text => break,
                Said::Credit => {}
                other => panic!("{during} on {}: the honest host hears {other:?}", self.runtime),
            }
        }
        self.host.send(self.idx, text).await;
        assert_eq!(self.device.receive(text.len()).await, text, "{during} on {}", self.runtime);
    }

    /// After an attack all is as before: the pair is served, and of the attack nothing is left.
    pub async fn is_well(&mut self, after: &str) {
        soon(after, self.serves(after)).await;
        let counts = |s: &Status| (s.links, s.hosts, s.waiting, s.channels, s.parked, s.reserved_bytes);
        let before = counts(&self.before);
        let what = format!("{before:?} again after {after} on {}", self.runtime);
        self.relay.until(&what, |s| counts(s) == before && s.queued_bytes == 0).await;
    }
}

/// What somebody does, and checks as it goes.
type Run = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
/// A name, and what happens.
pub type Scene = (&'static str, Run);

pub fn scene(name: &'static str, run: Run) -> Scene {
    (name, run)
}

/// Plays these one after the other.
pub async fn play(scenes: Vec<Scene>) {
    for mut stage in Stage::on_each().await {
        for (name, run) in &scenes {
            eprintln!("{name} on {}", stage.runtime);
            run(&mut stage).await;
            stage.is_well(name).await;
        }
    }
}
