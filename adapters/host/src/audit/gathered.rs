//! What is counted, and told in a line now and then.

use std::time::Instant;

use serde_json::Value;

use super::refusals::Refusals;
use super::visits::Visits;

/// What is not told each time, and nothing else is.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) refusals: Refusals,
    pub(super) visits: Visits,
}

impl Gathered {
    /// The lines of what was counted until now, in windows that are over or, where `end` says so, in all.
    pub(super) fn due(&mut self, now: Instant, end: bool) -> Vec<(&'static str, Value)> {
        let (refusals, visits) = if end {
            (self.refusals.end(), self.visits.end(now))
        } else {
            (self.refusals.due(now), self.visits.due(now))
        };
        let refusals = refusals.into_iter().map(|fields| ("refused", fields));
        refusals.chain(visits.into_iter().map(|fields| ("reconnected", fields))).collect()
    }

    /// When there is something next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.refusals.next().into_iter().chain(self.visits.next()).min()
    }
}

/// What the fields of an entry say under this name.
pub(super) fn text(fields: &Value, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The same fields and these, where they say something.
pub(super) fn with_texts<const N: usize>(mut fields: Value, texts: [(&str, &Option<String>); N]) -> Value {
    for (name, text) in texts {
        if let Some(text) = text {
            fields[name] = text.as_str().into();
        }
    }
    fields
}
