//! Many services, many devices: none in another's way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw::echo;
use crate::support::client::{Http, curled};
use crate::support::service::{Site, acceptor, content, content_hash, echo_service};
use crate::support::{Forward, World, within};

/// More than any window between the ends.
const MUCH: u64 = 24 << 20;

async fn download(forward: &Forward) {
    let mut http = Http::to(forward.address).await;
    let head = http.get(&format!("/bytes/{MUCH}")).await;
    assert_eq!(http.body_hash(&head).await, (MUCH, content_hash(MUCH)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_services_and_devices_work_at_once() {
    let (one, two) = (Site::start().await, Site::start().await);
    let raw = format!("tcp://{}", echo_service().await);
    let world = World::start(&[("one", one.url()), ("two", two.url()), ("raw", raw)]).await;
    let (first, second) = (world.pair().await, world.pair().await);
    assert_ne!(first.id, second.id);
    for device in [&first, &second] {
        let services = device.paired["services"].as_array().expect("services");
        assert_eq!(services.len(), 3, "{}", device.paired);
    }
    let forwards = [
        (first.forward("one").await, first.forward("two").await, first.forward("raw").await),
        (second.forward("one").await, second.forward("two").await, second.forward("raw").await),
    ];
    let all = forwards.iter().map(async |(web, other, raw)| {
        let shown = async {
            for _ in 0..20 {
                let shown = curled(&[&other.url("/show")]).await;
                assert!(shown.contains(&two.address.to_string()), "{shown}");
            }
        };
        tokio::join!(download(web), shown, echo(raw, 5 << 20));
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_up_neither_its_device_nor_another() {
    let site = Site::start().await;
    let (address, mut sockets) = acceptor().await;
    let world = World::start(&[("web", site.url()), ("lazy", format!("tcp://{address}"))]).await;
    let (first, second) = (world.pair().await, world.pair().await);
    let (forward, other) = (first.forward("web").await, second.forward("web").await);
    let lazy = first.forward("lazy").await;

    // Downloads that nobody reads, and an upload that nobody takes.
    let mut slow = Http::to(forward.address).await;
    slow.get(&format!("/bytes/{}", 1_u64 << 40)).await;
    let mut slow_too = Http::to(forward.address).await;
    slow_too.get(&format!("/bytes/{MUCH}")).await;
    let mut stuck = TcpStream::connect(lazy.address).await.unwrap();
    let mut service = within(sockets.recv()).await.unwrap();
    let mut put = 0;
    for piece in content(MUCH) {
        let writing = tokio::time::timeout(core::time::Duration::from_secs(1), stuck.write_all(&piece));
        match writing.await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        put += 1;
    }
    assert!(put < content(MUCH).count(), "nothing is held up: all of it is in someone's memory");

    tokio::join!(download(&forward), download(&other));

    // The slow ones still have all that is theirs.
    let expected: Vec<u8> = content(MUCH).flatten().collect();
    let mut got = vec![0; MUCH as usize];
    within(slow.read.read_exact(&mut got)).await.unwrap();
    assert!(got == expected, "the slow download is damaged");
    within(slow_too.read.read_exact(&mut got)).await.unwrap();
    assert!(got == expected, "the slow download is damaged");
    let mut got = vec![0; put * 65536];
    within(service.read_exact(&mut got)).await.unwrap();
    assert!(got == expected[..got.len()], "the slow upload is damaged");
}
