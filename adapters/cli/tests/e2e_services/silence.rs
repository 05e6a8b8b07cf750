//! Peers that stop without a word.

use core::time::Duration;
use std::io::ErrorKind;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::service::acceptor;
use crate::support::{World, in_time, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_is_given_up() {
    // A relay is asked by both ends for signs of life; a host only by the device, through the relay.
    let silence = async |victim: &str, limit| {
        let (address, mut sockets) = acceptor().await;
        let mut world = World::start(&[("raw", format!("tcp://{address}"))]).await;
        world.keep(1).await;
        let device = world.pair().await;
        device.keep(1);
        let forward = device.forward("raw").await;
        let mut client = TcpStream::connect(forward.address).await.unwrap();
        let mut service = within(sockets.recv()).await.unwrap();
        client.write_all(b"part").await.unwrap();
        within(service.read_exact(&mut [0; 4])).await.unwrap();
        let silent = if victim == "relay" { &world.relay } else { &world.host };
        silent.signal("STOP");
        let since = Instant::now();
        let end = in_time(limit, client.read_u8()).await.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset, "the client, without its {victim}");
        eprintln!("given up the {victim} after {:.1?}", since.elapsed());
        if victim == "relay" {
            let end = within(service.read_u8()).await.unwrap_err();
            assert_eq!(end.kind(), ErrorKind::ConnectionReset, "the service, without its {victim}");
        }
    };
    tokio::join!(silence("relay", Duration::from_secs(45)), silence("host", Duration::from_secs(80)));
}
