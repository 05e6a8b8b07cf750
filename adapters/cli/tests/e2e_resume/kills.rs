//! Relays that are killed under busy streams.

use core::time::Duration;
use std::time::Instant;

use crate::load::{Load, Progress, STREAMS, alone, limits, report};
use crate::stage::Stage;
use crate::support::in_time;

/// How often a relay is killed.
const KILLS: usize = 3;
/// Between two kills: whoever found back stays for a while, as after any failure.
const APART: Duration = Duration::from_secs(11);
/// How long after a kill its effects are looked for.
const WINDOW: Duration = Duration::from_secs(9);
/// What the middle stream may have to wait for besides.
const RECOVERY: Duration = Duration::from_secs(1);

fn busy() -> Duration {
    APART * u32::try_from(KILLS).unwrap() + Duration::from_secs(4)
}

fn check(title: &str, kills: &[Instant], all: &[Progress]) {
    assert_eq!((kills.len(), all.len()), (KILLS, STREAMS));
    let pairs = kills.iter().flat_map(|kill| all.iter().map(move |progress| (kill, progress)));
    let waits: Vec<_> = pairs.filter_map(|(kill, of)| Some((of.kind, of.stall(*kill, WINDOW)?))).collect();
    assert!(waits.len() > STREAMS, "the streams were over before the second kill");
    let (most, most_prompt) = limits(RECOVERY, kills, all);
    let (all, prompt) = report(title, &waits);
    assert!(
        all <= most && prompt <= most_prompt,
        "{title}: half of the streams waited for longer: {all:?} of {most:?}, {prompt:?} of {most_prompt:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_outlive_a_killed_relay_where_another_one_is_warm() {
    let _alone = alone().await;
    let mut stage = Stage::set(2, false).await;
    let load = Load::start(&stage, busy()).await;
    let mut kills: Vec<Instant> = Vec::new();
    for _ in 0..KILLS {
        let next = kills.last().map_or_else(|| Instant::now() + APART / 4, |last| *last + APART);
        tokio::time::sleep_until(next.into()).await;
        let victim = stage.in_use().await;
        stage.relays[victim].process.kill();
        kills.push(Instant::now());
        let moved = async {
            while stage.in_use().await == victim {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        in_time(APART, moved).await;
        // Warm again before the other one goes: hosts take their time with a relay that was away for longer.
        stage.relays[victim].restart().await;
        stage.attached(2).await;
    }
    let all = in_time(Duration::from_secs(120), load.complete()).await;
    check("two relays", &kills, &all);
    assert!(stage.host.is_running() && stage.proxy.process.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_outlive_a_killed_relay_that_is_started_again_at_once() {
    let _alone = alone().await;
    let mut stage = Stage::set(1, false).await;
    let load = Load::start(&stage, busy()).await;
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(APART).await;
        stage.relays[0].process.kill();
        kills.push(Instant::now());
        stage.relays[0].restart().await;
    }
    let all = in_time(Duration::from_secs(120), load.complete()).await;
    check("one relay", &kills, &all);
}
