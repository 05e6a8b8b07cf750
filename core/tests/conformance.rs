//! The conformance runner (`examples/conformance`) over this crate, over candidates that err, and as the program that it
//! is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "../examples/conformance/candidate/mod.rs"]
#[expect(dead_code, reason = "the test asks without pipes")]
mod candidate;
#[path = "../examples/conformance/cases/mod.rs"]
mod cases;
#[path = "../examples/conformance/hex.rs"]
mod hex;
#[path = "../examples/conformance/runner.rs"]
mod runner;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use runner::{Case, Expected, Report};
use serde_json::{Value, json};

const FILES: [&str; 11] = [
    "frames.json",
    "guest.json",
    "handshake.json",
    "hop.json",
    "links.json",
    "padme.json",
    "records.json",
    "rekey.json",
    "relay_token_keystore.json",
    "resume.json",
    "ticket.json",
];

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testvectors");
    cases::read_all(&beside).unwrap()
});

/// What this crate answers, by the number of the case. Some answers take a second.
static ANSWERS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut answers = Vec::new();
    runner::run(&CASES, |request| {
        answers.push(candidate::answer(request));
        Ok(answers.last().cloned().unwrap())
    });
    answers
});

/// What the runner says of this crate's answers, changed by `change`.
fn report(mut change: impl FnMut(&Case, &mut Value)) -> Report {
    let mut place = 0;
    runner::run(&CASES, |_| {
        let mut answer = ANSWERS[place].clone();
        change(&CASES[place], &mut answer);
        place += 1;
        Ok(answer)
    })
}

fn op(case: &Case) -> &str {
    case.request["op"].as_str().unwrap()
}

#[test]
fn this_crate_is_right_in_every_case() {
    let report = report(|_, _| ());
    assert!(report.is_good(false), "{report}");
    assert_eq!(report.files.keys().copied().collect::<Vec<_>>(), FILES);
    assert!(report.files.values().all(|file| file.passed >= 5), "{report}");
    let total = report.total();
    assert!(total.passed > 700, "{report}");
    // The end of the last epoch: a session would have to change its keys 2^24 times to get there.
    assert_eq!(total.unsupported, 2, "{report}");
    assert!(!report.is_good(true));
}

#[test]
fn an_operation_that_errs_is_found_in_each_of_its_cases() {
    let ops: BTreeSet<_> = CASES.iter().map(op).collect();
    assert_eq!(ops.len(), 33, "{ops:?}");
    for broken in ops {
        let mut right = 0;
        let report = report(|case, answer| {
            if op(case) == broken && answer.get("unsupported").is_none() {
                right += 1;
                let outputs = answer.as_object_mut().unwrap();
                outputs.retain(|name, _| name == "id");
            }
        });
        assert!(right > 0, "{broken}");
        assert_eq!(report.total().failed, right, "{broken}");
        assert_eq!(report.failures.len(), right);
    }
}

#[test]
fn every_output_is_compared() {
    let mut compared = 0;
    for place in 0..CASES.len() {
        let outputs = match &CASES[place].expected {
            Expected::Outputs { all, some } => all.keys().chain(some.keys()).cloned().collect::<Vec<_>>(),
            Expected::OneOf(choices) => choices[0].keys().cloned().collect(),
            Expected::Error(_) => vec!["error".to_owned()],
        };
        for name in outputs {
            // What is optional need not be answered.
            let Some(value) = ANSWERS[place].get(&name) else { continue };
            let mut answer = ANSWERS[place].clone();
            answer[&name] = other_than(value);
            let case = core::slice::from_ref(&CASES[place]);
            answer["id"] = "0".into();
            let report = runner::run(case, |_| Ok(answer.clone()));
            assert_eq!(report.total().failed, 1, "{}: {name} is {}", case[0].name, answer[&name]);
            compared += 1;
        }
    }
    assert!(compared > 1000, "{compared}");
}

