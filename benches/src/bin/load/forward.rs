//! L4: what a relay forwards, and what that costs it beside a splice that knows nothing.

use core::sync::atomic::Ordering;
use core::time::Duration;

use crate::pairs::Pairs;
use crate::relay::{Plan, Relay, cpu};
use crate::sheet::{Aim, Sheet};
use crate::splice::Splice;

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn run(sheet: &mut Sheet, pairs: usize, seconds: u64, rounds: usize, tls: bool) {
    let time = Duration::from_secs(seconds);
    let relay = Relay::start(&Plan { tls, links: 1024, ..Plan::default() });
    let splice = Splice::start().await;
    let kind = if tls { "TLS" } else { "plain" };
    for (len, what, least) in [(16 * 1024, "16 KiB", 700.0), (1024, "1 KiB", 0.0)] {
        let mut turns: Vec<[f64; 5]> = Vec::new();
        for _ in 0..rounds {
            let (records, bytes, cost) = pour(&relay, pairs, len, time).await;
            // Ends of the relay write 64 KiB at once where they may; so do those of the splice.
            let (spliced, bound) = splice.pour(pairs, 64 * 1024, time).await;
            turns.push([bytes / MIB, records, cost, spliced / MIB, bound]);
        }
        let middle = |which: usize| {
            let mut values: Vec<f64> = turns.iter().map(|turn| turn[which]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let mut ratios: Vec<f64> = turns.iter().map(|turn| turn[2] / turn[4]).collect();
        ratios.sort_by(f64::total_cmp);
        let name = |figure: &str| format!("{kind}, {pairs} pairs, records of {what}: {figure}");
        let aim = if least > 0.0 && !tls { Aim::AtLeast(least) } else { Aim::Known };
        sheet.tell("L4", &name("forwarded, all together"), middle(0), "MiB/s", aim);
        let aim = if least > 0.0 || tls { Aim::Known } else { Aim::AtLeast(60_000.0) };
        sheet.tell("L4", &name("records forwarded"), middle(1), "/s", aim);
        sheet.tell("L4", &name("the relay's CPU"), middle(2), "s/GB", Aim::Known);
        sheet.tell("L4", &name("records of a CPU second"), 1e9 / (middle(2) * len as f64), "", Aim::Known);
        sheet.tell("L4", &name("a splice of tokio's without TLS"), middle(3), "MiB/s", Aim::Known);
        sheet.tell("L4", &name("its CPU"), middle(4), "s/GB", Aim::Known);
        let range = format!("CPU beside the splice ({:.2} to {:.2})", ratios[0], ratios[ratios.len() - 1]);
        sheet.tell("L4", &name(&range), ratios[ratios.len() / 2], "", Aim::Known);
    }
}

/// Records and bytes in a second, and CPU seconds for a GB.
pub(crate) async fn pour(relay: &Relay, pairs: usize, len: usize, time: Duration) -> (f64, f64, f64) {
    let mut running = Pairs::start(&relay.target, pairs, len, None).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = || {
        let arrived = &running.arrived;
        (arrived.records.load(Ordering::Relaxed) as f64, arrived.bytes.load(Ordering::Relaxed) as f64)
    };
    let (before, spent) = (count(), cpu(relay.id()));
    tokio::time::sleep(time).await;
    let (after, spent) = (count(), cpu(relay.id()) - spent);
    assert_eq!(running.ended(), 0, "links were lost");
    let (records, bytes) = (after.0 - before.0, after.1 - before.1);
    (records / time.as_secs_f64(), bytes / time.as_secs_f64(), spent / (bytes / 1e9))
}
