//! A man in the middle alters what passes between device and relay: it always shows, and nothing wrong is delivered.

use core::net::SocketAddr;
use core::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::mitm::{Blow, Target, Way};
use crate::plain::{self, Heard, hear, pattern};
use crate::scene::Scene;
use crate::support::{Device, Forward, in_time, within};

/// More than the windows hold, so that the middle is still to come when the blow falls.
const LEN: usize = 3_000_000;

/// Down the tunnel: the whole pattern, or the beginning of it and an error.
async fn download(address: SocketAddr) -> Heard {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    within(hear(&mut tcp)).await
}

fn is_honest(heard: &Heard, blow: Blow) {
    let all = pattern(LEN);
    assert!(heard.bytes.len() < LEN && !heard.clean, "{blow:?}: {} bytes, clean: {}", heard.bytes.len(), heard.clean);
    assert!(all.starts_with(&heard.bytes), "{blow:?}: something wrong was delivered");
}

/// Waits until the tunnel carries again.
async fn recovered(forward: &Forward, blow: Blow) {
    let again = async {
        loop {
            let heard = download(forward.address).await;
            if heard.clean {
                return heard;
            }
        }
    };
    let heard = in_time(Duration::from_secs(20), again).await;
    assert!(heard.bytes == pattern(LEN), "{blow:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_on_the_way_to_the_device_is_noticed() {
    let fountain = plain::fountain(LEN).await;
    let scene = Scene::start(&[("fountain", format!("tcp://{fountain}"))]).await;
    let device = scene.pair("device").await;
    for (number, blow) in Blow::ALL.into_iter().enumerate() {
        let forward = device.forward("fountain").await;
        scene.mitm.arm(Way::ToDevice, Target::Record(12), blow);
        let heard = download(forward.address).await;
        assert_eq!(scene.mitm.blows(), number + 1);
        is_honest(&heard, blow);
        recovered(&forward, blow).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_on_the_way_to_the_host_is_noticed() {
    let (well, mut heard) = plain::well().await;
    let fountain = plain::fountain(LEN).await;
    let exposed = [("well", format!("tcp://{well}")), ("fountain", format!("tcp://{fountain}"))];
    let scene = Scene::start(&exposed).await;
    let device: Device = scene.pair("device").await;
    let all = pattern(LEN);
    for (number, blow) in Blow::ALL.into_iter().enumerate() {
        let forward = device.forward("well").await;
        scene.mitm.arm(Way::ToHost, Target::Record(12), blow);
        let mut tcp = TcpStream::connect(forward.address).await.unwrap();
        let (read, mut write) = tcp.split();
        let mut read = read;
        let sending = async {
            if write.write_all(&all).await.is_ok() {
                let _ = write.shutdown().await;
            }
        };
        let (_, answer) = within(async { tokio::join!(sending, hear(&mut read)) }).await;
        assert_eq!(scene.mitm.blows(), number + 1);
        assert!(answer.bytes.is_empty() && !answer.clean, "{blow:?}: the client is told that all arrived");
        is_honest(&within(heard.recv()).await.unwrap(), blow);
        // The same tunnel carries again, up and down.
        let end = within(async {
            loop {
                let mut tcp = TcpStream::connect(forward.address).await.unwrap();
                // Where this fails, so does what follows.
                let _ = tcp.write_all(&all).await;
                let _ = tcp.shutdown().await;
                let answer = hear(&mut tcp).await;
                if answer.clean {
                    assert_eq!(answer.bytes, b"!");
                    break;
                }
            }
            loop {
                let end = heard.recv().await.unwrap();
                if end.clean {
                    return end;
                }
            }
        })
        .await;
        assert!(end.bytes == all, "{blow:?}");
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
