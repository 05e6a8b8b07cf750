//! TLS over a pipe in memory that gives and takes as little as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::{join, select};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use homing_driver::relay::ServerTls;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, RootCertStore, ServerConnection, SupportedProtocolVersion};
use rustls_pki_types::ServerName;

use super::*;

#[derive(Debug, Default)]
struct Way {
    bytes: VecDeque<u8>,
    closed: bool,
    wakers: Vec<Waker>,
}

impl Way {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// One end of a pipe that carries at most `step` bytes at a time, and holds `room`.
#[derive(Clone, Debug)]
struct End {
    from: Arc<Mutex<Way>>,
    to: Arc<Mutex<Way>>,
    step: usize,
    room: usize,
}

fn pipe(step: usize, room: usize) -> (End, End) {
    let (a, b) = (Arc::<Mutex<Way>>::default(), Arc::<Mutex<Way>>::default());
    (End { from: a.clone(), to: b.clone(), step, room }, End { from: b, to: a, step, room })
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut way = self.from.lock().unwrap();
        let len = way.bytes.len().min(buf.len()).min(self.step);
        if len == 0 && !way.closed && !buf.is_empty() {
            way.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        for (to, byte) in buf.iter_mut().zip(way.bytes.drain(..len)) {
            *to = byte;
        }
        way.wake();
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut way = self.to.lock().unwrap();
        if way.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = buf.len().min(self.step).min(self.room.saturating_sub(way.bytes.len()));
        if len == 0 {
            way.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        way.bytes.extend(&buf[..len]);
        way.wake();
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut way = self.to.lock().unwrap();
        way.closed = true;
        way.wake();
        Poll::Ready(Ok(()))
    }
}

type Ends = (io::Result<TlsStream<End>>, io::Result<TlsStream<End>>);

fn handshake(ends: (End, End), name: &str) -> Ends {
    handshake_by(rustls::DEFAULT_VERSIONS, ends, name)
}

fn handshake_by(versions: &[&'static SupportedProtocolVersion], (client, server): (End, End), name: &str) -> Ends {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_protocol_versions(versions).unwrap().with_root_certificates(trusted);
    let shown = ServerTls::from_files(&cert, &key).unwrap().config();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config.with_no_client_auth()), name).unwrap();
    let connecting = TlsStream::handshake(connection, client);
    let accepting = TlsStream::handshake(ServerConnection::new(shown).unwrap(), server);
    smol::block_on(join(connecting, accepting))
}

fn ends(step: usize, room: usize) -> (TlsStream<End>, TlsStream<End>) {
    let (client, server) = handshake(pipe(step, room), "localhost");
    (client.unwrap(), server.unwrap())
}

/// As `read_to_end`, which clears a buffer of the size of it all each time that it has to wait.
async fn all_of(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut all, mut part) = (Vec::new(), [0; 2048]);
    loop {
        match from.read(&mut part).await? {
            0 => return Ok(all),
            len => all.extend(&part[..len]),
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn bytes_pass_and_each_way_ends_by_itself_however_few_at_a_time() {
    let pipes = [(1, 1), (7, 7), (1, 4096), (100, 300), (65_536, 65_536)];
    for (version, (step, room)) in [&TLS12, &TLS13].into_iter().flat_map(|v| pipes.map(|pipe| (v, pipe))) {
        let (client, server) = handshake_by(&[version], pipe(step, room), "localhost");
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!((client.version(), server.version()), (Some(version.version), Some(version.version)));
        let sent = pattern(50_000);
        smol::block_on(async {
            let asking = async {
                client.write_all(&sent).await.unwrap();
                client.close().await.unwrap();
                assert!(client.write_all(b"more").await.is_err(), "closed");
                assert_eq!(all_of(&mut client).await.unwrap(), b"heard");
            };
            let answering = async {
                assert!(all_of(&mut server).await.unwrap() == sent, "{step} at a time");
                server.write_all(b"heard").await.unwrap();
                server.close().await.unwrap();
            };
            join(asking, answering).await;
        });
    }
}

#[test]
fn much_passes_both_ways_at_once() {
    for (step, room) in [(1000, 1000), (65_536, 65_536)] {
        let (client, server) = ends(step, room);
        let sent = pattern(3_000_000);
        let talk = |stream: TlsStream<End>| async {
            let (mut read, mut write) = stream.split();
            let writing = async {
                write.write_all(&sent).await.unwrap();
                write.close().await.unwrap();
            };
            let (got, ()) = join(all_of(&mut read), writing).await;
            assert!(got.unwrap() == sent, "{step} at a time");
        };
        smol::block_on(join(talk(client), talk(server)));
    }
}

#[test]
fn an_end_that_nobody_announced_is_an_error() {
    let (mut client, mut server) = ends(65_536, 65_536);
    smol::block_on(async {
        server.write_all(b"half of it").await.unwrap();
        server.flush().await.unwrap();
        server.io().clone().close().await.unwrap();
        let mut got = Vec::new();
        let error = client.read_to_end(&mut got).await.unwrap_err();
        assert_eq!((error.kind(), &got[..]), (io::ErrorKind::UnexpectedEof, &b"half of it"[..]));
    });
}

#[test]
fn an_end_within_the_handshake_is_an_error() {
    let (near, far) = pipe(65_536, 65_536);
    far.to.lock().unwrap().closed = true;
    let (client, _) = handshake((near, pipe(1, 0).0.ended()), "localhost");
    assert_eq!(client.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

impl End {
    fn ended(self) -> Self {
        self.from.lock().unwrap().closed = true;
        self
    }
}

#[test]
fn a_certificate_of_another_name_is_refused_and_its_server_hears_why() {
    let (client, server) = handshake(pipe(65_536, 65_536), "elsewhere");
    let refused = client.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    assert!(refused.to_string().contains("certificate"), "{refused}");
    let heard = server.unwrap_err();
    assert!(heard.to_string().contains("alert"), "{heard}");
}

#[test]
fn what_nobody_reads_makes_writers_wait() {
    let (mut client, server) = ends(4096, 4096);
    let mut taken = 0;
    smol::block_on(async {
        let writing = core::pin::pin!(async {
            loop {
                taken += client.write(&[7; 16 * 1024]).await.unwrap();
            }
        });
        // Nothing else runs here: a writer that is asked once more after this has been left waiting.
        select(writing, core::pin::pin!(smol::future::yield_now())).await;
    });
    assert!((16 * 1024..=64 * 1024).contains(&taken), "{taken}");
    drop(server);
}

#[test]
fn bytes_that_were_tampered_with_are_refused() {
    let (mut client, mut server) = ends(65_536, 65_536);
    smol::block_on(async {
        server.write_all(b"true").await.unwrap();
        server.flush().await.unwrap();
        *client.io().from.lock().unwrap().bytes.back_mut().unwrap() ^= 1;
        let error = client.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    });
}
