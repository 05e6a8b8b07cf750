//! Both ends, the links between them, and who cuts these.

use core::time::Duration;
use std::collections::VecDeque;

use homing_core::Instant;
use homing_core::channel::{Config, token_hash};
use homing_core::crypto::{Identity, Psk};
use homing_core::handshake::{Door, HELLO_MAX, Keys, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::wire::Params;

use crate::end::End;
use crate::support::Seeded;
use crate::{Chan, TOKEN};

/// A device and its host, and the records between them.
pub(crate) struct World {
    pub(crate) device: End,
    pub(crate) host: End,
    pub(crate) to_host: VecDeque<Vec<u8>>,
    pub(crate) to_device: VecDeque<Vec<u8>>,
    pub(crate) now: Instant,
    pub(crate) rng: Seeded,
    pub(crate) params: Params,
}

impl World {
    pub(crate) fn new(seed: u64, params: Params) -> Self {
        let mut world = Self {
            device: End::new(false),
            host: End::new(true),
            to_host: VecDeque::new(),
            to_device: VecDeque::new(),
            now: Instant::ZERO,
            rng: Seeded::new(seed),
            params,
        };
        world.attach();
        world.settle();
        world
    }

    pub(crate) fn keys(&mut self) -> (Keys, Keys) {
        let rng = &mut self.rng;
        let (device, host, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
        let (mut hello, mut reply) = ([0; HELLO_MAX], [0; REPLY_MAX]);
        let route = [3; 16];
        let channel = [9; 16];
        let kind = Kind::Connect { route: &route, psk: &psk };
        let (len, wait) =
            start(Suite::Classic, kind, &channel, &device, host.public(), self.params, rng, &mut hello).unwrap();
        let mac1_key = host_mac1_key(host.public());
        let door = Door { identity: &host, mac1_key: &mac1_key, route: &route, weakest: Suite::Classic };
        let Knock::Connect(knock) = hear(door, [], &channel, &mut hello[..len]).unwrap() else { panic!() };
        let (len, host_keys, _) = knock.reply(&psk, self.params, rng, &mut reply).unwrap();
        let (device_keys, _) = wait.read(&mut reply[..len]).unwrap();
        (device_keys, host_keys)
    }

    /// The device calls again; the old link is gone for good.
    pub(crate) fn attach(&mut self) {
        self.cut();
        let (near, far) = self.keys();
        let config = Config::default();
        self.device.channel = Some(match self.device.kept.take() {
            Some(kept) => Chan::resume(&near, &TOKEN, kept, &config, self.now),
            None => Chan::connect(&near, &TOKEN, &config, self.now),
        });
        self.host.channel = Some(Chan::admit(&far, token_hash(&TOKEN), &config, self.now));
    }

    pub(crate) fn cut(&mut self) {
        self.device.lose();
        self.host.lose();
        self.to_host.clear();
        self.to_device.clear();
    }

    /// One record each way; whether there was one.
    pub(crate) fn exchange(&mut self) -> bool {
        self.now = self.now + Duration::from_millis(30);
        let mut moved = false;
        if let Some(record) = self.device.poll(self.now) {
            self.to_host.push_back(record);
        }
        if let Some(record) = self.host.poll(self.now) {
            self.to_device.push_back(record);
        }
        if let Some(mut record) = self.to_host.pop_front() {
            self.host.hear(self.now, &mut record);
            moved = true;
        }
        if let Some(mut record) = self.to_device.pop_front() {
            self.device.hear(self.now, &mut record);
            moved = true;
        }
        moved
    }

    pub(crate) fn read_all(&mut self) {
        for end in [&mut self.device, &mut self.host] {
            let ids: Vec<u32> = end.pipes.keys().copied().collect();
            for id in ids {
                end.read(id, self.now);
            }
        }
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..20_000 {
            self.read_all();
            if !self.exchange() {
                return;
            }
        }
        panic!("no end of talk");
    }

    /// Everything that was offered has arrived, ends included.
    pub(crate) fn check_delivered(&self) {
        for (from, to) in [(&self.device, &self.host), (&self.host, &self.device)] {
            for (id, pipe) in &from.pipes {
                let Some(other) = to.pipes.get(id) else {
                    assert!(pipe.released, "stream {id} never arrived");
                    continue;
                };
                let given_up = pipe.released || other.released || pipe.stopped.is_some();
                if !given_up {
                    assert_eq!((other.received, other.ended), (pipe.offered, pipe.ends), "stream {id}");
                    assert_eq!(pipe.end_acknowledged, pipe.ends);
                }
                if pipe.released && !pipe.ends && !other.released {
                    assert!(other.reset.is_some(), "stream {id}: nobody told that it was given up");
                }
            }
        }
    }
}
