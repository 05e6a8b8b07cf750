//! Holds an implementation of the protocol to the files of `testvectors/`:
//!
//! ```text
//! cargo run -p homing-core --example conformance -- [OPTIONS] COMMAND [ARGS...]
//! ```
//!
//! starts COMMAND, asks it one question per case over its standard input, compares its answers, and tells how many are
//! right. `testvectors/README.md` says what the questions are, and which options there are. With `--candidate` this program
//! is such a command itself and answers with this crate.

mod candidate;
mod cases;
mod hex;
mod process;
mod runner;

use std::path::PathBuf;
use std::process::ExitCode;

use process::Process;

const USAGE: &str = "usage: conformance [--vectors DIR] [--only FILE] [--require-all] COMMAND [ARGS...]
       conformance --candidate";

struct Options {
    vectors: PathBuf,
    only: Option<String>,
    require_all: bool,
    command: Vec<String>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = if args == ["--candidate"] { candidate::serve().map(|()| true) } else { options(args).and_then(check) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn options(args: Vec<String>) -> Result<Options, String> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../testvectors");
    let mut options = Options { vectors: beside.into(), only: None, require_all: false, command: Vec::new() };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--vectors" => options.vectors = args.next().ok_or(USAGE)?.into(),
            "--only" => options.only = Some(args.next().ok_or(USAGE)?),
            "--require-all" => options.require_all = true,
            other if other.starts_with("--") => return Err(USAGE.into()),
            _ => options.command = core::iter::once(arg).chain(args.by_ref()).collect(),
        }
    }
    if options.command.is_empty() { Err(USAGE.into()) } else { Ok(options) }
}

/// Whether the candidate is right in all that it supports, and supports anything.
fn check(options: Options) -> Result<bool, String> {
    let mut cases = cases::read_all(&options.vectors)?;
    if let Some(only) = &options.only {
        cases.retain(|case| case.file == only);
    }
    let mut candidate = Process::start(&options.command)?;
    let report = runner::run(&cases, |request| candidate.ask(request));
    print!("{report}");
    Ok(report.is_good(options.require_all))
}
