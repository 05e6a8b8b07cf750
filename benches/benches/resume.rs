//! The resumption of a session with 64 streams beside the handshake that it begins with.

mod beside;

use beside::{beside, quick};
use homing_benches::handshakes::shake;
use homing_benches::resume::resumed;
use homing_benches::target::Target;
use homing_core::handshake::Suite;

fn main() {
    let mut c = quick();
    let mut group = c.benchmark_group("resume");
    let target = Some(Target::Beyond(1e6));
    beside(&mut group, "64 streams", resumed(64), "handshake", shake(Suite::Classic, false), target);
    group.finish();
    c.final_summary();
}
