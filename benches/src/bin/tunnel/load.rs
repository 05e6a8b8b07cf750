//! What goes through the tunnels.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use crate::service::{BODY, CHUNK, DOWNLOAD, UPLOAD};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

/// Sends `count` bytes through `to` and waits until the service has them all.
pub(crate) fn upload(to: SocketAddr, count: u64) -> Duration {
    let start = Instant::now();
    let mut stream = order(to, UPLOAD, count);
    let (chunk, mut left) = (vec![0x5a; CHUNK], count);
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&chunk[..len]).unwrap();
        left -= len as u64;
    }
    let mut taken = [0; 8];
    stream.read_exact(&mut taken).unwrap();
    assert_eq!(u64::from_le_bytes(taken), count, "bytes got lost");
    start.elapsed()
}

/// Takes `count` bytes through `from`.
pub(crate) fn download(from: SocketAddr, count: u64) -> Duration {
    let start = Instant::now();
    let mut stream = order(from, DOWNLOAD, count);
    let (mut chunk, mut taken) = (vec![0; CHUNK], 0);
    while taken < count {
        let len = stream.read(&mut chunk).unwrap();
        assert!(len > 0, "bytes got lost");
        taken += len as u64;
    }
    start.elapsed()
}

fn order(to: SocketAddr, what: u8, count: u64) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut order = vec![what];
    order.extend(count.to_le_bytes());
    stream.write_all(&order).unwrap();
    stream
}

/// Makes `requests` over so many connections at once, each kept alive.
pub(crate) fn requests(to: SocketAddr, connections: usize, requests: u64) -> Duration {
    let mut clients: Vec<_> = (0..connections).map(|_| Client::connect(to).unwrap()).collect();
    for client in &mut clients {
        client.request().unwrap(); // the connection's own costs are another figure
    }
    let each = requests / connections as u64;
    let start = Instant::now();
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(move || {
                for _ in 0..each {
                    client.request().unwrap();
                }
            });
        }
    });
    start.elapsed()
}

/// How long one of `requests` takes on a connection of its own, in microseconds.
pub(crate) fn median_wait(to: SocketAddr, requests: u64) -> f64 {
    let mut client = Client::connect(to).unwrap();
    let mut waits: Vec<_> = (0..requests)
        .map(|_| {
            let start = Instant::now();
            client.request().unwrap();
            start.elapsed()
        })
        .collect();
    waits.sort();
    waits[waits.len() / 2].as_nanos() as f64 / 1000.0
}

/// Whether a request gets its answer.
pub(crate) fn answers(to: SocketAddr) -> bool {
    Client::connect(to).and_then(|mut client| client.request()).is_ok()
}

struct Client {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
    line: String,
}

impl Client {
    fn connect(to: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, answers, line: String::new() })
    }

    fn request(&mut self) -> std::io::Result<()> {
        self.stream.write_all(REQUEST)?;
        let mut first = true;
        loop {
            self.line.clear();
            self.answers.read_line(&mut self.line)?;
            if first && !self.line.starts_with("HTTP/1.1 200") {
                return Err(std::io::Error::other(format!("answered {:?}", self.line)));
            }
            first = false;
            if self.line == "\r\n" {
                break;
            }
        }
        let mut body = [0; BODY];
        self.answers.read_exact(&mut body)
    }
}
