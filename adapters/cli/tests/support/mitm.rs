//! A relay's worst friend: stands between the endpoints and the relay, understands the outer frames,
//! keeps what it sees, and does harm to the messages inside.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared, and each test file uses its part")]

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const REGISTER: u8 = 0x81;
const OPENED: u8 = 0x8a;
const DATA: u8 = 0x8b;
const RECORD: u8 = 0x10;

/// Where a message of a device's link goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToHost,
    ToDevice,
}

/// The harm done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// One bit, in the middle.
    Flip,
    /// One bit of the counter.
    FlipHeader,
    /// The message is lost.
    Drop,
    /// It comes twice.
    Repeat,
    /// It comes after the next one.
    Swap,
    /// Half of it is lost.
    Truncate,
    /// A message of the attacker's comes before it, with the counter that is expected.
    Inject,
    /// The connection is closed in front of it, as if all had been said.
    Cut,
}

impl Blow {
    pub const ALL: [Self; 8] =
        [Self::Flip, Self::FlipHeader, Self::Drop, Self::Repeat, Self::Swap, Self::Truncate, Self::Inject, Self::Cut];
}

/// What message to hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The handshake's message.
    Handshake,
    /// A record, after so many of its way.
    Record(usize),
}

#[derive(Clone, Copy, Debug)]
struct Attack {
    way: Way,
    target: Target,
    blow: Blow,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Option<Attack>>,
    blows: AtomicUsize,
    seen: Mutex<Seen>,
    /// Whether the channel's id is to be swapped for another.
    other_channel: Mutex<bool>,
}

/// What the relay could read, as a whole.
#[derive(Default, Clone)]
pub struct Seen {
    /// Requests and answers that open the WebSockets.
    pub heads: Vec<u8>,
    /// Messages on hosts' links, unmasked, one after the other.
    pub host_links: Vec<u8>,
    /// Messages on devices' links.
    pub device_links: Vec<u8>,
    /// Bodies of DATA alone, so that what spans messages is found too: to the relay, and from it.
    pub bodies: [Vec<u8>; 2],
}

impl Seen {
    /// Whether these bytes were anywhere in what the relay saw.
    pub fn holds(&self, needle: &[u8]) -> bool {
        let hay = [&self.heads, &self.host_links, &self.device_links, &self.bodies[0], &self.bodies[1]];
        hay.iter().any(|hay| hay.windows(needle.len()).any(|window| window == needle))
    }
}

