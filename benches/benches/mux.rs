//! Frames from one mux into another beside the copying of their bytes.

mod beside;

use beside::{beside, quick};
use homing_benches::streams::{copied, through_mux};

fn main() {
    let mut c = quick();
    let mut group = c.benchmark_group("mux");
    for len in [100, 4096] {
        let name = |streams| format!("{streams} streams, frames of {len}");
        beside(&mut group, &name(1), through_mux::<2>(1, len), "memcpy", copied(len), None);
        beside(&mut group, &name(16), through_mux::<32>(16, len), "memcpy", copied(len), None);
        beside(&mut group, &name(256), through_mux::<512>(256, len), "memcpy", copied(len), None);
    }
    group.finish();
    c.final_summary();
}
