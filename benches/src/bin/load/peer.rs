//! Hosts and devices as a relay sees them: the core's links over a connection, without what goes on end to end.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::time::SystemTime;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use homing_core::Instant;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{Capability, DeviceLink, HostLink, MAX_CONTROL, Purpose, RouteId, device, host, route_id};
use homing_driver::Clock as _;
use homing_tokio::TokioClock;

use crate::target::Target;
use crate::wire::{Lost, Refusal, Wire};

/// Room to read into of a peer that hears little.
pub(crate) const SMALL: usize = 512;
/// Room to read into of a peer that hears much.
pub(crate) const LARGE: usize = 128 * 1024;
/// Channels of a host here.
const CHANNELS: usize = 8;
/// How long a dial, its upgrade included, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Messages that were about the link itself: what a relay answers to those who ask whether it is there.
pub(crate) static BEATS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn now() -> Instant {
    TokioClock.now()
}

/// What a peer heard.
#[derive(Debug)]
pub(crate) enum Said {
    Registered,
    Incoming {
        idx: u32,
    },
    Opened,
    Data {
        idx: u32,
        len: usize,
        /// The first eight bytes.
        stamp: u64,
    },
    Credit,
    Closed,
    Draining,
}

/// One side's link.
pub(crate) trait Side {
    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<Option<Said>, Lost>;
    fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Option<usize>;
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn data_header(&mut self, idx: u32, len: usize) -> Option<[u8; 5]>;
}

impl Side for Box<HostLink<CHANNELS>> {
    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<Option<Said>, Lost> {
        let event = HostLink::handle(self, now, message).map_err(|_| Lost::Violation)?;
        Ok(Some(match event {
            None => return Ok(None),
            Some(host::Event::Registered { .. }) => Said::Registered,
            Some(host::Event::Incoming { idx, .. }) => Said::Incoming { idx },
            Some(host::Event::Data { idx, body }) => {
                let (len, stamp) = (body.len(), stamp(body));
                self.processed(now, idx, len);
                Said::Data { idx, len, stamp }
            }
            Some(host::Event::Closed { .. }) => Said::Closed,
            Some(host::Event::CreditArrived { .. }) => Said::Credit,
            Some(host::Event::Draining) => Said::Draining,
        }))
    }

    fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        HostLink::poll_output(self, now, out)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        HostLink::handle_timeout(self, now).map_err(|_| Lost::Silent)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        HostLink::poll_timeout(self)
    }

    fn data_header(&mut self, idx: u32, len: usize) -> Option<[u8; 5]> {
        HostLink::data_header(self, idx, len)
    }
}

impl Side for DeviceLink {
    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<Option<Said>, Lost> {
        let event = Self::handle(self, now, message).map_err(|_| Lost::Violation)?;
        Ok(Some(match event {
            None => return Ok(None),
            Some(device::Event::Opened { .. }) => Said::Opened,
            Some(device::Event::Data { body }) => {
                let (len, stamp) = (body.len(), stamp(body));
                self.processed(now, len);
                Said::Data { idx: 1, len, stamp }
            }
            Some(device::Event::Closed { .. }) => Said::Closed,
            Some(device::Event::CreditArrived) => Said::Credit,
            Some(device::Event::Draining) => Said::Draining,
        }))
    }

    fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        Self::poll_output(self, now, out)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        Self::handle_timeout(self, now).map_err(|_| Lost::Silent)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn data_header(&mut self, _: u32, len: usize) -> Option<[u8; 5]> {
        Self::data_header(self, len)
    }
}

