//! The `homing` program: reads the command line and settings, runs one role or asks a running one, and says how it went.
//! The roles themselves are libraries; nothing here knows a protocol.
#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the doc comments of arguments are help texts"
)]
#![forbid(unsafe_code)]

mod args;
mod config;
mod demo;
mod device;
mod doctor;
mod documents;
mod failure;
mod host;
mod lock;
mod logging;
mod output;
mod qr;
mod relay;
mod signals;
mod status;
mod supervisor;

use core::future::Future;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use homing_local::data_dir;
use tokio::runtime::Builder;

use args::{Cli, Command, ConfigCommand, HostCommand, RelayCommand};
use config::Config;
use failure::{Exit, Failure};
use logging::Chatter;
use output::Output;

/// Threads of a command that is no server.
const FEW_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Output::new(cli.global.json);
    logging::start(&cli.global, chatter(&cli.command));
    match run(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report().into(),
    }
}

const fn chatter(command: &Command) -> Chatter {
    match command {
        Command::Relay(RelayCommand::Start(_)) => Chatter::Throttled,
        Command::Host(HostCommand::Start(_)) => Chatter::Server,
        Command::Demo(_) => Chatter::Show,
        _ => Chatter::Command,
    }
}

fn run(cli: Cli, out: Output) -> Result<(), Failure> {
    let explicit = cli.global.data;
    let data = || data_dir::resolve(explicit.as_deref()).map_err(|error| Failure::of(Exit::Usage, &error));
    match cli.command {
        Command::Completions { shell } => documents::completions(shell),
        Command::Man { dir } => documents::man(&dir, out),
        Command::Config(command) => configure(&command, &data()?, out),
        Command::Demo(args) => block_on(None, demo::demo(args, out)),
        Command::Relay(RelayCommand::Start(args)) => {
            let socket = supervisor::socket()?; // while there is one thread only
            block_on(None, relay::start(*args, socket, &data()?, out))
        }
        Command::Relay(RelayCommand::Status) => brief(relay::status(&data()?, out)),
        Command::Relay(RelayCommand::Keys(command)) => brief(relay::keys(command, &data()?, out)),
        Command::Host(command) => {
            let data = data()?;
            match command {
                HostCommand::Start(args) => block_on(None, host::start(args, &data, out)),
                HostCommand::Pair(args) => brief(host::pair(args, &data, out)),
                HostCommand::Devices(command) => brief(host::devices(command, &data, out)),
                HostCommand::Guests(command) => brief(host::guests(command, &data, out)),
                HostCommand::Audit(args) => brief(host::audit(args, &data, out)),
                HostCommand::Token(args) => brief(host::token(args, &data, out)),
                HostCommand::Jwks => host::jwks(&data, out),
                HostCommand::Rotate(args) => brief(host::rotate(args, &data, out)),
                HostCommand::Enable => brief(host::set_enabled(true, &data, out)),
                HostCommand::Disable => brief(host::set_enabled(false, &data, out)),
            }
        }
        Command::Pair(args) => brief(device::pair(args, &data()?, out)),
        Command::Guest(args) => device::guest(args, &data()?, out),
        Command::Hosts(command) => device::hosts(command, &data()?, out),
        Command::Forward(args) => brief(device::forward(args, &data()?, out)),
        Command::Connect(args) => brief(device::connect(args, &data()?)),
        Command::Proxy(args) => brief(device::proxy(args, &data()?, out)),
        Command::Status => brief(status::status(&data()?, out)),
        Command::Doctor(args) => brief(doctor::doctor(args, &data()?, out)),
    }
}

fn configure(command: &ConfigCommand, data: &Path, out: Output) -> Result<(), Failure> {
    let config = Config::load(data)?;
    match command {
        ConfigCommand::Show { origin } => config.show(out, *origin),
        ConfigCommand::Lock { passphrase_file } => lock::relock_all(data, Some(passphrase_file), out),
        ConfigCommand::Unlock => lock::relock_all(data, None, out),
        ConfigCommand::Check => {
            let _ = config.check_services()?;
            let file = data.join(config::FILE);
            let there = file.exists();
            let text =
                if there { "in order" } else { "not there, which is fine: defaults and environment are in order" };
            out.say(
                &serde_json::json!({ "ok": true, "file": file, "exists": there }),
                format_args!("{}: {text}", file.display()),
            )
        }
    }
}

/// Runs what needs no more than a few threads.
fn brief(task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    block_on(Some(FEW_THREADS), task)
}

fn block_on(threads: Option<usize>, task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    let done = runtime.block_on(task);
    // A read of stdin that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    done
}
