//! `[plans.NAME]` and `[limits]` of `homing.toml`: what the accounts and the hosts of a relay may use.

use core::time::Duration;

use homing_relay::account::{HostLimits, MIN_RATE, Plan, Plans, UNLIMITED};
use homing_relay::{AddressLimits, RelayConfig};
use serde::{Deserialize, Serialize};

pub(super) fn parse(section: toml::Value) -> Result<Plans, String> {
    let toml::Value::Table(table) = section else { return Err("plans are written as [plans.NAME]".into()) };
    table.into_iter().map(|(name, value)| Ok((name.clone(), parse_plan(&name, value)?))).collect()
}

fn parse_plan(name: &str, value: toml::Value) -> Result<Plan, String> {
    if name == UNLIMITED {
        return Err(format!("the plan {UNLIMITED:?} limits nothing; choose another name"));
    }
    let plan: Plan = value.try_into().map_err(|error: toml::de::Error| {
        format!(
            "[plans.{name}]: {}; a plan has features, hosts, devices, dials_per_second, knocks_per_minute, \
             registrations_per_minute, bytes_per_second, bytes_per_month, and for each host [plans.{name}.host]",
            error.message()
        )
    })?;
    plan.check().map_err(|wrong| format!("[plans.{name}]: {wrong}"))?;
    Ok(plan)
}

/// Every value of every plan, as `config show` has it.
pub(super) fn shown(plans: &Plans) -> impl Iterator<Item = (String, serde_json::Value)> {
    plans.iter().flat_map(|(name, plan)| flat(&format!("plans.{name}"), plan))
}

/// Bounds that hold for everybody, as they are written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Connections at once that have not said who they are.
    unknown: Option<usize>,
    /// The same of one address.
    unknown_per_address: Option<u32>,
    /// Bytes of records in a second that are taken from one address.
    bytes_per_address: Option<u64>,
    /// How long a socket may take nothing of what waits for it.
    stall_seconds: Option<u64>,
    /// What one host may use.
    #[serde(skip_serializing_if = "HostLimits::is_empty")]
    host: HostLimits,
}

impl Limits {
    pub(super) fn parse(section: toml::Value) -> Result<Self, String> {
        let limits: Self = section.try_into().map_err(|error: toml::de::Error| {
            format!(
                "[limits]: {}; there are unknown, unknown_per_address, bytes_per_address, stall_seconds, and [limits.host] \
                 with devices, dials_per_second, knocks_per_minute, registrations_per_minute, bytes_per_second",
                error.message()
            )
        })?;
        let rates = [limits.bytes_per_address, limits.host.bytes_per_second];
        if rates.into_iter().flatten().any(|rate| rate < MIN_RATE) {
            return Err(format!("[limits]: bytes per second are at least {MIN_RATE}"));
        }
        if [limits.unknown, limits.stall_seconds.map(|seconds| seconds as usize)].contains(&Some(0)) {
            return Err("[limits]: unknown and stall_seconds are at least 1".into());
        }
        Ok(limits)
    }

    /// Every value that is set, as `config show` has it.
    pub(super) fn shown(&self) -> impl Iterator<Item = (String, serde_json::Value)> {
        flat("limits", self).into_iter()
    }

    /// Bounds a relay by them.
    pub(crate) fn set(&self, relay: RelayConfig) -> RelayConfig {
        let addresses = AddressLimits {
            unknown: self.unknown_per_address.unwrap_or(relay.addresses.unknown),
            bytes_per_second: self.bytes_per_address.or(relay.addresses.bytes_per_second),
            ..relay.addresses
        };
        RelayConfig {
            addresses,
            max_handshakes: self.unknown.unwrap_or(relay.max_handshakes),
            stall: self.stall_seconds.map_or(relay.stall, Duration::from_secs),
            hosts: self.host.or(&relay.hosts),
            ..relay
        }
    }
}

/// The fields that are set, those of tables inside behind a dot.
fn flat(prefix: &str, written: &impl Serialize) -> Vec<(String, serde_json::Value)> {
    fn walk(prefix: String, value: serde_json::Value, out: &mut Vec<(String, serde_json::Value)>) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.into_iter().for_each(|(key, value)| walk(format!("{prefix}.{key}"), value, out));
            }
            serde_json::Value::Null => {}
            value => out.push((prefix, value)),
        }
    }
    let mut out = Vec::new();
    walk(prefix.to_owned(), serde_json::to_value(written).unwrap_or_default(), &mut out);
    out
}