/// A value of the same kind, a little wrong.
fn other_than(value: &Value) -> Value {
    match value {
        Value::String(text) if text.ends_with('0') => json!(format!("{}1", &text[..text.len() - 1])),
        Value::String(text) if !text.is_empty() && text.is_ascii() => json!(format!("{}0", &text[..text.len() - 1])),
        Value::String(text) => json!(format!("{text}00")),
        Value::Number(number) => json!(number.as_u64().unwrap() + 7),
        Value::Bool(value) => json!(!value),
        Value::Array(list) => json!([&list[..], &[json!("00")]].concat()),
        Value::Object(members) => {
            let mut members = members.clone();
            let first = members.keys().next().cloned();
            first.map_or_else(
                || json!({ "unknown": 1 }),
                |name| {
                    members[&name] = other_than(&members[&name]);
                    Value::Object(members)
                },
            )
        }
        Value::Null => json!(0),
    }
}

#[test]
fn what_must_be_refused_must_not_be_accepted() {
    let refused = CASES.iter().filter(|case| matches!(case.expected, Expected::Error(_))).count();
    assert!(refused > 280, "{refused}");
    let accepting = report(|case, answer| {
        if matches!(case.expected, Expected::Error(_)) {
            *answer = json!({ "id": answer["id"], "plaintext": "", "fields": {}, "ok": true });
        }
    });
    assert_eq!(accepting.total().failed, refused);
    let otherwise = report(|case, answer| {
        if matches!(case.expected, Expected::Error(_)) {
            *answer = json!({ "id": answer["id"], "error": "some reason" });
        }
    });
    assert_eq!(otherwise.total().failed, refused);
}

#[test]
fn silence_and_answers_to_other_questions_are_no_answers() {
    let report_of = |answer: Result<Value, String>| runner::run(&CASES, |_| answer.clone()).total();
    for answer in
        [Err("gone".to_owned()), Ok(json!({})), Ok(json!(null)), Ok(json!({ "id": "x", "unsupported": true }))]
    {
        let total = report_of(answer);
        assert_eq!((total.passed, total.failed), (0, CASES.len()));
    }
    let nothing = runner::run(&CASES, |request| Ok(json!({ "id": request["id"], "unsupported": true })));
    assert_eq!(nothing.total().unsupported, CASES.len());
    assert!(!nothing.is_good(false), "who supports nothing conforms to nothing");
}

/// When a file, or the youngest below a directory, was last changed.
fn changed(path: &Path) -> SystemTime {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| changed(&entry.unwrap().path())).max().unwrap(),
        Err(_) => path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
    }
}

/// The example as a program. Cargo builds it along with the tests, unless it was told to build only this one.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(format!("conformance{}", std::env::consts::EXE_SUFFIX));
    let sources = ["src", "examples"].map(|dir| changed(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)));
    if sources.iter().any(|source| changed(&program) < *source) {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--example", "conformance", "--target-dir"]).arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }
    program
}

fn conformance(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(program()).args(args).stdin(Stdio::null()).output().expect("the example runs");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn as_a_program_it_takes_what_is_right_and_no_more() {
    let program = program();
    let program = program.to_str().unwrap();
    for file in ["handshake.json", "records.json", "frames.json", "hop.json", "links.json", "resume.json"] {
        let (code, output) = conformance(&["--only", file, "--require-all", program, "--candidate"]);
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains(file) && !output.contains("FAILED"), "{output}");
    }
    let broken: [(&[&str], i32, &str); 6] = [
        // It says everything back.
        (&["--only", "hop.json", "cat"], 1, "accepted, but to be refused"),
        (&["--only", "padme.json", "cat"], 1, "padded is null and not 64"),
        (&["--only", "padme.json", "true"], 1, "the candidate has ended"),
        (&["--only", "padme.json", "echo", "{}"], 1, "an answer to another question"),
        (&["--only", "padme.json", "echo", "hello"], 1, "an answer that is not JSON"),
        (&["/nonexistent/candidate"], 2, "does not start"),
    ];
    for (args, expected, words) in broken {
        let (code, output) = conformance(args);
        assert_eq!(code, Some(expected), "{args:?}: {output}");
        assert!(output.contains(words), "{args:?}: {output}");
    }
    let (code, output) = conformance(&[]);
    assert_eq!(code, Some(2));
    assert!(output.contains("usage:"));
}
