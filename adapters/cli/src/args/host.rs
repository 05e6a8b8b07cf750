//! `homing host …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::QrArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Run the host
    Start(HostStartArgs),
    /// Show a QR code and a link that let one device in
    Pair(HostPairArgs),
    /// The devices that were let in
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Let devices reach the running host again
    Enable,
    /// Cut the running host off from its relays and devices
    Disable,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: homing host start --relay wss://relay.example.org --expose web=http://127.0.0.1:3000")]
pub(crate) struct HostStartArgs {
    /// A relay: wss://host[:port], or ws:// on this machine. Repeatable [env: HOMING_RELAY_SERVER, with commas]
    #[arg(long = "relay", value_name = "URL")]
    pub(crate) relays: Vec<String>,
    /// A service and where it is: http, https, tcp, unix or http+unix. Repeatable [env: HOMING_EXPOSE, with commas]
    #[arg(long = "expose", value_name = "NAME=URL")]
    pub(crate) exposed: Vec<String>,
    /// What devices call this host [env: HOMING_NAME] [default: the machine's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A file with the relay's key, mode 0600 [env: HOMING_RELAY_KEY_FILE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) relay_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --auto or --confirm it asks before letting the device in where stdin is a terminal, and does not ask otherwise.\n\
The link works once, for 5 minutes, and only for as long as this command runs.")]
pub(crate) struct HostPairArgs {
    /// Let in whoever shows the link first
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) auto: bool,
    /// Ask before letting the device in; both ends show the same check words
    #[arg(long)]
    pub(crate) confirm: bool,
    #[command(flatten)]
    pub(crate) qr: QrArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// All of them
    List,
    /// Give one another name
    Rename {
        /// Its id, or the beginning of it
        id: String,
        /// The new name
        name: String,
    },
    /// Shut one out for good, at once
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}
