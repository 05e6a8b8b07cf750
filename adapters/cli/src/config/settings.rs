//! The settings that there are.

use super::value::MAX_SESSIONS;

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Section and name in `homing.toml`, with a dot between.
    pub(crate) key: &'static str,
    /// The environment variable.
    pub(crate) variable: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// What it is where nobody sets it.
    pub(crate) default: Option<&'static str>,
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// `IP:PORT`.
    Address,
    /// A file's path.
    Path,
    /// `true` or `false`.
    Switch,
    /// URLs of relays.
    Relays,
    /// `NAME=URL` of services.
    Services,
    /// A relay's names.
    Names,
    /// A time, in seconds.
    Seconds,
    /// A number from 1 to this.
    Number(u32),
    /// Networks, such as `10.0.0.0/8`, or addresses.
    Networks,
}

impl Kind {
    /// Whether there may be several.
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Self::Relays | Self::Services | Self::Names | Self::Networks)
    }
}

impl Setting {
    /// The section of `homing.toml`.
    pub(crate) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(section, _)| section)
    }
}

/// The names in a section, for messages.
pub(super) fn keys_of(section: &str) -> String {
    let of = SETTINGS.iter().filter(|setting| setting.section() == section);
    of.filter_map(|setting| Some(setting.key.split_once('.')?.1)).collect::<Vec<_>>().join(", ")
}

const fn setting(key: &'static str, variable: &'static str, kind: Kind, default: Option<&'static str>) -> Setting {
    Setting { key, variable, kind, default }
}

pub(crate) static RELAY_LISTEN: Setting =
    setting("relay.listen", "HOMING_RELAY_LISTEN", Kind::Address, Some("127.0.0.1:8080"));
pub(crate) static RELAY_TLS_CERT: Setting = setting("relay.tls_cert", "HOMING_RELAY_TLS_CERT", Kind::Path, None);
pub(crate) static RELAY_TLS_KEY: Setting = setting("relay.tls_key", "HOMING_RELAY_TLS_KEY", Kind::Path, None);
pub(crate) static RELAY_CLIENT_CA: Setting = setting("relay.client_ca", "HOMING_RELAY_CLIENT_CA", Kind::Path, None);
pub(crate) static RELAY_ACME: Setting = setting("relay.acme", "HOMING_RELAY_ACME", Kind::Names, None);
pub(crate) static RELAY_ACME_EMAIL: Setting = setting("relay.acme_email", "HOMING_RELAY_ACME_EMAIL", Kind::Text, None);
pub(crate) static RELAY_ACME_DIRECTORY: Setting =
    setting("relay.acme_directory", "HOMING_RELAY_ACME_DIRECTORY", Kind::Text, Some(homing_relay::acme::LETS_ENCRYPT));
pub(crate) static RELAY_OPEN: Setting = setting("relay.open", "HOMING_RELAY_OPEN", Kind::Switch, Some("false"));
pub(crate) static RELAY_OPEN_TO_EVERYONE: Setting =
    setting("relay.open_to_everyone", "HOMING_RELAY_OPEN_TO_EVERYONE", Kind::Switch, Some("false"));
pub(crate) static RELAY_ADMIT_URL: Setting = setting("relay.admit_url", "HOMING_RELAY_ADMIT_URL", Kind::Text, None);
pub(crate) static RELAY_ADMIT_TOKEN: Setting =
    setting("relay.admit_token_file", "HOMING_RELAY_ADMIT_TOKEN_FILE", Kind::Path, None);
pub(crate) static RELAY_ADMIT_CA: Setting = setting("relay.admit_ca", "HOMING_RELAY_ADMIT_CA", Kind::Path, None);
pub(crate) static RELAY_ADMIT_ADDRESSES: Setting =
    setting("relay.admit_addresses", "HOMING_RELAY_ADMIT_ADDRESSES", Kind::Switch, Some("false"));
pub(crate) static RELAY_ADMIT_GRACE: Setting =
    setting("relay.admit_grace_seconds", "HOMING_RELAY_ADMIT_GRACE_SECONDS", Kind::Seconds, Some("0"));
pub(crate) static RELAY_NAMES: Setting = setting("relay.names", "HOMING_RELAY_NAMES", Kind::Names, None);
pub(crate) static RELAY_DRAIN: Setting =
    setting("relay.drain_seconds", "HOMING_RELAY_DRAIN_SECONDS", Kind::Seconds, Some("10"));
