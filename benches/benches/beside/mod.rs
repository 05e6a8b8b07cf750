//! One thing beside its bound: both go through criterion, then their ratio is printed.

use core::cell::Cell;
use core::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use homing_benches::records::Batch;
use homing_benches::target::Target;

/// Criterion's settings for a run of seconds, not minutes. Times are CPU times of the thread.
pub(crate) fn quick() -> Criterion {
    Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(60))
        .measurement_time(Duration::from_millis(250))
        .configure_from_args()
}

/// Benches `ours`, then `bound`, and prints the ratio of their fastest samples beside the target.
pub(crate) fn beside(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    ours: Batch,
    bound_name: &str,
    bound: Batch,
    target: Option<Target>,
) {
    let [ours, bound] = [(name, ours), (&format!("{name} - {bound_name}"), bound)].map(|(name, mut batch)| {
        let best = Cell::new(f64::INFINITY);
        group.bench_function(name, |b| {
            b.iter_custom(|n| {
                let spent = batch(n);
                best.set(best.get().min(spent.as_nanos() as f64 / n as f64));
                spent
            });
        });
        best.get()
    });
    if ours.is_finite() && bound.is_finite() {
        let held_to = target
            .map_or(String::new(), |target| format!(", {} (target: at most {target})", target.figure(ours, bound)));
        println!("  => {name}: {ours:.0} ns, {bound_name} {bound:.0} ns: {:.3}x{held_to}\n", ours / bound);
    }
}
