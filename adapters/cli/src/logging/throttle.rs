//! A bound for the log of a server that anybody may speak to: of lines of one kind, so many in a while, and then their number.

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one kind in each [`WHILE`].
const LINES: u64 = 20;
/// How often the number of those left out is told.
pub(super) const WHILE: Duration = Duration::from_secs(10);
/// Kinds that are told from each other; further ones count together.
const KINDS: usize = 256;

/// Where a line comes from, and its field `reason` where it has one.
type Kind = (Option<Identifier>, String);

/// Counts lines, and lets the first of each kind pass.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    seen: Mutex<HashMap<Kind, Seen>>,
}

#[derive(Debug)]
struct Seen {
    lines: u64,
    /// The module that wrote them.
    target: &'static str,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) lines: u64,
    pub(super) target: &'static str,
    pub(super) reason: Option<String>,
}

impl Throttle {
    fn passes(&self, kind: Kind, target: &'static str) -> bool {
        let mut seen = self.lock();
        let kind = if seen.len() < KINDS || seen.contains_key(&kind) { kind } else { (None, String::new()) };
        let entry = seen.entry(kind).or_insert(Seen { lines: 0, target });
        entry.lines = entry.lines.saturating_add(1);
        entry.lines <= LINES
    }

    /// Begins anew; what was left out until now.
    pub(super) fn renew(&self) -> Vec<LeftOut> {
        let seen = core::mem::take(&mut *self.lock());
        let over = seen.into_iter().filter(|(_, seen)| seen.lines > LINES);
        over.map(|((_, reason), Seen { lines, target })| {
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            LeftOut { lines: lines.saturating_sub(LINES), target, reason }
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Filter<S> for &'static Throttle {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let mut reason = Reason::default();
        event.record(&mut reason);
        self.passes((Some(event.metadata().callsite()), reason.0), event.metadata().target())
    }
}

#[derive(Default)]
struct Reason(String);

impl Visit for Reason {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "reason" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_each_kind_pass_and_the_rest_is_counted() {
        let throttle = Throttle::default();
        let passed =
            |reason: &str, times| (0..times).filter(|_| throttle.passes((None, reason.into()), "relay")).count();
        assert_eq!((passed("tls", 5), passed("slow", 1000), passed("tls", 5)), (5, LINES as usize, 5));
        let left_out = LeftOut { lines: 1000 - LINES, target: "relay", reason: Some("slow".into()) };
        assert_eq!(throttle.renew(), [left_out]);
        assert_eq!((passed("slow", 3), throttle.renew()), (3, vec![]), "and it begins anew");
    }

    #[test]
    fn kinds_without_end_are_one() {
        let throttle = Throttle::default();
        let passed = (0..10_000).filter(|n| throttle.passes((None, n.to_string()), "relay")).count();
        assert_eq!((passed, throttle.lock().len()), (KINDS + LINES as usize, KINDS + 1));
    }
}
