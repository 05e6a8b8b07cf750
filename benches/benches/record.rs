//! Sealing and opening records beside the raw AEAD of the same provider, and portable Rust beside ring.

mod beside;

use beside::{beside, quick};
use criterion::Criterion;
use homing_benches::raw::Provider;
use homing_benches::records::{open, open_datagram, raw_open, raw_seal, refuse_replayed, seal};
use homing_benches::target::Target;
use homing_core::crypto::Portable;
use homing_driver::Ring;

const SIZES: [usize; 4] = [64, 1 << 10, 4 << 10, 16 << 10];

fn provider<A: Provider + 'static>(c: &mut Criterion)
where
    A::Raw: 'static,
{
    let mut group = c.benchmark_group("record");
    for len in SIZES {
        let bound = raw_open::<A>;
        let plain = Some(if len < 1 << 10 { Target::Beyond(15.0) } else { Target::Ratio(1.03) });
        let windowed = Some(Target::Ratio(1.05));
        let name = |what: &str| format!("{} {what} {len} B", A::NAME);
        beside(&mut group, &name("seal"), seal::<A>(len), "raw", raw_seal::<A>(len), plain);
        beside(&mut group, &name("open"), open::<A>(len), "raw", bound(len), plain);
        beside(&mut group, &name("open datagram"), open_datagram::<A>(len), "raw", bound(len), windowed);
        beside(&mut group, &name("refuse replayed"), refuse_replayed::<A>(len), "raw open", bound(len), None);
    }
}

fn portable_beside_ring(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    for len in SIZES {
        beside(
            &mut group,
            &format!("portable seal {len} B"),
            seal::<Portable>(len),
            "ring",
            raw_seal::<Ring>(len),
            None,
        );
    }
}

fn main() {
    let mut c = quick();
    provider::<Portable>(&mut c);
    provider::<Ring>(&mut c);
    portable_beside_ring(&mut c);
    c.final_summary();
}
