//! Hosts without a runtime: a link, and a stream to wait on. They count what they send and hear.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant as SystemInstant;

use homing_core::Instant;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{HostLink, MAX_CONTROL, WaitLink, host, wait};
use homing_driver::relay::events::{Event, EventReader};

/// What went over a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    /// Pieces that were written or read, each a message.
    pub(crate) messages: f64,
    pub(crate) bytes: f64,
}

impl Traffic {
    fn add(&mut self, bytes: usize) {
        self.messages += 1.0;
        self.bytes += bytes as f64;
    }

    /// With a record of TLS 1.3 and the headers of IPv4 and TCP with timestamps around each message, and such headers in
    /// each acknowledgement.
    pub(crate) fn on_the_wire(self) -> f64 {
        const RECORD: f64 = 22.0;
        const HEADERS: f64 = 52.0;
        self.bytes + self.messages * (RECORD + 2.0 * HEADERS)
    }
}

pub(crate) trait Idle: Sized {
    /// Registers at a relay.
    fn start(relay: SocketAddr) -> Self;
    /// Stays for so long, and counts from then on.
    fn stay(&mut self, time: Duration) -> Traffic;
}

fn now() -> Instant {
    static START: std::sync::OnceLock<SystemInstant> = std::sync::OnceLock::new();
    Instant::from_micros(START.get_or_init(SystemInstant::now).elapsed().as_micros().try_into().unwrap())
}

fn keys() -> (Identity, Secret<32>) {
    let mut source = File::open("/dev/urandom").unwrap();
    let mut secret = || {
        let mut bytes = [0; 32];
        source.read_exact(&mut bytes).unwrap();
        Secret::new(bytes)
    };
    (Identity::from_secret(&secret()), secret())
}

fn ask(relay: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(relay).unwrap();
    tcp.set_nodelay(true).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: {relay}\r\n{headers}\r\n").unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    tcp
}

/// Reads until `until`; none where nothing came.
fn read_until(tcp: &mut TcpStream, until: Instant, buf: &mut [u8]) -> Option<usize> {
    let left = until.since(now()).max(Duration::from_millis(1));
    tcp.set_read_timeout(Some(left)).unwrap();
    match tcp.read(buf) {
        Ok(0) => panic!("the relay hung up"),
        Ok(len) => Some(len),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A host with a link.
pub(crate) struct Attached {
    tcp: TcpStream,
    link: HostLink<1>,
    unread: Vec<u8>,
    traffic: Traffic,
}

impl Attached {
    fn say(&mut self) {
        let mut out = [0; MAX_CONTROL];
        while let Some(len) = self.link.poll_output(now(), &mut out) {
            // A binary frame whose mask changes nothing.
            let mut frame = vec![0x82];
            match u8::try_from(len) {
                Ok(short) if short < 126 => frame.push(0x80 | short),
                _ => frame.extend([0x80 | 126, (len >> 8) as u8, len as u8]),
            }
            frame.extend([0; 4]);
            frame.extend(&out[..len]);
            self.tcp.write_all(&frame).unwrap();
            self.traffic.add(frame.len());
        }
    }

    /// Hears what there is until then.
    fn hear(&mut self, until: Instant) {
        let mut buf = [0; 1024];
        let Some(len) = read_until(&mut self.tcp, until, &mut buf) else { return };
        self.traffic.add(len);
        self.unread.extend(&buf[..len]);
        // No message to an idle host is longer than a short frame.
        while let Some(len) = self.unread.get(1).map(|len| usize::from(*len) + 2)
            && self.unread.len() >= len
        {
            let frame: Vec<u8> = self.unread.drain(..len).collect();
            let event = self.link.handle(now(), &frame[2..]).unwrap();
            assert!(matches!(event, None | Some(host::Event::Registered { .. })));
        }
    }
}

impl Idle for Attached {
    fn start(relay: SocketAddr) -> Self {
        let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let tcp = ask(relay, "/homing/1", headers);
        let (route, key) = keys();
        let link = HostLink::new(&relay.to_string(), route, key.duplicate(), key, None, now()).unwrap();
        let mut host = Self { tcp, link, unread: Vec::new(), traffic: Traffic::default() };
        // Until the first round trip is measured: it is idle from there on.
        while host.link.round_trip().is_none() {
            host.hear(now() + Duration::from_secs(10));
            host.say();
        }
        host
    }

    fn stay(&mut self, time: Duration) -> Traffic {
        self.traffic = Traffic::default();
        let end = now() + time;
        while now() < end {
            let next = self.link.poll_timeout().map_or(end, |at| at.min(end));
            self.hear(next);
            self.link.handle_timeout(now()).unwrap();
            self.say();
        }
        self.traffic
    }
}

/// A host on demand.
pub(crate) struct Waiting {
    tcp: TcpStream,
    link: WaitLink,
    reader: EventReader,
    name: Box<str>,
    relay: SocketAddr,
    traffic: Traffic,
}

impl Waiting {
    fn hear(&mut self, until: Instant) {
        let mut buf = [0; 1024];
        let Some(len) = read_until(&mut self.tcp, until, &mut buf) else { return };
        self.traffic.add(len);
        self.link.heard(now());
        let mut bytes = &buf[..len];
        while let Some(event) = self.reader.read(&mut bytes).unwrap() {
            match event {
                Event::Link(name) => self.name = name,
                Event::Frame(frame) => {
                    let event = self.link.handle(now(), &frame).unwrap();
                    assert!(matches!(event, None | Some(wait::Event::Registered)));
                }
            }
        }
    }

    fn say(&mut self) {
        let mut out = [0; MAX_CONTROL];
        while let Some(len) = self.link.poll_output(&mut out) {
            let mut tcp = TcpStream::connect(self.relay).unwrap();
            let (relay, name) = (self.relay, &self.name);
            let head = format!(
                "POST /homing/1/events HTTP/1.1\r\nHost: {relay}\r\nAuthorization: Bearer {name}\r\n\
                 Content-Length: {len}\r\nConnection: close\r\n\r\n"
            );
            tcp.write_all(&[head.as_bytes(), &out[..len]].concat()).unwrap();
            let mut answer = Vec::new();
            tcp.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 204 "));
        }
    }
}

impl Idle for Waiting {
    fn start(relay: SocketAddr) -> Self {
        let tcp = ask(relay, "/homing/1/events", "Accept: text/event-stream\r\n");
        let (route, key) = keys();
        let link = WaitLink::new(&relay.to_string(), route, key.duplicate(), key, None, now()).unwrap();
        let (reader, name) = (EventReader::default(), "".into());
        let mut host = Self { tcp, link, reader, name, relay, traffic: Traffic::default() };
        while !host.link.is_registered() {
            host.hear(now() + Duration::from_secs(10));
            host.say();
        }
        host
    }

    fn stay(&mut self, time: Duration) -> Traffic {
        self.traffic = Traffic::default();
        let end = now() + time;
        while now() < end {
            self.hear(self.link.poll_timeout().map_or(end, |at| at.min(end)));
            self.link.handle_timeout(now()).unwrap();
        }
        self.traffic
    }
}
