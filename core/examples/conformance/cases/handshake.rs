//! Both ends of the four handshakes, their keys, and what each end must refuse.

use serde_json::{Map, Value, json};

use super::{Entry, File, Made, outputs_of, yes};
use crate::runner::{Case, Expected};

const DEVICE: [&str; 9] = [
    "suite",
    "mode",
    "channel_id",
    "init_static",
    "init_ephemeral",
    "kem_keygen_seed",
    "psk",
    "mac1_key",
    "payload=payload1",
];
const HOST: [&str; 9] = [
    "suite",
    "mode",
    "channel_id",
    "resp_static",
    "resp_ephemeral",
    "kem_encaps_m",
    "psk",
    "mac1_key",
    "payload=payload2",
];

pub(super) fn cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for vector in file.list("vectors")? {
        let vector = &vector;
        let what = format!("suite {} {}", vector.value("suite")?, vector.text("mode")?);
        let mut own = of_messages(vector)?;
        own.extend(of_keys(vector)?);
        own.extend(of_invalid(vector)?);
        for case in &mut own {
            case.name = format!("{what}, {}", case.name);
        }
        cases.extend(own);
    }
    Ok(cases)
}

/// The inputs of one end. What the handshake is bound to is the end of the prologue.
fn inputs(vector: &Entry<'_>, names: &[&str]) -> Result<Map<String, Value>, String> {
    let mut inputs = vector.pick(names)?;
    let bound = vector.text("prologue")?.get(72..).unwrap_or_default();
    inputs.insert("bound".into(), bound.into());
    inputs.insert("resp_public".into(), host_key(vector)?.into());
    Ok(inputs)
}

/// The host's public key, which the file does not hold: it is in the ticket.
fn host_key(vector: &Entry<'_>) -> Result<String, String> {
    use homing_core::crypto::{Identity, Secret};
    let secret = crate::hex::decode(vector.text("resp_static")?).and_then(|secret| secret.try_into().ok());
    let secret = secret.ok_or("a secret key has 32 bytes")?;
    Ok(crate::hex::encode(Identity::from_secret(&Secret::new(secret)).public().as_bytes()))
}

/// What both ends hold when all is well.
fn shared(vector: &Entry<'_>, peer_payload: &str) -> Result<Expected, String> {
    let mut all = vector.pick(&["handshake_hash", "sas"])?;
    let exports = Entry { json: vector.value("exports")?, ..vector.clone() };
    all.extend(exports.pick(&["resume", "bind", "session_id=session id"])?);
    if vector.value("mode")? == "pair" {
        all.extend(exports.pick(&["device_root=device root"])?);
    }
    for entry in vector.list("key_schedule")? {
        if entry.value("epoch")? == 0 {
            let name = format!("secret_{}", entry.text("direction")?);
            all.insert(name, entry.value("secret")?.clone());
        }
    }
    all.insert("peer_payload".into(), vector.value(peer_payload)?.clone());
    Ok(Expected::Outputs { all, some: vector.pick(&["split_d2h", "split_h2d", "session_master", "sas_emoji"])? })
}

fn of_messages(vector: &Entry<'_>) -> Made {
    let started = outputs_of(vector.pick(&["hs1"])?);
    let mut finish = inputs(vector, &DEVICE)?;
    finish.extend(vector.pick(&["hs2"])?);
    let mut answer = inputs(vector, &HOST)?;
    answer.extend(vector.pick(&["hs1"])?);
    let Expected::Outputs { mut all, some } = shared(vector, "payload1")? else { return Err("no outputs".into()) };
    all.extend(vector.pick(&["hs2"])?);
    let mut cases = vec![
        vector.ask("handshake.start", inputs(vector, &DEVICE)?, started),
        vector.ask("handshake.answer", answer, Expected::Outputs { all, some }),
        vector.ask("handshake.finish", finish, shared(vector, "payload2")?),
    ];
    if vector.value("mode")? == "connect" {
        cases.push(vector.case("handshake.psk", &["device_root", "suite"], &["psk"])?);
        let host = Map::from_iter([("host_pub".to_owned(), json!(host_key(vector)?))]);
        cases.push(vector.ask("handshake.mac1_key", host, outputs_of(vector.pick(&["mac1_key"])?)));
    }
    Ok(cases)
}

fn of_keys(vector: &Entry<'_>) -> Made {
    let schedule = vector.list("key_schedule")?;
    let first = |direction: &Value| {
        let fits = |e: &&Entry<'_>| e.json["direction"] == *direction && e.json["epoch"] == 0;
        schedule.iter().find(fits).ok_or("no first epoch")?.value("secret")
    };
    let mut cases = Vec::new();
    for entry in &schedule {
        let mut request = entry.pick(&["epoch"])?;
        request.insert("secret".into(), first(entry.value("direction")?)?.clone());
        let outputs = outputs_of(entry.pick(&["secret", "key", "nonce_prefix"])?);
        cases.push(entry.ask("key.schedule", request, outputs));
    }
    for record in vector.list("records")? {
        let mut request = record.pick(&["direction", "epoch", "counter", "plaintext"])?;
        request.insert("secret".into(), first(record.value("direction")?)?.clone());
        cases.push(record.ask("record.seal", request, outputs_of(record.pick(&["record"])?)));
    }
    Ok(cases)
}

fn of_invalid(vector: &Entry<'_>) -> Made {
    vector.list("invalid")?.iter().map(|invalid| of_one_invalid(vector, invalid)).collect()
}

fn of_one_invalid(vector: &Entry<'_>, invalid: &Entry<'_>) -> Result<Case, String> {
    let (op, mut request, bytes) = match invalid.text("input")? {
        "hs1" => ("handshake.answer", inputs(vector, &HOST)?, "hs1"),
        "hs2" => ("handshake.finish", inputs(vector, &DEVICE)?, "hs2"),
        "record d2h expecting epoch 0 counter 0" => {
            let first = vector.list("key_schedule")?;
            let first = first.iter().find(|e| e.json["direction"] == "d2h" && e.json["epoch"] == 0);
            let mut request = first.ok_or("no first epoch")?.pick(&["direction", "secret", "epoch"])?;
            request.extend([("counter".to_owned(), json!("0")), ("max_record".to_owned(), json!(16384))]);
            ("record.open", request, "record")
        }
        other => return Err(format!("unknown input {other}")),
    };
    request.insert(bytes.into(), invalid.value("bytes")?.clone());
    Ok(invalid.ask(op, request, Expected::Error(vec![invalid.text("error")?.to_owned()])))
}

/// Who takes a session up again proves that it is theirs.
pub(super) fn resume_cases(file: &File) -> Made {
    const PROVEN: [&str; 4] = ["resume_secret", "handshake_hash", "from", "proof"];
    let mut cases = Vec::new();
    for vector in file.list("vectors")? {
        cases.push(vector.case("resume.prove", &["resume_secret", "handshake_hash", "from"], &["proof"])?);
        cases.push(vector.ask("resume.check", vector.pick(&PROVEN)?, yes()));
    }
    for vector in file.list("invalid")? {
        cases.push(vector.refused("resume.check", &PROVEN)?);
    }
    Ok(cases)
}
