//! Bodies of every size, and many at once.

use core::time::Duration;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::support::client::Http;
use crate::support::service::{CROWD, Site, content_hash};
use crate::support::{World, in_time, rss_peak};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_bodies_arrive_whole_both_ways() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;
    let mut http = Http::to(forward.address).await;
    for len in [0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
        let head = http.get(&format!("/bytes/{len}")).await;
        assert_eq!(http.body_hash(&head).await, (len, content_hash(len)), "down");
        assert_eq!(http.upload("/hash", len).await, format!("{len} {}", content_hash(len)), "up");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_each_way_arrives_whole_and_no_process_holds_much_of_it() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;
    let expected = tokio::task::spawn_blocking(|| content_hash(GIB)).await.unwrap();
    let mut http = Http::to(forward.address).await;

    let started = Instant::now();
    let down = async {
        let head = http.get(&format!("/bytes/{GIB}")).await;
        http.body_hash(&head).await
    };
    assert_eq!(in_time(Duration::from_secs(170), down).await, (GIB, expected.clone()), "down");
    eprintln!("1 GiB down took {:.1?}", started.elapsed());

    let started = Instant::now();
    let answer = in_time(Duration::from_secs(170), http.upload("/hash", GIB)).await;
    assert_eq!(answer, format!("{GIB} {expected}"), "up");
    eprintln!("1 GiB up took {:.1?}", started.elapsed());

    for (role, pid) in [("relay", world.relay.pid()), ("host", world.host.pid()), ("device", forward.process.pid())] {
        let peak = rss_peak(pid);
        eprintln!("the {role} held at most {:.1} MiB", peak as f64 / MIB as f64);
        assert!(peak < 64 * MIB, "the {role} held {peak} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_are_under_way_at_once() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;
    let address = forward.address;
    let mut requests = JoinSet::new();
    for number in 0..CROWD {
        requests.spawn(async move {
            let mut http = Http::to(address).await;
            // The service answers none before all of them have arrived.
            let head = http.get(&format!("/meet/{number}")).await;
            let body = String::from_utf8(http.body(&head).await).unwrap();
            assert_eq!((head.status, body), (200, format!("you are {number}")));
        });
    }
    let mut answered = 0;
    while let Some(answer) = requests.join_next().await {
        answer.unwrap();
        answered += 1;
    }
    assert_eq!(answered, CROWD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_streams_wait_their_turn() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;
    let address = forward.address;
    let mut requests = JoinSet::new();
    for number in 0..600 {
        requests.spawn(async move {
            let mut http = Http::to(address).await;
            let head = http.get(&format!("/bytes/{number}")).await;
            assert_eq!(http.body_hash(&head).await, (number, content_hash(number)));
        });
    }
    let mut answered = 0;
    while let Some(answer) = requests.join_next().await {
        answer.unwrap();
        answered += 1;
    }
    assert_eq!(answered, 600);
}
