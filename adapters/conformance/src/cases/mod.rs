//! What every device, host and relay must do together, whatever each of them runs on.

mod cluster;
mod links;
mod pairing;
mod streams;

use core::panic::AssertUnwindSafe;
use std::io::Write;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use homing_core::handshake::Suite;
use homing_driver::device::Opener;
use homing_driver::relay::{ClientTls, DIAL_TIMEOUT, DialError, RelayUrl};

use crate::device::{Calling, Device};
use crate::host::{Host, Wish};
use crate::relay::RunningRelay;
use crate::runtime::Runtime;
use crate::{PATIENCE, Wire};

type Case = fn();

/// Every case by its name.
fn cases<D: Runtime, H: Runtime, R: Runtime>() -> [(&'static str, Case); 15] {
    [
        ("a device pairs and comes back", pairing::pairing::<D, H, R>),
        ("a device that is revoked is out, and stays out", pairing::revocation::<D, H, R>),
        ("TLS trusts the right relay only", pairing::tls::<D, H, R>),
        ("a TCP service is reached", streams::service::<D, H, R>),
        ("an echo holds back who does not read", streams::back_pressure::<D, H, R>),
        ("each way ends by itself", streams::half_close::<D, H, R>),
        ("a reset says why, either way", streams::reset::<D, H, R>),
        ("a stream that is dropped is cancelled", streams::cancel_stream::<D, H, R>),
        ("a read that is dropped loses nothing", streams::cancel_read::<D, H, R>),
        ("a call that is dropped goes on with the next", links::cancel_call::<D, H, R>),
        ("streams go on after the device's link was cut", links::resume_device::<D, H, R>),
        ("streams go on after the host's link was cut", links::resume_host::<D, H, R>),
        ("a relay that says nothing is left in time", links::timeout::<D, H, R>),
        ("a relay that drains is left by both", links::drain::<D, H, R>),
        ("a relay of a cluster sends both ends on", cluster::redirect::<D, H, R>),
    ]
}

/// Runs every case at once: most of them wait. Panics where one failed.
pub fn check<D: Runtime, H: Runtime, R: Runtime>() {
    let pair = format!("{} device, {} host, {} relay", D::NAME, H::NAME, R::NAME);
    let running = cases::<D, H, R>().map(|(name, case)| {
        let label = format!("{pair}: {name}");
        let thread = std::thread::Builder::new().name(label.clone());
        let run = move || {
            let since = Instant::now();
            let passed = catch_unwind(AssertUnwindSafe(case)).is_ok();
            let verdict = if passed { "ok" } else { "FAILED" };
            let line = format!("{label}: {verdict}, {:.1} s\n", since.elapsed().as_secs_f64());
            // Past the capture of the test harness: whoever runs it sees which pairs ran.
            let _ = std::io::stderr().write_all(line.as_bytes());
            passed
        };
        (name, thread.spawn(run).unwrap())
    });
    let done = running.map(|(name, run)| (name, run.join().unwrap()));
    let failed: Vec<_> = done.into_iter().filter(|(_, passed)| !passed).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "{pair}: {failed:?}");
}

/// A connection that nobody answers is given up in time; no pair is needed for that.
pub fn dial_timeout<D: Runtime>() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url: RelayUrl = format!("ws://{}", silent.local_addr().unwrap()).parse().unwrap();
    let since = Instant::now();
    let refused = D::run(async move { D::dial(&url, &ClientTls::system()).await.err() });
    assert!(matches!(refused, Some(DialError::Timeout { .. })), "{}: {refused:?}", D::NAME);
    assert!(since.elapsed() >= DIAL_TIMEOUT && since.elapsed() < PATIENCE, "{}: {:?}", D::NAME, since.elapsed());
}

/// A relay, a host, and a device that has just been paired.
struct World {
    relay: RunningRelay,
    host: Host,
    device: Device,
    calling: Calling,
    opener: Opener,
}

impl World {
    fn start<D: Runtime, H: Runtime, R: Runtime>(suite: Suite) -> Self {
        let relay = RunningRelay::start::<R>(None);
        let url = relay.url.clone();
        Self::between::<D, H>(relay, &url, &url, suite)
    }

    /// Device and host each reach the relay by a URL of their own.
    fn between<D: Runtime, H: Runtime>(relay: RunningRelay, near: &RelayUrl, far: &RelayUrl, suite: Suite) -> Self {
        let host = Host::start::<H>(far, ClientTls::system(), suite);
        let (device, calling) = Device::pair::<D>(near, ClientTls::system(), &host.ticket);
        let opener = calling.opener();
        Self { relay, host, device, calling, opener }
    }

    /// A wire that runs from the device to the relay, or from the host.
    fn wired<D: Runtime, H: Runtime, R: Runtime>(of_host: bool) -> (Self, Wire) {
        let relay = RunningRelay::start::<R>(None);
        let (url, wire) = (relay.url.clone(), Wire::lay(&relay.url));
        let (near, far) = if of_host { (&url, &wire.url) } else { (&wire.url, &url) };
        (Self::between::<D, H>(relay, near, far, Suite::Classic), wire)
    }

    /// Ends the call that paired, whose session ends with its link, and calls again.
    fn call_anew<D: Runtime>(&mut self, url: &RelayUrl) {
        let (opener, calling) = (self.opener.clone(), &mut self.calling);
        opener.close();
        assert!(matches!(calling.wait(), homing_driver::Ended::Asked));
        (self.opener, self.calling) = self.device.reach::<D>(url);
    }

    fn close(self) {
        self.calling.close(&self.opener);
    }
}

/// Opens a stream that asks the host for something.
async fn ask<D: Runtime>(opener: &Opener, wish: Wish) -> D::Tunnel {
    let mut stream = D::tunnel(opener.open().unwrap());
    stream.write_all(&[wish.byte()]).await.unwrap();
    stream
}

async fn echo<D: Runtime>(opener: &Opener, len: usize) {
    let stream = ask::<D>(opener, Wish::Echo).await;
    carry(stream, len).await;
}

/// Sends bytes both ways through an echo, and both ends.
async fn carry(stream: impl futures_io::AsyncRead + futures_io::AsyncWrite + Unpin, len: usize) {
    let (mut read, mut write) = stream.split();
    let sent = pattern(len);
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.close().await.unwrap();
    };
    let (got, ()) = join(all_of(&mut read), writing).await;
    assert!(got == sent, "{} of {len} bytes, or others", got.len());
}

/// Reads until the end.
async fn all_of(from: &mut (impl futures_io::AsyncRead + Unpin)) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        match from.read(&mut part).await.unwrap() {
            0 => return all,
            len => all.extend(&part[..len]),
        }
    }
}

/// Runs what a test does with streams, which need no runtime, and ends it where it takes too long.
fn within<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("not done in {PATIENCE:?}");
    };
    smol::block_on(smol::future::or(future, late))
}

/// Bytes that show where they were lost or swapped.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

/// The reason of a stream's error.
fn reason(error: &std::io::Error) -> Option<homing_driver::StreamError> {
    error.get_ref().and_then(|inner| inner.downcast_ref()).copied()
}

/// A certificate for `localhost` and its key in files, and who trusts it.
fn certificate(dir: &std::path::Path) -> (homing_relay::TlsFiles, impl Fn() -> ClientTls + use<>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let trusted = Arc::new(cert.clone());
    (homing_relay::TlsFiles { cert, key }, move || ClientTls::trusting(trusted.as_path()))
}