pub(crate) static RELAY_METRICS: Setting = setting("relay.metrics", "HOMING_RELAY_METRICS", Kind::Address, None);
pub(crate) static RELAY_PROXIES: Setting =
    setting("relay.trusted_proxies", "HOMING_RELAY_TRUSTED_PROXIES", Kind::Networks, None);
pub(crate) static RELAY_PROXY_PROTOCOL: Setting =
    setting("relay.proxy_protocol", "HOMING_RELAY_PROXY_PROTOCOL", Kind::Switch, Some("false"));
pub(crate) static RELAY_LOG_ADDRESSES: Setting =
    setting("relay.log_addresses", "HOMING_RELAY_LOG_ADDRESSES", Kind::Switch, Some("false"));
pub(crate) static RELAY_ADDRESS_LINKS: Setting =
    setting("relay.links_per_address", "HOMING_RELAY_LINKS_PER_ADDRESS", Kind::Number(1_000_000), Some("512"));
pub(crate) static RELAY_ADDRESS_RATE: Setting =
    setting("relay.dials_per_address", "HOMING_RELAY_DIALS_PER_ADDRESS", Kind::Number(1_000_000), Some("20"));
pub(crate) static RELAY_MAX_LINKS: Setting =
    setting("relay.max_links", "HOMING_RELAY_MAX_LINKS", Kind::Number(1_000_000), Some("4096"));
pub(crate) static RELAY_QUEUES: Setting =
    setting("relay.queue_mib", "HOMING_RELAY_QUEUE_MIB", Kind::Number(1_000_000), Some("256"));
pub(crate) static CLUSTER_NODE: Setting = setting("cluster.node", "HOMING_CLUSTER_NODE", Kind::Text, None);
pub(crate) static CLUSTER_URL: Setting = setting("cluster.url", "HOMING_CLUSTER_URL", Kind::Text, None);
pub(crate) static CLUSTER_PEERS: Setting = setting("cluster.peers", "HOMING_CLUSTER_PEERS", Kind::Names, None);
pub(crate) static CLUSTER_NATS: Setting = setting("cluster.nats", "HOMING_CLUSTER_NATS", Kind::Names, None);
pub(crate) static CLUSTER_NATS_USER: Setting =
    setting("cluster.nats_user", "HOMING_CLUSTER_NATS_USER", Kind::Text, None);
pub(crate) static CLUSTER_NATS_PASSWORD: Setting =
    setting("cluster.nats_password_file", "HOMING_CLUSTER_NATS_PASSWORD_FILE", Kind::Path, None);
pub(crate) static CLUSTER_NATS_TOKEN: Setting =
    setting("cluster.nats_token_file", "HOMING_CLUSTER_NATS_TOKEN_FILE", Kind::Path, None);
pub(crate) static CLUSTER_NATS_NKEY: Setting =
    setting("cluster.nats_nkey_file", "HOMING_CLUSTER_NATS_NKEY_FILE", Kind::Path, None);
pub(crate) static CLUSTER_NATS_CREDENTIALS: Setting =
    setting("cluster.nats_credentials", "HOMING_CLUSTER_NATS_CREDENTIALS", Kind::Path, None);
pub(crate) static CLUSTER_NATS_CA: Setting = setting("cluster.nats_ca", "HOMING_CLUSTER_NATS_CA", Kind::Path, None);
pub(crate) static CLUSTER_NATS_CERT: Setting =
    setting("cluster.nats_cert", "HOMING_CLUSTER_NATS_CERT", Kind::Path, None);
pub(crate) static CLUSTER_NATS_KEY: Setting = setting("cluster.nats_key", "HOMING_CLUSTER_NATS_KEY", Kind::Path, None);
pub(crate) static CLUSTER_NAME: Setting = setting("cluster.name", "HOMING_CLUSTER_NAME", Kind::Text, Some("homing"));
pub(crate) static CLUSTER_LEASE: Setting =
    setting("cluster.lease_seconds", "HOMING_CLUSTER_LEASE_SECONDS", Kind::Seconds, Some("10"));
pub(crate) static HOST_ENABLED: Setting = setting("host.enabled", "HOMING_RELAY_ENABLED", Kind::Switch, Some("true"));
pub(crate) static HOST_RELAY: Setting = setting("host.relay", "HOMING_RELAY_SERVER", Kind::Relays, None);
pub(crate) static HOST_RELAY_KEY_FILE: Setting =
    setting("host.relay_key_file", "HOMING_RELAY_KEY_FILE", Kind::Path, None);
