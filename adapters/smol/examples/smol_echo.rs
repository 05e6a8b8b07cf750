//! A relay, a host that echoes, and a device that pairs, leaves and comes back, over loopback
//! sockets on smol. In earnest each is a program of its own, and the ticket a QR code.
#![allow(clippy::unwrap_used, reason = "an example that cannot go on stops")]

use core::future::pending;

use futures_util::{AsyncReadExt, AsyncWriteExt, future::join};
use homing_core::handshake::Suite;
use homing_driver::Clock;
use homing_driver::device::{Opener, Profile};
use homing_driver::host::{HostKeys, Registry};
use homing_relay::{Admission, RelayConfig, SmolRelay};
use homing_smol::{ClientTls, RelayUrl, SmolClock, TunnelStream, dial, endpoint_config};

async fn start_relay() -> RelayUrl {
    let config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
    let relay = SmolRelay::bind(config).await.unwrap();
    let url = format!("ws://{}", relay.local_addr()).parse().unwrap();
    smol::spawn(relay.run(pending())).detach();
    url
}

/// Keeps the host at its relay; every stream of every device is an echo.
async fn keep_host(host: Registry, relay: RelayUrl) {
    loop {
        let socket = dial(&relay, &ClientTls::system(), endpoint_config()).await.unwrap();
        let answer = |_device, stream: homing_driver::Stream| smol::spawn(echo(stream)).detach();
        let ended = host.serve(socket, &SmolClock, relay.authority(), answer).await;
        eprintln!("lost the relay: {ended}"); // in earnest: wait as homing_core::backoff says
    }
}

async fn echo(stream: TunnelStream) {
    let (mut read, mut write) = stream.split();
    if futures_util::io::copy(&mut read, &mut write).await.is_ok() {
        let _ = write.close().await; // an end is an end only where it was said
    }
}

/// One call of the device: says `text` on a stream, and returns what comes back.
async fn call(device: &Profile, relay: &RelayUrl, text: &[u8]) -> Vec<u8> {
    let socket = dial(relay, &ClientTls::system(), endpoint_config()).await.unwrap();
    let (calling, opening) = device.call(socket, SmolClock);
    let talking = async {
        let host: Opener = opening.await?;
        let (mut read, mut write) = host.open()?.split();
        let (mut answer, say) = (Vec::new(), async {
            write.write_all(text).await?;
            write.close().await
        });
        let (said, heard) = join(say, read.read_to_end(&mut answer)).await; // both at once: it may be much
        host.close();
        said.and(heard).ok().map(|_| answer)
    };
    let (ended, answer) = join(calling, talking).await;
    answer.unwrap_or_else(|| panic!("the call failed: {ended}"))
}

pub(crate) async fn run(texts: [&[u8]; 2]) -> [Vec<u8>; 2] {
    let relay = start_relay().await;
    let host = Registry::new(HostKeys::generate(), "echo host");
    smol::spawn(keep_host(host.clone(), relay.clone())).detach();
    host.reachable().await;
    let ticket = host.invite(relay.authority(), relay.is_plain(), Suite::Hybrid, SmolClock.now()).unwrap();
    let device = Profile::new(ticket, "laptop", 1);
    let [first, second] = texts;
    [call(&device, &relay, first).await, call(&device, &relay, second).await] // pairs, then connects
}

pub(crate) fn main() {
    println!("{:?}", smol::block_on(run([b"hello", b"hello again"])).map(|heard| heard.escape_ascii().to_string()));
}
