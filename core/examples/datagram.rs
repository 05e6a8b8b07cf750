//! Sealed datagrams over UDP on loopback, through a network that loses, repeats and reorders.
//!
//! ```sh
//! cargo run -p homing-core --example datagram
//! ```
//!
//! A device and a host, a socket each, shake hands and then the device seals some thousand
//! datagrams. What they send passes [`Weather`], which also plays an attacker: it sends again what it
//! heard long ago, and after the handshake it forges. The host delivers each datagram at most once,
//! whatever comes. (A forged answer would cost the device a new handshake.)
#![allow(clippy::unwrap_used, reason = "an example that cannot go on stops")]

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Instant as Clock;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use homing_core::Instant;
use homing_core::crypto::{Identity, Portable, Psk};
use homing_core::handshake::{Door, HELLO_MAX, Keys, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::session::{Datagrams, Discard, Role, Session};
use homing_core::wire::{Frame, HEADER_LEN, MAX_RECORD, Params, Reader, Writer};

const MESSAGES: u64 = 5_000;
const CHANNEL: [u8; 16] = [0xc1; 16];
const ROUTE: [u8; 16] = [0x40; 16];

/// What happens on the way, the same each time.
struct Weather {
    random: u64,
    forges: bool,
    /// Datagrams that were held up, and how many others pass them.
    late: Vec<(u64, Vec<u8>)>,
    /// What the attacker has heard.
    heard: Vec<Vec<u8>>,
    lost: u64,
    repeated: u64,
    forged: u64,
}

impl Weather {
    const fn new(seed: u64, forges: bool) -> Self {
        Self { random: seed, forges, late: Vec::new(), heard: Vec::new(), lost: 0, repeated: 0, forged: 0 }
    }

    /// A number below `end` (splitmix64).
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % end
    }

    /// Takes a datagram and gives what comes out at the other end now.
    fn pass(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.heard.push(datagram.to_vec());
        let mut out = Vec::new();
        match self.below(100) {
            0..10 => self.lost += 1,
            10..30 => {
                let others = 1 + self.below(60);
                self.late.push((others, datagram.to_vec()));
            }
            30..40 => {
                self.repeated += 1;
                let others = 1 + self.below(60);
                self.late.push((others, datagram.to_vec()));
                out.push(datagram.to_vec());
            }
            _ => out.push(datagram.to_vec()),
        }
        if self.below(20) == 0 {
            self.repeated += 1;
            let old = self.below(self.heard.len() as u64);
            out.push(self.heard[old as usize].clone());
        }
        if self.forges && self.below(50) == 0 {
            self.forged += 1;
            let mut forged = datagram.to_vec();
            let place = self.below(forged.len() as u64);
            forged[place as usize] ^= 1 << self.below(8);
            out.push(forged);
        }
        for (others, _) in &mut self.late {
            *others -= 1;
        }
        out.extend(self.late.extract_if(.., |(others, _)| *others == 0).map(|(_, datagram)| datagram));
        out
    }

    /// What is still on its way.
    fn clear_up(&mut self) -> Vec<Vec<u8>> {
        self.late.drain(..).map(|(_, datagram)| datagram).collect()
    }
}

/// The core's time is any clock that does not go back.
fn now(began: Clock) -> Instant {
    Instant::ZERO + began.elapsed()
}

/// A datagram, if one is there.
fn receive<'b>(socket: &UdpSocket, buf: &'b mut [u8]) -> Option<&'b mut [u8]> {
    match socket.recv(buf) {
        Ok(len) => Some(&mut buf[..len]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("socket: {error}"),
    }
}

/// Two sockets that speak to each other only. Both wait a while for a datagram, and no longer.
fn sockets() -> [UdpSocket; 2] {
    let [device, host] = [(); 2].map(|()| UdpSocket::bind(("127.0.0.1", 0)).unwrap());
    device.connect(host.local_addr().unwrap()).unwrap();
    host.connect(device.local_addr().unwrap()).unwrap();
    for socket in [&device, &host] {
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    }
    [device, host]
}

/// The host's side of a handshake: the same first message always gets the same answer, since the
/// answer may have been lost.
struct Porter {
    identity: Identity,
    psk: Psk,
    answered: BTreeMap<Vec<u8>, Vec<u8>>,
    keys: Option<Keys>,
}

impl Porter {
    fn answer(&mut self, hello: &mut [u8]) -> Option<&[u8]> {
        let asked = hello.to_vec();
        if !self.answered.contains_key(&asked) && self.keys.is_none() {
            let mac1_key = host_mac1_key(self.identity.public());
            let door = Door { identity: &self.identity, mac1_key: &mac1_key, route: &ROUTE, weakest: Suite::Classic };
            // What is no hello of a paired device is dropped.
            let Ok(Knock::Connect(knock)) = hear(door, [], &CHANNEL, hello) else { return None };
            let mut reply = [0; REPLY_MAX];
            let (len, keys, _) = knock.reply(&self.psk, Params::default(), &mut UnwrapErr(SysRng), &mut reply).ok()?;
            self.keys = Some(keys);
            self.answered.insert(asked.clone(), reply[..len].to_vec());
        }
        self.answered.get(&asked).map(Vec::as_slice)
    }
}

