//! An end whose network is gone for half a minute, and nobody is told.

use core::time::Duration;
use std::time::Instant;

use crate::hole::End;
use crate::load::{Load, alone, limits, report};
use crate::stage::Stage;
use crate::support::in_time;

const DARK: Duration = Duration::from_secs(30);
/// How soon after the network's return the middle stream gets on, besides.
const RECOVERY: Duration = Duration::from_secs(1);

async fn dark(end: End) {
    let stage = Stage::set(1, true).await;
    let load = Load::start(&stage, Duration::from_secs(20)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let gone = Instant::now();
    stage.holes[0].darken(end);
    tokio::time::sleep(DARK).await;
    stage.holes[0].lighten();
    let back = Instant::now();
    let all = in_time(Duration::from_secs(90), load.complete()).await;
    let held: Vec<_> = all.iter().filter_map(|stream| Some((stream.kind, stream.after(back)?))).collect();
    let (median, _) = report(&format!("{end:?} dark"), &held);
    let (most, _) = limits(RECOVERY, &[gone], &all);
    assert!(median <= most, "half of the streams went on more than {median:?} after the network was back");
    // It was dark indeed: those that wait for each answer were held up, all of them and nearly all the time.
    let prompt = all.iter().filter(|stream| stream.is_prompt());
    let mut stalls = prompt.map(|stream| stream.stall(gone, DARK).unwrap());
    assert!(stalls.all(|stall| stall > DARK - Duration::from_secs(3)), "somebody got on in the dark");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_outlive_half_a_minute_without_the_hosts_or_the_devices_network() {
    let _alone = alone().await;
    // At once, since waiting is most of it.
    tokio::join!(dark(End::Host), dark(End::Device));
}
