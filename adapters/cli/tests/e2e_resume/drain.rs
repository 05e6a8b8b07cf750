//! Relays that are told to stop.

use core::time::Duration;
use std::time::Instant;

use crate::load::{Load, alone, limits, report};
use crate::stage::Stage;
use crate::support::{in_time, trail, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_stops_is_left_by_both_ends_without_loss() {
    let _alone = alone().await;
    let stage = Stage::set(2, false).await;
    let load = Load::start(&stage, Duration::from_secs(8)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let leaving = stage.in_use().await;
    let relay = &stage.relays[leaving].process;
    let asked = Instant::now();
    relay.signal("TERM");
    assert_eq!(relay.ended().await, 0);
    let took = asked.elapsed();
    eprintln!("the relay was left after {took:.1?}");
    // Both ends were told and left: it did not have to end their links when its 10 s were over.
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(!relay.log().iter().any(|line| line.contains("ending the links")), "some had to be ended");
    assert_ne!(stage.in_use().await, leaving);
    within(async { while trail(&stage.host_data(), "relay drained").await.is_empty() {} }).await;
    let all = in_time(Duration::from_secs(60), load.complete()).await;
    let waits: Vec<_> =
        all.iter().filter_map(|stream| Some((stream.kind, stream.stall(asked, Duration::from_secs(6))?))).collect();
    let (most, most_prompt) = limits(Duration::from_secs(1), &[asked], &all);
    let (all, prompt) = report("drain", &waits);
    assert!(all <= most && prompt <= most_prompt, "half of the streams waited for longer: {all:?}, {prompt:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_relay_at_once() {
    let stage = Stage::set(1, false).await;
    let relay = &stage.relays[0].process;
    relay.signal("TERM");
    relay.logged("stopping; once more stops at once").await;
    let asked = Instant::now();
    relay.signal("TERM");
    assert_eq!(relay.ended().await, 130);
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_wait_for_nothing_where_nothing_happens() {
    // The yardstick of the other tests.
    let _alone = alone().await;
    let stage = Stage::set(1, true).await;
    let started = Instant::now();
    let load = Load::start(&stage, Duration::from_secs(3)).await;
    let all = in_time(Duration::from_secs(60), load.complete()).await;
    let waits: Vec<_> =
        all.iter().filter_map(|stream| Some((stream.kind, stream.stall(started, Duration::from_secs(3))?))).collect();
    let (all, prompt) = report("calm", &waits);
    let most = Duration::from_secs(1);
    assert!(all < most && prompt < most, "{all:?}, {prompt:?} without a reason");
}