pub(crate) static HOST_CLIENT_CERT: Setting = setting("host.client_cert", "HOMING_HOST_CLIENT_CERT", Kind::Path, None);
pub(crate) static HOST_CLIENT_KEY: Setting = setting("host.client_key", "HOMING_HOST_CLIENT_KEY", Kind::Path, None);
pub(crate) static HOST_EXPOSE: Setting = setting("host.expose", "HOMING_EXPOSE", Kind::Services, None);
pub(crate) static HOST_SETTINGS: Setting =
    setting("host.settings", "HOMING_SETTINGS_LISTEN", Kind::Address, Some("127.0.0.1:7466"));
pub(crate) static HOST_KEEP: Setting =
    setting("host.keep_seconds", "HOMING_HOST_KEEP_SECONDS", Kind::Seconds, Some("600"));
pub(crate) static HOST_ON_DEMAND: Setting = setting("host.on_demand", "HOMING_ON_DEMAND", Kind::Switch, Some("false"));
pub(crate) static HOST_LINGER: Setting =
    setting("host.linger_seconds", "HOMING_HOST_LINGER_SECONDS", Kind::Seconds, Some("10"));
pub(crate) static HOST_MAX_SESSIONS: Setting =
    setting("host.max_sessions", "HOMING_MAX_SESSIONS", Kind::Number(MAX_SESSIONS), Some("64"));
pub(crate) static HOST_GUESTS: Setting = setting("host.guests", "HOMING_HOST_GUESTS", Kind::Switch, Some("true"));
pub(crate) static HOST_NAME: Setting = setting("host.name", "HOMING_NAME", Kind::Text, None);
pub(crate) static DEVICE_KEEP: Setting =
    setting("device.keep_seconds", "HOMING_DEVICE_KEEP_SECONDS", Kind::Seconds, Some("600"));
pub(crate) static DEVICE_NAME: Setting = setting("device.name", "HOMING_DEVICE_NAME", Kind::Text, None);
pub(crate) static DEVICE_PROXY: Setting =
    setting("device.proxy", "HOMING_PROXY_LISTEN", Kind::Address, Some("127.0.0.1:8118"));

/// All of them, as they are listed.
pub(crate) static SETTINGS: &[&Setting] = &[
    &RELAY_LISTEN,
    &RELAY_TLS_CERT,
    &RELAY_TLS_KEY,
    &RELAY_ACME,
    &RELAY_ACME_EMAIL,
    &RELAY_ACME_DIRECTORY,
    &RELAY_CLIENT_CA,
    &RELAY_OPEN,
    &RELAY_OPEN_TO_EVERYONE,
    &RELAY_ADMIT_URL,
    &RELAY_ADMIT_TOKEN,
    &RELAY_ADMIT_CA,
    &RELAY_ADMIT_ADDRESSES,
    &RELAY_ADMIT_GRACE,
    &RELAY_NAMES,
    &RELAY_DRAIN,
    &RELAY_METRICS,
    &RELAY_PROXIES,
    &RELAY_PROXY_PROTOCOL,
    &RELAY_LOG_ADDRESSES,
    &RELAY_ADDRESS_LINKS,
    &RELAY_ADDRESS_RATE,
    &RELAY_MAX_LINKS,
    &RELAY_QUEUES,
    &CLUSTER_NODE,
    &CLUSTER_URL,
    &CLUSTER_PEERS,
    &CLUSTER_NATS,
    &CLUSTER_NATS_USER,
    &CLUSTER_NATS_PASSWORD,
    &CLUSTER_NATS_TOKEN,
    &CLUSTER_NATS_NKEY,
    &CLUSTER_NATS_CREDENTIALS,
    &CLUSTER_NATS_CA,
    &CLUSTER_NATS_CERT,
    &CLUSTER_NATS_KEY,
    &CLUSTER_NAME,
    &CLUSTER_LEASE,
    &HOST_ENABLED,
    &HOST_RELAY,
    &HOST_RELAY_KEY_FILE,
    &HOST_CLIENT_CERT,
    &HOST_CLIENT_KEY,
    &HOST_EXPOSE,
    &HOST_NAME,
    &HOST_SETTINGS,
    &HOST_KEEP,
    &HOST_ON_DEMAND,
    &HOST_LINGER,
    &HOST_MAX_SESSIONS,
    &HOST_GUESTS,
    &DEVICE_NAME,
    &DEVICE_PROXY,
    &DEVICE_KEEP,
];
