//! Records through the relay's switch beside the copying of their bytes.

mod beside;

use beside::{beside, quick};
use homing_benches::relay::{forwarded, received};
use homing_benches::target::Target;

fn main() {
    let mut c = quick();
    let mut group = c.benchmark_group("relay");
    for len in [100, 1 << 10, 16 << 10] {
        let name = format!("forwarded record of {len} B");
        beside(&mut group, &name, forwarded(len), "memcpy", received(len), Some(Target::Beyond(100.0)));
    }
    group.finish();
    c.final_summary();
}