fn stamp(body: &[u8]) -> u64 {
    body.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// A link and its connection.
pub(crate) struct Peer<L> {
    pub(crate) link: L,
    wire: Wire,
}

pub(crate) type Host = Peer<Box<HostLink<CHANNELS>>>;
pub(crate) type Device = Peer<DeviceLink>;

impl<L: Side> Peer<L> {
    /// What is heard next. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Said, Lost> {
        loop {
            self.say();
            self.wire.flush().await?;
            while let Some(range) = self.wire.message()? {
                match self.link.handle(now(), self.wire.bytes(range))? {
                    Some(said) => return Ok(said),
                    None => _ = BEATS.fetch_add(1, Ordering::Relaxed),
                }
                self.say();
            }
            if self.wire.unwritten() > 0 {
                continue;
            }
            let Some(at) = self.link.poll_timeout() else { return Err(Lost::HungUp) };
            tokio::select! {
                biased;
                filled = self.wire.fill() => filled?,
                () = TokioClock.sleep_until(at) => self.link.handle_timeout(now())?,
            }
        }
    }

    /// Puts what the link has to say with what is to be written.
    fn say(&mut self) {
        let mut out = [0; MAX_CONTROL];
        while let Some(len) = self.link.poll_output(now(), &mut out) {
            self.wire.push(&out[..len], &[]);
        }
    }

    /// Puts a record with what is to be written; false where there is no credit for it.
    pub(crate) fn push(&mut self, idx: u32, body: &[u8]) -> bool {
        let Some(header) = self.link.data_header(idx, body.len()) else { return false };
        self.wire.push(&header, body);
        true
    }

    pub(crate) fn unwritten(&self) -> usize {
        self.wire.unwritten()
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Lost> {
        self.say();
        self.wire.flush().await
    }

    /// Hears until it is served, and nothing else.
    async fn until_served(mut self) -> Result<Self, Refusal> {
        loop {
            match self.next().await {
                Ok(Said::Registered | Said::Opened) => break,
                Ok(Said::Closed) | Err(_) => return Err(self.wire.goodbye().await),
                Ok(_) => {}
            }
        }
        match self.flush().await {
            Ok(()) => Ok(self),
            Err(_) => Err(Refusal::Dropped),
        }
    }
}

/// What a host is known by; cheap to keep while there is no link.
pub(crate) struct HostKeys {
    route: Identity,
    cap: Secret<32>,
}

impl HostKeys {
    pub(crate) fn generate() -> Self {
        let mut rng = UnwrapErr(SysRng);
        Self { route: Identity::generate(&mut rng), cap: Secret::random(&mut rng) }
    }

    pub(crate) fn route_id(&self) -> RouteId {
        route_id(self.route.public())
    }

    /// What lets a device in, for an hour.
    pub(crate) fn capability(&self) -> Capability {
        let mut id = [0; 8];
        getrandom::fill(&mut id).unwrap();
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        Capability::mint(&self.cap, &self.route_id(), id, u32::try_from(unix).unwrap_or(u32::MAX) + 3600, 0)
    }

    /// Connects and registers, in the time that a dial may take.
    pub(crate) async fn register(&self, target: &Target, number: usize, room: usize) -> Result<Host, Refusal> {
        let steps = async {
            let wire = Wire::open(target, number, room).await?;
            let (route, cap) = (Identity::duplicate(&self.route), &self.cap);
            let link = HostLink::new(&target.name, route, cap.duplicate(), cap.duplicate(), None, now()).unwrap();
            Peer { link: Box::new(link), wire }.until_served().await
        };
        tokio::time::timeout(PATIENCE, steps).await.unwrap_or(Err(Refusal::Dropped))
    }

    /// Connects a device with this host.
    pub(crate) async fn dial(&self, target: &Target, number: usize, room: usize) -> Result<Device, Refusal> {
        let purpose = Purpose::Dial { route_id: self.route_id(), capability: self.capability() };
        let steps = async {
            let wire = Wire::open(target, number, room).await?;
            let link = DeviceLink::new(&target.name, purpose, now()).unwrap();
            Peer { link, wire }.until_served().await
        };
        tokio::time::timeout(PATIENCE, steps).await.unwrap_or(Err(Refusal::Dropped))
    }
}

/// A number below `most`, by chance.
pub(crate) fn chance(most: u32) -> u32 {
    getrandom::u32().unwrap_or(0) % most.max(1)
}
