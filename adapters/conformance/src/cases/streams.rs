//! Streams: held back, ended, reset, dropped; and the TCP service behind them.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::join;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use homing_core::handshake::Suite;
use homing_core::mux::reset;
use homing_driver::StreamError;

use super::{World, all_of, ask, carry, echo, pattern, reason, within};
use crate::PATIENCE;
use crate::device::forward;
use crate::host::{Told, Wish};
use crate::runtime::Runtime;

/// From a TCP client at the device to a TCP service at the host, both of threads.
pub(super) fn service<D: Runtime, H: Runtime, R: Runtime>() {
    let world = World::start::<D, H, R>(Suite::Classic);
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = service.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut tcp, _) = service.accept().unwrap();
        let mut all = Vec::new();
        tcp.read_to_end(&mut all).unwrap();
        tcp.write_all(&all).unwrap();
    });
    let (tell, told) = mpsc::channel();
    let opener = world.opener.clone();
    std::thread::spawn(move || D::run(forward::<D>(opener, at, move |address| tell.send(address).unwrap())));
    let mut client = TcpStream::connect(told.recv_timeout(PATIENCE).unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent = pattern(2_000_000);
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert!(got == sent, "{} bytes", got.len());
    world.close();
}

pub(super) fn back_pressure<D: Runtime, H: Runtime, R: Runtime>() {
    let world = World::start::<D, H, R>(Suite::Classic);
    within(async {
        let mut stream = ask::<D>(&world.opener, Wish::Echo).await;
        // Nobody reads: at some point no more is taken, and another stream passes all the same.
        let sent = pattern(64 << 20);
        let mut taken = 0;
        loop {
            let wait = async {
                smol::Timer::after(Duration::from_secs(1)).await;
                None
            };
            let write = async { Some(stream.write(&sent[taken..]).await.unwrap()) };
            match smol::future::or(write, wait).await {
                Some(len) => taken += len,
                None => break,
            }
            assert!(taken < sent.len(), "nothing holds the writer back");
        }
        assert!(taken > 100_000, "{taken}");
        echo::<D>(&world.opener, 100_000).await;
        let (mut read, mut write) = stream.split();
        let (got, closed) = join(all_of(&mut read), write.close()).await;
        closed.unwrap();
        assert!(got == sent[..taken], "{} of {taken} bytes, or others", got.len());
    });
    world.close();
}

pub(super) fn half_close<D: Runtime, H: Runtime, R: Runtime>() {
    let world = World::start::<D, H, R>(Suite::Classic);
    within(async {
        // The device's way first.
        let mut stream = ask::<D>(&world.opener, Wish::Echo).await;
        stream.write_all(b"before the end").await.unwrap();
        stream.close().await.unwrap();
        let error = stream.write(b"after it").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(all_of(&mut stream).await, b"before the end");
        // The host's way first: the device's goes on.
        let mut stream = ask::<D>(&world.opener, Wish::Count).await;
        assert_eq!(all_of(&mut stream).await, b"done");
        stream.write_all(&pattern(300_000)).await.unwrap();
        stream.close().await.unwrap();
    });
    assert!(matches!(world.host.told(), Told::Whole(300_000)));
    world.close();
}

pub(super) fn reset<D: Runtime, H: Runtime, R: Runtime>() {
    let world = World::start::<D, H, R>(Suite::Classic);
    within(async {
        let mut stream = ask::<D>(&world.opener, Wish::Reset).await;
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(reason(&error), Some(StreamError::Reset(Wish::CODE)));
        // The way out hears of it, too.
        poll_fn(|cx| match Pin::new(&mut stream).poll_write(cx, b"more") {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        })
        .await;
        // The other way, and others go on.
        let mut stream = world.opener.open().unwrap();
        stream.write_all(&[Wish::Count.byte()]).await.unwrap();
        assert_eq!(all_of(&mut stream).await, b"done");
        stream.abort(777);
        echo::<D>(&world.opener, 10).await;
    });
    let told = world.host.told();
    assert!(matches!(told, Told::Broken(Some(StreamError::Reset(777)))), "{told:?}");
    world.close();
}

pub(super) fn cancel_stream<D: Runtime, H: Runtime, R: Runtime>() {
    let world = World::start::<D, H, R>(Suite::Classic);
    within(async {
        let mut stream = ask::<D>(&world.opener, Wish::Count).await;
        assert_eq!(all_of(&mut stream).await, b"done");
        stream.write_all(b"half of it").await.unwrap();
        drop(stream);
        echo::<D>(&world.opener, 10).await;
    });
    let told = world.host.told();
    assert!(matches!(told, Told::Broken(Some(StreamError::Reset(reset::CANCELLED)))), "{told:?}");
    world.close();
}

pub(super) fn cancel_read<D: Runtime, H: Runtime, R: Runtime>() {
    let world = World::start::<D, H, R>(Suite::Classic);
    within(async {
        let mut stream = ask::<D>(&world.opener, Wish::Echo).await;
        let mut got = [0; 8];
        for _ in 0..100 {
            // Polled once and dropped, with its waker registered.
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_read(cx, &mut got))).await;
            assert!(polled.is_pending());
        }
        stream.write_all(&pattern(8)).await.unwrap();
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(got[..], pattern(8));
        carry(stream, 200_000).await;
    });
    world.close();
}
