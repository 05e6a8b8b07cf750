//! From the files of `testvectors/` to questions.

mod frames;
mod guest;
mod handshake;
mod records;
mod relay;
mod tickets;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::runner::{Case, Expected};

type Made = Result<Vec<Case>, String>;
type Maker = fn(&File) -> Made;

/// Every case of every file.
pub(crate) fn read_all(dir: &Path) -> Made {
    let makers: [(&'static str, Maker); 11] = [
        ("handshake.json", handshake::cases),
        ("records.json", records::cases),
        ("rekey.json", records::rekey_cases),
        ("ticket.json", tickets::cases),
        ("links.json", tickets::link_cases),
        ("guest.json", guest::cases),
        ("padme.json", records::padme_cases),
        ("resume.json", handshake::resume_cases),
        ("frames.json", frames::cases),
        ("hop.json", relay::cases),
        ("relay_token_keystore.json", relay::token_cases),
    ];
    let mut all = Vec::new();
    for (name, make) in makers {
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let json = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        let cases = make(&File { name, json })?;
        if cases.is_empty() {
            return Err(format!("{name} has no cases"));
        }
        all.extend(cases);
    }
    Ok(all)
}

/// A file with its name.
struct File {
    name: &'static str,
    json: Value,
}

impl File {
    /// The entries of one of its lists.
    fn list(&self, name: &str) -> Result<Vec<Entry<'_>>, String> {
        let list = self.json.get(name).and_then(Value::as_array);
        let list = list.ok_or_else(|| format!("{} has no list {name}", self.name))?;
        Ok(list
            .iter()
            .enumerate()
            .map(|(i, json)| Entry { file: self.name, place: format!("{name}[{i}]"), json })
            .collect())
    }

    /// The file as one entry.
    const fn whole(&self) -> Entry<'_> {
        Entry { file: self.name, place: String::new(), json: &self.json }
    }
}

/// One vector.
#[derive(Clone)]
struct Entry<'a> {
    file: &'static str,
    place: String,
    json: &'a Value,
}

impl<'a> Entry<'a> {
    /// A value that has to be there.
    fn value(&self, name: &str) -> Result<&'a Value, String> {
        self.json.get(name).ok_or_else(|| format!("{}: {} has no {name}", self.file, self.place))
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.value(name)?.as_str().ok_or_else(|| format!("{}: {}: {name} is no text", self.file, self.place))
    }

    /// A list inside the vector.
    fn list(&self, name: &str) -> Result<Vec<Self>, String> {
        let list = self.value(name)?.as_array();
        let list = list.ok_or_else(|| format!("{}: {}: {name} is no list", self.file, self.place))?;
        let entry = |(i, json)| Entry { file: self.file, place: format!("{}.{name}[{i}]", self.place), json };
        Ok(list.iter().enumerate().map(entry).collect())
    }

    /// Some of its values. `name` is taken as it is, `to=from` is called otherwise in the question.
    fn pick(&self, names: &[&str]) -> Result<Map<String, Value>, String> {
        let named = |name: &&str| {
            let (to, from) = name.split_once('=').unwrap_or((*name, *name));
            Ok((to.to_owned(), self.value(from)?.clone()))
        };
        names.iter().map(named).collect()
    }

    /// A case with some of its values as inputs and others as outputs.
    fn case(&self, op: &str, inputs: &[&str], outputs: &[&str]) -> Result<Case, String> {
        Ok(self.ask(op, self.pick(inputs)?, outputs_of(self.pick(outputs)?)))
    }

    /// A case that is to be refused for the vector's `error`, or one of those in `or`.
    fn refused(&self, op: &str, inputs: &[&str]) -> Result<Case, String> {
        let mut errors = vec![self.text("error")?.to_owned()];
        let others = self.json.get("or").and_then(Value::as_array);
        errors.extend(others.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        Ok(self.ask(op, self.pick(inputs)?, Expected::Error(errors)))
    }

    fn ask(&self, op: &str, mut request: Map<String, Value>, expected: Expected) -> Case {
        request.insert("op".into(), op.into());
        let about = self.json.get("about").and_then(Value::as_str).unwrap_or_default();
        Case { file: self.file, name: format!("{} {about}", self.place).trim().to_owned(), request, expected }
    }
}

fn outputs_of(all: Map<String, Value>) -> Expected {
    Expected::Outputs { all, some: Map::new() }
}

/// What is expected of a question that is answered with yes.
fn yes() -> Expected {
    outputs_of(Map::from_iter([("ok".to_owned(), json!(true))]))
}
