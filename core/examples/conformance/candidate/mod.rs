//! This crate as a candidate: answers the runner's questions, one line of JSON each.

mod frames;
mod guest;
mod handshake;
mod hop;
mod input;
mod records;
mod relay;
mod tickets;

use std::io::{BufRead, Write};

use serde_json::{Map, Value, json};

use input::Input;

/// The outputs of an answer.
type Outputs = Map<String, Value>;

/// Why there are none.
#[derive(Debug)]
enum Refusal {
    /// The input is to be refused, for a reason that the vectors name.
    Error(&'static str),
    /// This candidate does not do that.
    Unsupported,
    /// The question itself is wrong.
    Question(String),
}

type Answer = Result<Outputs, Refusal>;

/// Answers until there are no more questions.
pub(crate) fn serve() -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("questions cannot be read: {error}"))?;
        let request = serde_json::from_str(&line).map_err(|error| format!("a question that is not JSON: {error}"))?;
        let answer = writeln!(stdout, "{}", answer(&request)).and_then(|()| stdout.flush());
        answer.map_err(|error| format!("answers cannot be written: {error}"))?;
    }
    Ok(())
}

/// The answer to one question.
pub(crate) fn answer(request: &Value) -> Value {
    let mut answer = match outputs(&Input(request)) {
        Ok(outputs) => outputs,
        Err(refusal) => object(match refusal {
            Refusal::Error(name) => json!({ "error": name }),
            Refusal::Unsupported => json!({ "unsupported": true }),
            Refusal::Question(why) => json!({ "error": why }),
        }),
    };
    answer.insert("id".into(), request.get("id").cloned().unwrap_or_default());
    Value::Object(answer)
}

fn outputs(input: &Input<'_>) -> Answer {
    match input.text("op")? {
        "padme" => records::padme_of(input),
        "key.schedule" => records::schedule(input),
        "record.seal" => records::seal(input),
        "record.open" => records::open(input),
        "record.read" => records::read(input),
        "record.next" => records::next(input),
        "handshake.start" => handshake::start(input),
        "handshake.answer" => handshake::answer(input),
        "handshake.finish" => handshake::finish(input),
        "handshake.psk" => handshake::psk(input),
        "handshake.mac1_key" => handshake::mac1_key(input),
        "resume.prove" => handshake::resume_prove(input),
        "resume.check" => handshake::resume_check(input),
        "ticket.parse" => tickets::parse(input),
        "ticket.emit" => tickets::emit(input),
        "guest.derive" => guest::derive(input),
        "guest.parse" => guest::parse(input),
        "guest.emit" => guest::emit(input),
        "token.hash" => tickets::token_hash(input),
        "frame.parse" => frames::parse(input),
        "frame.emit" => frames::emit(input),
        "frame.split" => frames::split(&input.bytes("plaintext")?),
        "hop.parse" => hop::parse(input),
        "hop.emit" => hop::emit(input),
        "relay.register" => relay::register(input),
        "relay.attach" => relay::attach(input),
        "relay.check_register" => relay::check_register(input),
        "relay.capability" => relay::capability(input),
        "relay.dial" => relay::dial(input),
        "relay.check_dial" => relay::check_dial(input),
        "relay.rendezvous" => relay::rendezvous(input),
        "relay.directory" => relay::directory(input),
        "relay.operator" => relay::operator(input),
        _ => Err(Refusal::Unsupported),
    }
}

/// The members of a JSON object.
fn object(value: Value) -> Outputs {
    if let Value::Object(members) = value { members } else { Outputs::new() }
}
