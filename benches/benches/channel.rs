//! Two channels in memory beside the sealing and opening of the same records.

mod beside;

use beside::{beside, quick};
use criterion::Criterion;
use homing_benches::raw::Provider;
use homing_benches::streams::{sealed_and_opened, through_channels};
use homing_core::crypto::Portable;
use homing_core::wire::MAX_PLAINTEXT;
use homing_driver::Ring;

fn provider<A: Provider + 'static>(c: &mut Criterion) {
    let mut group = c.benchmark_group("channel");
    for (name, len) in [("bulk, 16 KiB records", MAX_PLAINTEXT), ("messages of 100 bytes", 100)] {
        beside(
            &mut group,
            &format!("{}: {name}", A::NAME),
            through_channels::<A>(len),
            "seal and open",
            sealed_and_opened::<A>(len),
            None,
        );
    }
}

fn main() {
    let mut c = quick();
    provider::<Portable>(&mut c);
    provider::<Ring>(&mut c);
    c.final_summary();
}
