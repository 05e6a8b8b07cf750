//! A setting's value, checked as it is read.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::path::Path;

use homing_host::service::Exposed;
use homing_tokio::RelayUrl;
use ipnet::IpNet;

use super::{Kind, Setting};

/// The longest time that a setting may have, in seconds.
pub(crate) const MAX_SECONDS: u64 = 3600;
/// The most sessions that a host may be set to have at once.
pub(crate) const MAX_SESSIONS: u32 = 256;

/// Where a value comes from, flags aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File,
    Variable,
}

impl Origin {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Variable => "environment",
        }
    }
}

/// A value that fits its setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
    Switch(bool),
}

impl Value {
    /// A variable's text; lists have commas.
    pub(super) fn from_text(setting: &Setting, text: &str) -> Result<Self, String> {
        let value = match setting.kind {
            Kind::Switch => Self::Switch(match text {
                "true" | "1" | "yes" | "on" => true,
                "false" | "0" | "no" | "off" => false,
                _ => return Err(format!("{text:?} is neither true nor false")),
            }),
            kind if kind.is_list() => Self::List(text.split(',').map(|item| item.trim().to_owned()).collect()),
            _ => Self::Text(text.to_owned()),
        };
        value.checked(setting)
    }

    /// A value of the file. Relative paths are meant from its directory.
    pub(super) fn from_toml(setting: &Setting, value: toml::Value, dir: &Path) -> Result<Self, String> {
        let value = match (setting.kind, value) {
            (Kind::Switch, toml::Value::Boolean(on)) => Self::Switch(on),
            (Kind::Switch, _) => return Err("write true or false, without quotes".to_owned()),
            (kind, toml::Value::Array(items)) if kind.is_list() => {
                let item = |item| match item {
                    toml::Value::String(text) => Ok(text),
                    _ => Err("write a list of texts in quotes".to_owned()),
                };
                Self::List(items.into_iter().map(item).collect::<Result<_, _>>()?)
            }
            (kind, toml::Value::String(text)) if kind.is_list() => Self::List(vec![text]),
            (Kind::Path, toml::Value::String(text)) => Self::Text(dir.join(text).to_string_lossy().into_owned()),
            (Kind::Seconds | Kind::Number(_), toml::Value::Integer(number)) => Self::Text(number.to_string()),
            (_, toml::Value::String(text)) => Self::Text(text),
            (kind, _) if kind.is_list() => return Err("write a list of texts in quotes".to_owned()),
            _ => return Err("write a text in quotes".to_owned()),
        };
        value.checked(setting)
    }

    fn checked(self, setting: &Setting) -> Result<Self, String> {
        match &self {
            Self::Text(text) => check(setting.kind, text)?,
            Self::List(list) => list.iter().try_for_each(|text| check(setting.kind, text))?,
            Self::Switch(_) => {}
        }
        Ok(self)
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::List(list) => list.clone().into(),
            Self::Switch(on) => (*on).into(),
        }
    }
}

fn check(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Address => {
            text.parse::<SocketAddr>().map(drop).map_err(|_| "write IP:PORT, such as 127.0.0.1:8080".to_owned())
        }
        Kind::Seconds => text
            .parse::<u64>()
            .ok()
            .filter(|seconds| *seconds <= MAX_SECONDS)
            .map(drop)
            .ok_or_else(|| format!("write a number of seconds, {MAX_SECONDS} at most")),
        Kind::Number(most) => text
            .parse::<u32>()
            .ok()
            .filter(|number| (1..=most).contains(number))
            .map(drop)
            .ok_or_else(|| format!("write a number from 1 to {most}")),
        Kind::Networks => parse_network(text).map(drop),
        Kind::Relays => text.parse::<RelayUrl>().map(drop).map_err(|error| error.to_string()),
        Kind::Services => text.parse::<Exposed>().map(drop).map_err(|error| error.to_string()),
        Kind::Text | Kind::Path | Kind::Names | Kind::Switch if text.is_empty() => Err("it is empty".to_owned()),
        Kind::Text | Kind::Path | Kind::Names | Kind::Switch => Ok(()),
    }
}

/// A network, or one address.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| format!("{text:?} is no network; write 10.0.0.0/8 or 192.0.2.1"))
}

/// As it would stand in the file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
            Self::Switch(on) => write!(f, "{on}"),
        }
    }
}
