//! `[plans.NAME]` of `homing.toml`: what the accounts of a relay may use.

use homing_relay::account::{Plan, Plans, UNLIMITED};
use serde::{Deserialize, Serialize};

/// Less would not carry a full record within the time that an end waits for a sign of the other.
const MIN_RATE: u64 = 16 << 10;

/// A plan as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
    hosts: Option<u32>,
    devices: Option<u32>,
    bytes_per_second: Option<u64>,
    bytes_per_month: Option<u64>,
}

pub(super) fn parse(section: toml::Value) -> Result<Plans, String> {
    let toml::Value::Table(table) = section else { return Err("plans are written as [plans.NAME]".into()) };
    table.into_iter().map(|(name, value)| Ok((name.clone(), parse_plan(&name, value)?))).collect()
}

fn parse_plan(name: &str, value: toml::Value) -> Result<Plan, String> {
    if name == UNLIMITED {
        return Err(format!("the plan {UNLIMITED:?} limits nothing; choose another name"));
    }
    let written: Written = value.try_into().map_err(|error: toml::de::Error| {
        format!(
            "[plans.{name}]: {}; a plan has features, hosts, devices, bytes_per_second, bytes_per_month",
            error.message()
        )
    })?;
    let Written { features, hosts, devices, bytes_per_second, bytes_per_month } = written;
    if bytes_per_second.is_some_and(|rate| rate < MIN_RATE) {
        return Err(format!("[plans.{name}]: bytes_per_second is at least {MIN_RATE}"));
    }
    Ok(Plan { features: features.into_iter().collect(), hosts, devices, bytes_per_second, bytes_per_month })
}

/// Every value of every plan, as `config show` has it.
pub(super) fn shown(plans: &Plans) -> impl Iterator<Item = (String, serde_json::Value)> {
    plans.iter().flat_map(|(name, plan)| {
        let written = Written {
            features: plan.features.iter().cloned().collect(),
            hosts: plan.hosts,
            devices: plan.devices,
            bytes_per_second: plan.bytes_per_second,
            bytes_per_month: plan.bytes_per_month,
        };
        let fields = serde_json::to_value(written).unwrap_or_default();
        let fields = fields.as_object().cloned().unwrap_or_default().into_iter().filter(|(_, value)| !value.is_null());
        fields.map(move |(key, value)| (format!("plans.{name}.{key}"), value))
    })
}