/// Connects over the weather: the device repeats its first message until it is answered.
fn shake(device: &UdpSocket, host: &UdpSocket, weather: &mut Weather) -> ([Keys; 2], u32) {
    let rng = &mut UnwrapErr(SysRng);
    let (me, identity, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
    let (mut hello, mut buf, mut attempts) = ([0; HELLO_MAX], [0; MAX_RECORD], 0);
    // The classic suite: its messages fit a datagram anywhere.
    let kind = Kind::Connect { route: &ROUTE, psk: &psk };
    let (len, state) =
        start(Suite::Classic, kind, &CHANNEL, &me, identity.public(), Params::default(), rng, &mut hello).unwrap();
    let mut porter = Porter { identity, psk: psk.duplicate(), answered: BTreeMap::new(), keys: None };
    loop {
        attempts += 1;
        for datagram in weather.pass(&hello[..len]) {
            device.send(&datagram).unwrap();
        }
        while let Some(datagram) = receive(host, &mut buf) {
            if let Some(reply) = porter.answer(datagram) {
                for datagram in weather.pass(reply) {
                    host.send(&datagram).unwrap();
                }
            }
        }
        if let Some(reply) = receive(device, &mut buf) {
            let (keys, _) = state.read(reply).unwrap();
            return ([keys, porter.keys.unwrap()], attempts);
        }
    }
}

/// What the host made of all that came.
#[derive(Debug, Default)]
struct Tally {
    delivered: BTreeSet<u64>,
    overtaken: u64,
    replayed: u64,
    forged: u64,
    other: u64,
}

impl Tally {
    fn take(&mut self, session: &mut Session<Portable, Datagrams<Portable>>, now: Instant, datagram: &mut [u8]) {
        match session.open(now, datagram) {
            Ok(text) => {
                let Ok(Some(Frame::Datagram(data))) = Frame::parse(&mut Reader::new(text)) else {
                    panic!("the device sends nothing else")
                };
                let number = u64::from_le_bytes(data.try_into().unwrap());
                self.overtaken += u64::from(self.delivered.last().is_some_and(|last| number < *last));
                assert!(self.delivered.insert(number), "{number} was delivered twice");
            }
            Err(Discard::Replayed) => self.replayed += 1,
            Err(Discard::Forged) => self.forged += 1,
            // Late messages of the handshake, and headers that were forged to make no sense.
            Err(_) => self.other += 1,
        }
    }
}

pub(crate) fn main() {
    let began = Clock::now();
    let [device, host] = sockets();
    let mut weather = Weather::new(4, false);
    let ([device_keys, host_keys], attempts) = shake(&device, &host, &mut weather);
    let mut sealing = Session::<Portable, _>::datagrams(Role::Device, &device_keys, now(began));
    let mut opening = Session::datagrams(Role::Host, &host_keys, now(began));
    println!("connected after {attempts} first messages");

    let (mut weather, mut tally) = (Weather::new(8, true), Tally::default());
    let (mut record, mut buf) = ([0; 64], [0; MAX_RECORD]);
    host.set_nonblocking(true).unwrap();
    for number in 0..MESSAGES {
        let mut text = Writer::new(&mut record[HEADER_LEN..]);
        Frame::Datagram(&number.to_le_bytes()).emit(&mut text).unwrap();
        let len = text.len();
        let len = sealing.seal(now(began), &mut record, len).unwrap();
        for datagram in weather.pass(&record[..len]) {
            device.send(&datagram).unwrap();
        }
        while let Some(datagram) = receive(&host, &mut buf) {
            tally.take(&mut opening, now(began), datagram);
        }
    }
    for datagram in weather.clear_up() {
        device.send(&datagram).unwrap();
    }
    host.set_nonblocking(false).unwrap();
    while let Some(datagram) = receive(&host, &mut buf) {
        tally.take(&mut opening, now(began), datagram);
    }

    let delivered = tally.delivered.len() as u64;
    println!("on the way: {} lost, {} repeated, {} forged", weather.lost, weather.repeated, weather.forged);
    println!(
        "{delivered} of {MESSAGES} delivered, each once, {} of them late; dropped: {} replayed, {} forged, {} other",
        tally.overtaken, tally.replayed, tally.forged, tally.other
    );
    println!("{} ms", began.elapsed().as_millis());
    // The weather is always the same, but sockets may lose some more. What was lost may still come,
    // from the attacker.
    assert!((MESSAGES * 8 / 10..MESSAGES).contains(&delivered));
    assert!(tally.overtaken > MESSAGES / 10, "nothing was reordered");
    assert!(tally.replayed > MESSAGES / 10, "nothing was repeated");
    assert!(tally.forged + tally.other > MESSAGES / 100, "nothing was forged");
}
