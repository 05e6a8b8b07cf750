//! A man in the middle alters what passes between device and relay: it always shows, nothing wrong is delivered, and what
//! was right goes on through another link.

use core::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::mitm::{Blow, Target, Way};
use crate::plain::{self, Heard, hear, pattern};
use crate::scene::Scene;
use crate::support::{Device, Forward, within};

/// More than the windows hold, so that the middle is still to come when the blow falls.
const LEN: usize = 3_000_000;

/// Down the tunnel: the whole pattern, or the beginning of it and an error.
async fn download(address: SocketAddr) -> Heard {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    within(hear(&mut tcp)).await
}

/// All of it, once and in order, though its link was given up on the way.
async fn survived(heard: &Heard, forward: &Forward, blow: Blow) {
    assert!(
        heard.clean && heard.bytes == pattern(LEN),
        "{blow:?}: {} bytes, clean: {}",
        heard.bytes.len(),
        heard.clean
    );
    forward.process.logged("not connected").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_on_the_way_to_the_device_is_noticed_and_repaired() {
    let fountain = plain::fountain(LEN).await;
    let scene = Scene::start(&[("fountain", format!("tcp://{fountain}"))]).await;
    let device = scene.pair("device").await;
    for (number, blow) in Blow::ALL.into_iter().enumerate() {
        let forward = device.forward("fountain").await;
        scene.mitm.arm(Way::ToDevice, Target::Record(12), blow);
        let heard = download(forward.address).await;
        assert_eq!(scene.mitm.blows(), number + 1);
        survived(&heard, &forward, blow).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_on_the_way_to_the_host_is_noticed_and_repaired() {
    let (well, mut heard) = plain::well().await;
    let scene = Scene::start(&[("well", format!("tcp://{well}"))]).await;
    let device: Device = scene.pair("device").await;
    let all = pattern(LEN);
    for (number, blow) in Blow::ALL.into_iter().enumerate() {
        let forward = device.forward("well").await;
        scene.mitm.arm(Way::ToHost, Target::Record(12), blow);
        let mut tcp = TcpStream::connect(forward.address).await.unwrap();
        let (mut read, mut write) = tcp.split();
        let sending = async {
            write.write_all(&all).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let ((), answer) = within(async { tokio::join!(sending, hear(&mut read)) }).await;
        assert_eq!(scene.mitm.blows(), number + 1);
        assert_eq!((answer.clean, &*answer.bytes), (true, &b"!"[..]), "{blow:?}");
        survived(&within(heard.recv()).await.unwrap(), &forward, blow).await;
    }
}

/// In the handshake as well: no side goes on, and the next attempt gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_handshake_connects_nobody() {
    let fountain = plain::fountain(LEN).await;
    let scene = Scene::start(&[("fountain", format!("tcp://{fountain}"))]).await;
    let device = scene.pair("device").await;
    let mut blows = 0;
    for (way, blow) in [
        (Way::ToHost, Blow::Flip),
        (Way::ToHost, Blow::Truncate),
        (Way::ToHost, Blow::Repeat),
        (Way::ToHost, Blow::Inject),
        (Way::ToHost, Blow::Cut),
        (Way::ToDevice, Blow::Flip),
        (Way::ToDevice, Blow::Truncate),
        (Way::ToDevice, Blow::Inject),
        (Way::ToDevice, Blow::Cut),
    ] {
        scene.mitm.arm(way, Target::Handshake, blow);
        blows += 1;
        let failed = crate::support::run(&device.data, &["connect", "nest/fountain"]).await;
        assert_eq!(scene.mitm.blows(), blows, "{way:?} {blow:?}");
        // A lost attempt may be followed by one that succeeds; a refusal is told at once.
        match failed.code {
            0 => assert_eq!(failed.stdout.len(), String::from_utf8_lossy(&pattern(LEN)).len(), "{way:?} {blow:?}"),
            3 | 4 => assert!(failed.stdout.is_empty(), "{way:?} {blow:?}: {}", failed.stderr),
            _ => panic!("{way:?} {blow:?}: {failed}"),
        }
        let fine = crate::support::run(&device.data, &["connect", "nest/fountain"]).await;
        assert_eq!(fine.code, 0, "{way:?} {blow:?}: {}", fine.stderr);
    }
    // The pairing was never touched by any of it.
    assert_eq!(crate::scene::devices(&scene.host_data()).await.len(), 1);
}

/// A relay that splices channels: both ends bind the name of theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_names_another_channel_connects_nobody() {
    let fountain = plain::fountain(1000).await;
    let scene = Scene::start(&[("fountain", format!("tcp://{fountain}"))]).await;
    let device = scene.pair("device").await;
    scene.mitm.arm_other_channel();
    let forward = device.forward("fountain").await;
    let heard = within(async {
        loop {
            let heard = download(forward.address).await;
            if heard.clean {
                return heard;
            }
            assert!(heard.bytes.is_empty());
        }
    })
    .await;
    assert_eq!((scene.mitm.blows(), heard.bytes == pattern(1000)), (1, true));
}
