//! `homing relay keys …`: tells the running relay, else its file of accounts.

use core::time::Duration;
use std::path::Path;

use homing_local::clock::{month, rfc3339, unix_now};
use homing_local::control::{ControlError, Role, call};
use homing_local::{RoleLock, file};
use homing_relay::account::{AccountEntry, AccountError, Accounts, Month, RelayKey, UNLIMITED};
use serde_json::{Value, json};

use crate::args::RelayKeysCommand;
use crate::failure::{Exit, Failure};
use crate::output::{Output, clean_line, field};

/// In the data directory.
const FILE: &str = "relay.redb";
/// The hash of the only key, before there were accounts.
const FORMER: &str = "relay.key-hash";
/// The account of the first start.
const FIRST: &str = "default";

/// The relay's accounts; where there are none yet, one, whose key is shown once.
pub(super) fn open(data: &Path) -> Result<(Accounts, Option<RelayKey>), Failure> {
    let accounts = Accounts::open(&data.join(FILE)).map_err(|error| failed(&error))?;
    if !accounts.list().map_err(|error| failed(&error))?.is_empty() {
        return Ok((accounts, None));
    }
    let path = data.join(FORMER);
    let now = unix_now();
    let Some(bytes) = file::read(&path)? else {
        let key = accounts.add(FIRST, UNLIMITED, None, now).map_err(|error| failed(&error))?;
        return Ok((accounts, Some(key)));
    };
    let text = core::str::from_utf8(&bytes).unwrap_or_default();
    let hash = homing_local::hex::parse::<32>(text.trim()).ok_or_else(|| {
        let path = path.display();
        Failure::failed(format!("{path} holds no hash; remove it to make a new key, which every host then needs"))
    })?;
    accounts.add_hash(FIRST, UNLIMITED, None, now, hash.expose()).map_err(|error| failed(&error))?;
    Ok((accounts, None))
}

/// `relay keys …`.
pub(crate) async fn keys(command: RelayKeysCommand, data: &Path, out: Output) -> Result<(), Failure> {
    let order = match &command {
        RelayKeysCommand::Add { name, plan, life } => {
            json!({ "cmd": "keys", "do": "add", "name": name, "plan": plan, "life": life })
        }
        RelayKeysCommand::List => json!({ "cmd": "keys", "do": "list" }),
        RelayKeysCommand::Rotate { name, overlap } => {
            json!({ "cmd": "keys", "do": "rotate", "name": name, "overlap": overlap })
        }
        RelayKeysCommand::Revoke { name } => json!({ "cmd": "keys", "do": "revoke", "name": name }),
    };
    let answer = ask(data, &order).await?;
    match command {
        RelayKeysCommand::List => list(&answer, out),
        RelayKeysCommand::Revoke { name } => {
            out.say(&answer, format_args!("{} is shut out: its keys let no host in any more", clean_line(&name)))
        }
        RelayKeysCommand::Add { name, .. } => {
            out.say(&answer, format_args!("{}\n\n    {}\n", shown_once(&name), field(&answer, "relay_key")))
        }
        RelayKeysCommand::Rotate { name, .. } => {
            let until = field(&answer, "old_key_until");
            let old = if until == "-" { "no longer lets in".into() } else { format!("lets in until {until}") };
            let key = field(&answer, "relay_key");
            out.say(&answer, format_args!("{}\nThe one before it {old}.\n\n    {key}\n", shown_once(&name)))
        }
    }
}

fn shown_once(name: &str) -> String {
    format!(
        "The key of {}, shown this once. Its hosts take it from a file of mode 0600, with --relay-key-file FILE.",
        clean_line(name)
    )
}

async fn ask(data: &Path, order: &Value) -> Result<Value, Failure> {
    match call(data, Role::Relay, order).await {
        Ok(mut connection) => connection
            .next()
            .await?
            .ok_or_else(|| Failure::new(Exit::Unreachable, "the relay stopped while it was asked")),
        Err(ControlError::NotRunning { .. }) => {
            // Held while the file is open: a relay that starts now says so instead of failing on its file.
            let _lock = RoleLock::acquire(data, "relay").map_err(|error| Failure::of(Exit::Failed, &error))?;
            let accounts = Accounts::open(&data.join(FILE)).map_err(|error| failed(&error))?;
            carry_out(&accounts, order).map_err(|error| failed(&error))
        }
        Err(error) => Err(error.into()),
    }
}

/// Does what an order says, for the command or for the running relay.
pub(super) fn carry_out(accounts: &Accounts, order: &Value) -> Result<Value, AccountError> {
    let text = |name: &str| order.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| order.get(name).and_then(Value::as_u64);
    let (name, now) = (text("name"), unix_now());
    match text("do") {
        "add" => {
            let expires_at = number("life").map(|life| now.saturating_add(life));
            let key = accounts.add(name, text("plan"), expires_at, now)?;
            Ok(json!({ "name": name, "relay_key": key.as_str(), "expires_at": expires_at.map(rfc3339) }))
        }
        "rotate" => {
            let overlap = Duration::from_secs(number("overlap").unwrap_or(0));
            let key = accounts.rotate(name, overlap, now)?;
            let old_key_until = (!overlap.is_zero()).then(|| rfc3339(now.saturating_add(overlap.as_secs())));
            Ok(json!({ "name": name, "relay_key": key.as_str(), "old_key_until": old_key_until }))
        }
        "revoke" => accounts.revoke(name, now).map(|()| json!({ "ok": true })),
        _ => Ok(accounts.list()?.iter().map(|(name, entry)| account_json(name, entry, now)).collect()),
    }
}

fn account_json(name: &str, entry: &AccountEntry, now: u64) -> Value {
    let ended = entry.expires_at.is_some_and(|end| end <= now);
    json!({
        "name": name,
        "plan": entry.plan,
        "state": if entry.revoked_at.is_some() { "revoked" } else if ended { "expired" } else { "active" },
        "created_at": rfc3339(entry.created_at),
        "expires_at": entry.expires_at.map(rfc3339),
        "key_made_at": rfc3339(entry.key_made_at),
        "old_key_until": entry.old_key_until.filter(|end| *end > now).map(rfc3339),
        "bytes_this_month": entry.used_in(Month(month(now))),
    })
}

fn list(accounts: &Value, out: Output) -> Result<(), Failure> {
    out.json(accounts)?;
    let accounts = accounts.as_array().map(Vec::as_slice).unwrap_or_default();
    if accounts.is_empty() {
        return out.text("no accounts yet; `homing relay keys add NAME` makes one");
    }
    let titles = ["NAME", "PLAN", "STATE", "MADE", "EXPIRES", "BYTES THIS MONTH"];
    let fields = ["name", "plan", "state", "created_at", "expires_at", "bytes_this_month"];
    let rows = accounts.iter().map(|account| fields.map(|name| field(account, name)));
    out.table(&core::iter::once(titles.map(str::to_owned)).chain(rows).collect::<Vec<_>>())
}

fn failed(error: &AccountError) -> Failure {
    Failure::of(Exit::Failed, error)
}
