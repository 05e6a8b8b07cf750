//! Who decides which hosts come in: nobody, the file of accounts, or a server of the operator's.

use std::path::Path;
use std::sync::Arc;

use homing_local::file;
use homing_relay::Admission;
use homing_relay::account::{AccountBook, Callout, CalloutConfig, Plans, RelayKey};
use zeroize::Zeroizing;

use super::keys;
use crate::args::RelayStartArgs;
use crate::config::{Config, settings};
use crate::failure::{Exit, Failure};

/// Who decides.
#[derive(Clone)]
pub(super) enum Decider {
    Nobody,
    Everyone,
    Book(Arc<AccountBook>),
    Server(Arc<Callout>),
}

impl Decider {
    /// As flags and settings have it; the key too, where there was none yet.
    pub(super) fn of(args: &RelayStartArgs, config: &Config, data: &Path) -> Result<(Self, Option<RelayKey>), Failure> {
        let is_open = args.open || config.is_on(&settings::RELAY_OPEN);
        let is_open_to_everyone = args.open_to_everyone || config.is_on(&settings::RELAY_OPEN_TO_EVERYONE);
        let url = config.text(&settings::RELAY_ADMIT_URL, args.admit_url.clone());
        match url {
            Some(_) if is_open || is_open_to_everyone => {
                Err(Failure::usage("--open asks nobody, and --admit-url a server: give one of them"))
            }
            Some(url) => Ok((Self::Server(Arc::new(server(url, args, config)?)), None)),
            None if is_open_to_everyone => Ok((Self::Everyone, None)),
            None if is_open => Ok((Self::Nobody, None)),
            None => {
                let (accounts, fresh) = keys::open(data)?;
                Ok((Self::Book(Arc::new(AccountBook::new(accounts, config.plans().clone()))), fresh))
            }
        }
    }

    pub(super) fn admission(&self) -> Admission {
        match self {
            Self::Nobody => Admission::Open,
            Self::Everyone => Admission::OpenToEveryone,
            Self::Book(book) => Admission::Ask(book.clone()),
            Self::Server(server) => Admission::Ask(server.clone()),
        }
    }

    /// Takes the plans that are in the file now.
    pub(super) fn set_plans(&self, plans: &Plans) {
        match self {
            Self::Nobody | Self::Everyone => {}
            Self::Book(book) => book.set_plans(plans.clone()),
            Self::Server(server) => server.set_plans(plans.clone()),
        }
    }

    /// The accounts, where the relay keeps them; else why it does not.
    pub(super) fn book(&self) -> Result<&AccountBook, &'static str> {
        match self {
            Self::Nobody | Self::Everyone => Err("the relay runs with --open: it lets every host in, without keys"),
            Self::Book(book) => Ok(book),
            Self::Server(_) => Err("the relay runs with --admit-url: accounts and keys are that server's business"),
        }
    }
}

fn server(url: String, args: &RelayStartArgs, config: &Config) -> Result<Callout, Failure> {
    let token = match config.path(&settings::RELAY_ADMIT_TOKEN, args.admit_token_file.clone()) {
        None => None,
        Some(path) => {
            let missing = || Failure::failed(format!("there is no {}, which is to hold a token", path.display()));
            let bytes = file::read(&path)?.ok_or_else(missing)?;
            let no_text = |_| Failure::failed(format!("{} holds no text", path.display()));
            let text = core::str::from_utf8(&bytes).map_err(no_text)?;
            Some(Zeroizing::new(text.trim().to_owned()))
        }
    };
    let addresses = args.admit_addresses || config.is_on(&settings::RELAY_ADMIT_ADDRESSES);
    let roots = config.path(&settings::RELAY_ADMIT_CA, args.admit_ca.clone());
    let grace = config.seconds(&settings::RELAY_ADMIT_GRACE, args.admit_grace_seconds);
    let plans = config.plans().clone();
    let config = CalloutConfig { token, roots, addresses, grace, plans, ..CalloutConfig::new(url) };
    Callout::new(config).map_err(|error| Failure::of(Exit::Usage, &error))
}
