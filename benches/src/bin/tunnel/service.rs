//! What stands behind the tunnels: a bulk service and a tiny keep-alive HTTP/1.1 server.

use core::net::SocketAddr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

pub(crate) const CHUNK: usize = 128 << 10;
/// Asks the bulk service to take bytes; a little-endian count follows.
pub(crate) const UPLOAD: u8 = b'u';
/// Asks it to send them.
pub(crate) const DOWNLOAD: u8 = b'd';
/// What every request is answered with.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
/// Length of the answer's body.
pub(crate) const BODY: usize = 13;

/// Both, listening until the program ends.
pub(crate) struct Service {
    pub(crate) bulk: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self { bulk: listen(bulk), http: listen(http) }
    }
}

/// A thread per connection; one that breaks ends its thread only.
fn listen(serve: fn(TcpStream) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn bulk(mut stream: TcpStream) -> std::io::Result<()> {
    let mut order = [0; 9];
    stream.read_exact(&mut order)?;
    let [what, count @ ..] = order;
    let count = u64::from_le_bytes(count);
    match what {
        UPLOAD => {
            let (mut chunk, mut taken) = (vec![0; CHUNK], 0);
            while taken < count {
                match stream.read(&mut chunk)? {
                    0 => break,
                    len => taken += len as u64,
                }
            }
            stream.write_all(&taken.to_le_bytes())
        }
        DOWNLOAD => {
            let (chunk, mut left) = (vec![0x5a; CHUNK], count);
            while left > 0 {
                let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                stream.write_all(&chunk[..len])?;
                left -= len as u64;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn http(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut line = Vec::with_capacity(256);
    loop {
        // A request ends with an empty line: those we are sent have no body.
        loop {
            line.clear();
            if requests.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line == b"\r\n" {
                break;
            }
        }
        stream.write_all(ANSWER)?;
    }
}
