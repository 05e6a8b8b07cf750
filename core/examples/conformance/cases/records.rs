//! Records, their keys, and when these change.

use super::{Entry, File, Made, outputs_of};
use crate::runner::{Case, Expected};

const STATE: [&str; 6] = ["direction", "secret", "epoch", "counter", "max_record", "record"];
const SEALED: [&str; 5] = ["direction", "secret", "epoch", "counter", "plaintext"];

pub(super) fn cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for vector in file.list("vectors")? {
        cases.push(vector.case("record.seal", &SEALED, &["record"])?);
        let mut opened = vector.pick(&["plaintext", "next_epoch=epoch"])?;
        let counter: u64 = vector.text("counter")?.parse().map_err(|_| "a counter is a decimal number")?;
        opened.insert("next_counter".into(), counter.saturating_add(1).to_string().into());
        cases.push(vector.ask("record.open", vector.pick(&STATE)?, outputs_of(opened)));
        if vector.json.get("frames").is_some() {
            cases.push(vector.case("record.read", &STATE, &["frames"])?);
        }
    }
    cases.extend(refused(file)?);
    Ok(cases)
}

fn refused(file: &File) -> Made {
    file.list("invalid")?.iter().map(|vector| vector.refused("record.read", &STATE)).collect()
}

pub(super) fn rekey_cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for chain in file.list("chains")? {
        for epoch in chain.list("epochs")? {
            let mut request = chain.pick(&["secret"])?;
            request.extend(epoch.pick(&["epoch"])?);
            let (all, some) = (epoch.pick(&["secret", "key", "nonce_prefix"])?, epoch.pick(&["subkey"])?);
            cases.push(epoch.ask("key.schedule", request, Expected::Outputs { all, some }));
        }
    }
    for vector in file.list("vectors")? {
        cases.push(vector.case("record.open", &STATE, &["plaintext", "next_epoch", "next_counter"])?);
    }
    cases.extend(refused(file)?);
    for vector in file.list("moves")? {
        cases.push(of_move(&vector)?);
    }
    Ok(cases)
}

/// Where a sender goes on. It may always change its keys earlier than it has to.
fn of_move(vector: &Entry<'_>) -> Result<Case, String> {
    const INPUTS: [&str; 5] = ["epoch", "first", "counter", "bytes", "age"];
    if vector.json.get("error").is_some() {
        return vector.refused("record.next", &INPUTS);
    }
    let mut choices = vec![vector.pick(&["next_epoch", "next_counter"])?];
    let epoch = vector.value("epoch")?.as_u64().unwrap_or_default();
    if vector.value("next_epoch")? == epoch {
        let mut earlier = vector.pick(&["next_counter"])?;
        earlier.insert("next_epoch".into(), epoch.saturating_add(1).into());
        choices.push(earlier);
    }
    Ok(vector.ask("record.next", vector.pick(&INPUTS)?, Expected::OneOf(choices)))
}

pub(super) fn padme_cases(file: &File) -> Made {
    file.list("vectors")?.iter().map(|vector| vector.case("padme", &["len"], &["padded"])).collect()
}