pub struct Mitm {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Mitm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mitm {
    /// In front of the relay at `relay`.
    pub async fn start(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = ours.clone();
                tokio::spawn(async move {
                    let _ = link(client, relay, shared).await;
                });
            }
        });
        Self { address, shared, task }
    }

    /// Does this to the next such message of a device's link, once.
    pub fn arm(&self, way: Way, target: Target, blow: Blow) {
        *self.shared.plan.lock().unwrap() = Some(Attack { way, target, blow });
    }

    /// Tells the next device of another channel than the host's.
    pub fn arm_other_channel(&self) {
        *self.shared.other_channel.lock().unwrap() = true;
    }

    /// How often it did harm.
    pub fn blows(&self) -> usize {
        self.shared.blows.load(Ordering::SeqCst)
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn link(client: TcpStream, relay: SocketAddr, shared: Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(relay).await?;
    for tcp in [&client, &server] {
        tcp.set_nodelay(true)?;
    }
    let (client_in, mut client_out) = client.into_split();
    let (server_in, mut server_out) = server.into_split();
    let (mut client_in, mut server_in) = (BufReader::new(client_in), BufReader::new(server_in));
    copy_head(&mut client_in, &mut server_out, &shared).await?;
    copy_head(&mut server_in, &mut client_out, &shared).await?;
    let host = Arc::new(OnceLock::new());
    let up = Pump { shared: shared.clone(), way: Way::ToHost, host: host.clone(), held: None, left: None };
    let down = Pump { shared, way: Way::ToDevice, host, held: None, left: None };
    // The first to end takes the other with it: both sockets close.
    tokio::select! {
        ended = up.run(client_in, server_out) => ended,
        ended = down.run(server_in, client_out) => ended,
    }
}

async fn copy_head(
    from: &mut BufReader<OwnedReadHalf>,
    to: &mut OwnedWriteHalf,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    shared.seen.lock().unwrap().heads.extend_from_slice(&head);
    to.write_all(&head).await
}

struct Pump {
    shared: Arc<Shared>,
    way: Way,
    /// Whether this is a host's link: what the client said first.
    host: Arc<OnceLock<bool>>,
    held: Option<Vec<u8>>,
    /// Records to let pass before the blow, once the plan is known.
    left: Option<usize>,
}

impl Pump {
    async fn run(mut self, mut from: BufReader<OwnedReadHalf>, mut to: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let (first, message) = read_frame(&mut from).await?;
            let Some(messages) = (if first == 0x82 { self.pass(message) } else { Some(vec![message]) }) else {
                return Ok(());
            };
            for message in messages {
                write_frame(&mut to, first, &message, self.way == Way::ToHost).await?;
            }
        }
    }

    /// What goes on in place of `message`; nothing where the link is to end.
    fn pass(&mut self, mut message: Vec<u8>) -> Option<Vec<Vec<u8>>> {
        let kind = message.first().copied().unwrap_or_default();
        if self.way == Way::ToHost {
            self.host.get_or_init(|| kind == REGISTER);
        }
        let on_host_link = self.host.get().copied().unwrap_or(false);
        self.record(&message, on_host_link);
        if on_host_link {
            return Some(vec![message]);
        }
        if kind == OPENED && core::mem::take(&mut *self.shared.other_channel.lock().unwrap()) {
            message[5] ^= 1;
            self.shared.blows.fetch_add(1, Ordering::SeqCst);
        }
        if kind != DATA {
            return Some(vec![message]);
        }
        if let Some(held) = self.held.take() {
            return Some(vec![message, held]);
        }
        match self.blow(message[5]) {
            Some(blow) => self.strike(blow, message),
            None => Some(vec![message]),
        }
    }

    fn record(&self, message: &[u8], on_host_link: bool) {
        let mut seen = self.shared.seen.lock().unwrap();
        if on_host_link { &mut seen.host_links } else { &mut seen.device_links }.extend_from_slice(message);
        if message.first() == Some(&DATA) {
            let way = usize::from(self.way == Way::ToDevice);
            seen.bodies[way].extend_from_slice(&message[5..]);
        }
    }

    /// The blow that this message is to get.
    fn blow(&mut self, kind: u8) -> Option<Blow> {
        let mut plan = self.shared.plan.lock().unwrap();
        let attack = plan.filter(|attack| attack.way == self.way)?;
        match attack.target {
            Target::Handshake if kind != RECORD => {}
            Target::Record(after) if kind == RECORD => {
                let left = self.left.get_or_insert(after);
                if *left > 0 {
                    *left -= 1;
                    return None;
                }
                self.left = None;
            }
            _ => return None,
        }
        *plan = None;
        self.shared.blows.fetch_add(1, Ordering::SeqCst);
        Some(attack.blow)
    }

    fn strike(&mut self, blow: Blow, mut message: Vec<u8>) -> Option<Vec<Vec<u8>>> {
        let middle = (5 + message.len()) / 2;
        match blow {
            Blow::Flip => message[middle] ^= 0x10,
            Blow::FlipHeader => message[5 + 4] ^= 1,
            Blow::Drop => return Some(Vec::new()),
            Blow::Repeat => return Some(vec![message.clone(), message]),
            Blow::Swap => {
                self.held = Some(message);
                return Some(Vec::new());
            }
            Blow::Truncate => message.truncate(middle),
            Blow::Inject => {
                let mut forged = message.clone();
                forged[5 + 12..].iter_mut().for_each(|byte| *byte ^= 0x5a);
                return Some(vec![forged, message]);
            }
            Blow::Cut => return None,
        }
        Some(vec![message])
    }
}

async fn read_frame(from: &mut BufReader<OwnedReadHalf>) -> io::Result<(u8, Vec<u8>)> {
    let [first, second] = [from.read_u8().await?, from.read_u8().await?];
    let len = match second & 0x7f {
        126 => from.read_u16().await?.into(),
        127 => usize::try_from(from.read_u64().await?).unwrap(),
        len => len.into(),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        from.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; len];
    from.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((first, payload))
}

/// A whole frame; a client's has a mask, here of zeros.
pub async fn write_frame(
    to: &mut (impl AsyncWriteExt + Unpin),
    first: u8,
    payload: &[u8],
    masked: bool,
) -> io::Result<()> {
    to.write_all(&frame(first, payload, masked)).await
}

/// The bytes of a WebSocket frame.
pub fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(mask | u8::try_from(len).unwrap()),
        len => {
            bytes.push(mask | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    if masked {
        bytes.extend([0; 4]);
    }
    bytes.extend_from_slice(payload);
    bytes
}
