//! Handshakes, both sides together, beside the public-key operations that they consist of.

mod beside;

use beside::{beside, quick};
use homing_benches::handshakes::{operations, shake};
use homing_benches::target::Target;
use homing_core::handshake::Suite;

fn main() {
    let mut c = quick();
    let mut group = c.benchmark_group("handshake");
    for (suite, suite_name) in [(Suite::Classic, "classic"), (Suite::Hybrid, "hybrid")] {
        for (pairs, mode) in [(true, "pair"), (false, "connect")] {
            let name = format!("{mode} {suite_name}");
            beside(&mut group, &name, shake(suite, pairs), "operations", operations(suite), Some(Target::Ratio(1.06)));
        }
    }
    group.finish();
    c.final_summary();
}
