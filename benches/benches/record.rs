//! Sealing and opening records beside the raw AEAD of the same provider, and portable Rust beside ring.

mod beside;

use beside::{beside, quick};
use criterion::Criterion;
use homing_benches::raw::Provider;
use homing_benches::records::{open, raw_open, raw_seal, seal};
use homing_core::crypto::Portable;
use homing_driver::Ring;

const SIZES: [usize; 4] = [64, 1 << 10, 4 << 10, 16 << 10];

fn provider<A: Provider + 'static>(c: &mut Criterion)
where
    A::Raw: 'static,
{
    let mut group = c.benchmark_group("record");
    for len in SIZES {
        beside(&mut group, &format!("{} seal {len} B", A::NAME), seal::<A>(len), "raw", raw_seal::<A>(len));
        beside(&mut group, &format!("{} open {len} B", A::NAME), open::<A>(len), "raw", raw_open::<A>(len));
    }
}

fn portable_beside_ring(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    for len in SIZES {
        beside(&mut group, &format!("portable seal {len} B"), seal::<Portable>(len), "ring", raw_seal::<Ring>(len));
    }
}

fn main() {
    let mut c = quick();
    provider::<Portable>(&mut c);
    provider::<Ring>(&mut c);
    portable_beside_ring(&mut c);
    c.final_summary();
}
