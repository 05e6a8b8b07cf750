//! What a machine does as a device of hosts: pairing, its list of hosts, local ends of services.

mod ends;
mod guest;
mod log;
mod news;
mod pair;

use std::path::Path;

use homing_device::{DeviceError, Profiles};
use homing_local::clock::{rfc3339, unix_now};
use serde_json::json;

pub(crate) use ends::{connect, forward, proxy};
pub(crate) use guest::guest;
pub(crate) use pair::pair;

use crate::args::HostsCommand;
use crate::failure::{Exit, Failure};
use crate::output::{Output, clean_line};

/// `hosts …`
pub(crate) fn hosts(command: HostsCommand, data: &Path, out: Output) -> Result<(), Failure> {
    match command {
        HostsCommand::List => list(data, out),
        HostsCommand::Rename { host, name } => {
            let renamed = Profiles::rename(data, &host, &name)?;
            out.say(
                &json!({ "ok": true }),
                format_args!("{} is called {} now", clean_line(&host), clean_line(&renamed.name)),
            )
        }
        HostsCommand::Log { host, accept } => log::log(&host, accept, data, out),
        HostsCommand::Forget { host } => {
            let gone = Profiles::forget(data, &host)?;
            let name = clean_line(&gone.name);
            let text = match gone.guest_until {
                None => {
                    format!("forgot {name}; its own list keeps this device until `homing host devices revoke` there")
                }
                Some(_) => format!("forgot {name}; the guest's link is as good as before for whoever has it"),
            };
            out.say(&json!({ "ok": true }), text)
        }
    }
}

fn list(data: &Path, out: Output) -> Result<(), Failure> {
    let hosts = Profiles::list(data)?;
    let json = hosts.iter().map(|host| {
        json!({
            "id": host.id,
            "name": host.name,
            "relay": host.relay,
            "relays": host.relays,
            "paired_at": rfc3339(host.paired_at),
            "warning": host.warning,
            "guest_until": host.guest_until.map(rfc3339),
        })
    });
    out.json(&json.collect())?;
    if hosts.is_empty() {
        return out.text("no hosts yet; `homing pair LINK` adds the one that shows the link");
    }
    let titles = ["NAME", "ID", "RELAYS", "PAIRED", "GUEST"].map(str::to_owned);
    let rows = hosts.iter().map(|host| {
        let guest = match host.guest_until {
            None => String::new(),
            Some(end) if unix_now() >= end => "is over".into(),
            Some(end) => format!("until {}", rfc3339(end)),
        };
        let relays = clean_line(&host.relays.join(" "));
        [clean_line(&host.name), clean_line(&host.id), relays, rfc3339(host.paired_at), guest]
    });
    out.table(&core::iter::once(titles).chain(rows).collect::<Vec<_>>())
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        let exit = match (&error, error.exit_code()) {
            // The argument is not what it should be.
            (
                DeviceError::Link(_) | DeviceError::BadName { .. } | DeviceError::BadService | DeviceError::TooNarrow,
                _,
            ) => Exit::Usage,
            (_, 3) => Exit::Unreachable,
            (_, 4) => Exit::Refused,
            (_, 5) => Exit::Expired,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}
