//! Logs, on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::args::Global;
use crate::output::colourful;

/// The variable that holds a filter, which beats -v and -q.
const VARIABLE: &str = "HOMING_LOG";

/// How much a command has to say where nobody asks for more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chatter {
    /// Says what it does, as servers do.
    Server,
    /// Speaks of trouble only.
    Command,
    /// Shows everything on stdout itself.
    Show,
}

/// Starts logging.
pub(crate) fn start(global: &Global, chatter: Chatter) {
    let filter = match (global.quiet, global.verbose, chatter) {
        (false, 0, Chatter::Show) => "off",
        (true, ..) => "error",
        (false, 0, Chatter::Server) => "warn,homing=info",
        (false, 0, Chatter::Command) => "error,homing=warn",
        (false, 1, _) => "info,homing=debug",
        (false, ..) => "debug,homing=trace",
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(filter));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colourful(io::stderr().is_terminal()))
        .with_target(global.verbose > 0)
        .init();
}
