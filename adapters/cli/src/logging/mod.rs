//! Logs, on stderr.

mod throttle;

use core::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::sync::LazyLock;

use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use crate::args::Global;
use crate::output::colourful;

/// The variable that holds a filter, which beats -v and -q.
const VARIABLE: &str = "HOMING_LOG";
/// The variable that says how lines look: `json`, or as people read them.
const FORMAT: &str = "HOMING_LOG_FORMAT";

static THROTTLE: LazyLock<throttle::Throttle> = LazyLock::new(throttle::Throttle::default);

/// How much a command has to say where nobody asks for more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chatter {
    /// Says what it does, as servers do.
    Server,
    /// The same where anybody may speak to it, so that nobody fills the log.
    Throttled,
    /// Speaks of trouble only.
    Command,
    /// Shows everything on stdout itself.
    Show,
}

/// Starts logging.
pub(crate) fn start(global: &Global, chatter: Chatter) {
    let filter = match (global.quiet, global.verbose, chatter) {
        (false, 0, Chatter::Show) => "off",
        (true, ..) => "error,async_nats=off",
        // A relay says itself, and once, what the library for NATS says at each of its attempts.
        (false, 0, Chatter::Server | Chatter::Throttled) => "warn,homing=info,async_nats=off",
        (false, 0, Chatter::Command) => "error,homing=warn",
        (false, 1, _) => "info,homing=debug",
        (false, ..) => "debug,homing=trace",
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(filter));
    let lines = fmt::layer().with_writer(io::stderr).with_target(global.verbose > 0);
    let lines = if std::env::var(FORMAT).is_ok_and(|format| format == "json") {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(colourful(io::stderr().is_terminal())).boxed()
    };
    let throttle = (chatter == Chatter::Throttled).then_some(&*THROTTLE);
    let lines = match throttle {
        Some(throttle) => lines.with_filter(throttle).boxed(),
        None => lines,
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Tells how many lines were left out, for ever.
pub(crate) async fn tell_left_out() -> Infallible {
    let mut due = tokio::time::interval(throttle::WHILE);
    loop {
        due.tick().await;
        for throttle::LeftOut { lines, target, reason } in THROTTLE.renew() {
            tracing::warn!(lines, of = target, reason, "left out lines of the log; there were too many of one kind");
        }
    }
}
