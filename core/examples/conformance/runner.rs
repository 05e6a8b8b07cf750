//! Asks, compares, counts.

use core::fmt;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One question and what is right about the answer.
#[derive(Debug)]
pub(crate) struct Case {
    /// The file it comes from.
    pub(crate) file: &'static str,
    /// Which case of the file, for people.
    pub(crate) name: String,
    /// The question: `op` and its inputs.
    pub(crate) request: Map<String, Value>,
    /// The answer.
    pub(crate) expected: Expected,
}

/// What is right about an answer.
#[derive(Debug)]
pub(crate) enum Expected {
    /// All of `all`, and of `some` those that the answer has.
    Outputs { all: Map<String, Value>, some: Map<String, Value> },
    /// One of these.
    OneOf(Vec<Map<String, Value>>),
    /// An error of one of these names.
    Error(Vec<String>),
}

/// How an answer compares.
#[derive(Debug)]
enum Outcome {
    Right,
    Wrong(String),
    Unsupported,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) unsupported: usize,
}

/// What came of it, per file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) files: BTreeMap<&'static str, Tally>,
    pub(crate) failures: Vec<String>,
}

/// Asks every question.
pub(crate) fn run(cases: &[Case], mut ask: impl FnMut(&Value) -> Result<Value, String>) -> Report {
    let mut report = Report::default();
    for (number, case) in cases.iter().enumerate() {
        let id = number.to_string();
        let mut request = case.request.clone();
        request.insert("id".into(), id.as_str().into());
        let outcome = match ask(&Value::Object(request)) {
            Ok(answer) => judge(&id, &case.expected, &answer),
            Err(why) => Outcome::Wrong(why),
        };
        let tally = report.files.entry(case.file).or_default();
        match outcome {
            Outcome::Right => tally.passed += 1,
            Outcome::Unsupported => tally.unsupported += 1,
            Outcome::Wrong(why) => {
                tally.failed += 1;
                let op = case.request.get("op").and_then(Value::as_str).unwrap_or_default();
                report.failures.push(format!("{}: {op}: {}: {why}", case.file, case.name));
            }
        }
    }
    report
}

fn judge(id: &str, expected: &Expected, answer: &Value) -> Outcome {
    if answer.get("id").and_then(Value::as_str) != Some(id) {
        return Outcome::Wrong(format!("an answer to another question, {}", answer["id"]));
    }
    if answer.get("unsupported") == Some(&Value::Bool(true)) {
        return Outcome::Unsupported;
    }
    let error = answer.get("error").and_then(Value::as_str);
    let wrong = match expected {
        Expected::Error(names) => match error {
            Some(error) if names.iter().any(|name| name == error) => None,
            Some(error) => Some(format!("refused for {error:?} and not for {:?}", names.join(" or "))),
            None => Some(format!("accepted, but to be refused for {:?}", names.join(" or "))),
        },
        _ if error.is_some() => Some(format!("refused for {:?}", error.unwrap_or_default())),
        Expected::Outputs { all, some } => {
            let missing = all.iter().find_map(|pair| different(pair, answer));
            let given = some.iter().filter(|(name, _)| answer.get(name.as_str()).is_some());
            missing.or_else(|| given.into_iter().find_map(|pair| different(pair, answer)))
        }
        Expected::OneOf(choices) => {
            let fits = |choice: &Map<String, Value>| choice.iter().all(|pair| different(pair, answer).is_none());
            let first = choices.first().and_then(|choice| choice.iter().find_map(|pair| different(pair, answer)));
            if choices.iter().any(fits) { None } else { first }
        }
    };
    wrong.map_or(Outcome::Right, Outcome::Wrong)
}

fn different((name, expected): (&String, &Value), answer: &Value) -> Option<String> {
    let got = answer.get(name.as_str()).unwrap_or(&Value::Null);
    (got != expected).then(|| format!("{name} is {} and not {}", short(got), short(expected)))
}

/// A value's beginning: some are records.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}… ({} characters)", text.get(..end).unwrap_or_default(), text.len()),
        None => text,
    }
}

impl Report {
    /// All files together.
    pub(crate) fn total(&self) -> Tally {
        self.files.values().fold(Tally::default(), |sum, file| Tally {
            passed: sum.passed + file.passed,
            failed: sum.failed + file.failed,
            unsupported: sum.unsupported + file.unsupported,
        })
    }

    /// Whether something passed and nothing failed; with `all`, whether nothing was left out either.
    pub(crate) fn is_good(&self, all: bool) -> bool {
        let total = self.total();
        total.passed > 0 && total.failed == 0 && !(all && total.unsupported > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        writeln!(f, "{:<28} {:>7} {:>7} {:>12}", "file", "passed", "failed", "unsupported")?;
        let total = self.total();
        for (file, tally) in self.files.iter().chain([(&"all", &total)]) {
            writeln!(f, "{file:<28} {:>7} {:>7} {:>12}", tally.passed, tally.failed, tally.unsupported)?;
        }
        Ok(())
    }
}
