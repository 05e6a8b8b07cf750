//! A way to a relay that can go dark for one end: what it sends and what it is to get stays where it is, and nobody is
//! told. Connections that are made meanwhile are taken, and lead nowhere until there is light again.

use core::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Host,
    Device,
}

/// First byte of a host's first message.
const REGISTER: u8 = 0x81;

/// Stands in front of one relay.
pub(crate) struct Hole {
    pub(crate) address: SocketAddr,
    dark: watch::Sender<Option<End>>,
    task: JoinHandle<()>,
}

impl Drop for Hole {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hole {
    pub(crate) async fn start(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dark = watch::Sender::new(None);
        let seen = dark.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, relay, seen.clone()));
            }
        });
        Self { address, dark, task }
    }

    /// This end's network is gone.
    pub(crate) fn darken(&self, end: End) {
        self.dark.send_replace(Some(end));
    }

    /// It is back.
    pub(crate) fn lighten(&self) {
        self.dark.send_replace(None);
    }
}

async fn carry(client: TcpStream, relay: SocketAddr, dark: watch::Sender<Option<End>>) {
    // Who is dark cannot reach the relay, and nobody else dials anew meanwhile.
    let mut light = dark.subscribe();
    if light.wait_for(Option::is_none).await.is_err() {
        return;
    }
    let Ok(relay) = TcpStream::connect(relay).await else { return };
    client.set_nodelay(true).unwrap();
    relay.set_nodelay(true).unwrap();
    let whose = watch::Sender::new(None);
    let (client_read, client_write) = client.into_split();
    let (relay_read, relay_write) = relay.into_split();
    let up = tokio::spawn(pass(client_read, relay_write, dark.clone(), whose.clone(), true));
    let down = tokio::spawn(pass(relay_read, client_write, dark, whose, false));
    // Where one way ends the other has nothing more to carry.
    let (mut up, mut down) = (up, down);
    tokio::select! {
        _ = &mut up => down.abort(),
        _ = &mut down => up.abort(),
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    dark: watch::Sender<Option<End>>,
    whose: watch::Sender<Option<End>>,
    up: bool,
) {
    let mut buf = vec![0; 64 * 1024];
    let mut begin = Vec::new();
    let mut light = dark.subscribe();
    let is_mine = |dark: &Option<End>| dark.is_some() && *dark == *whose.borrow();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buf) => read.unwrap_or(0),
            // Nothing is read in the dark, not even an end.
            () = async { drop(light.wait_for(is_mine).await) } => {
                if light.wait_for(Option::is_none).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let part = &buf[..read];
        if up && whose.borrow().is_none() {
            begin.extend_from_slice(part);
            whose.send_replace(speaker(&begin));
        }
        if is_mine(&dark.borrow()) {
            let _ = light.wait_for(Option::is_none).await;
        }
        if read == 0 || to.write_all(part).await.is_err() {
            return;
        }
    }
}

/// Who speaks, from what a client has said so far: the first message follows the request.
fn speaker(seen: &[u8]) -> Option<End> {
    let head = seen.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    // A masked frame: two bytes, perhaps a longer length, the mask.
    let frame = &seen[head..];
    let extended = match frame.get(1)? & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = frame.get(2 + extended)?;
    let first = frame.get(2 + extended + 4)? ^ mask;
    Some(if first == REGISTER { End::Host } else { End::Device })
}
