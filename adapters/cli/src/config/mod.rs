//! Settings from four places: flags beat `HOMING_*` variables, these beat `homing.toml` in the data directory, and the
//! file beats defaults. What a setting does is its command's business.

mod plans;
mod services;
pub(crate) mod settings;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use homing_host::service::{Exposed, Services};
use serde_json::json;

use homing_relay::account::Plans;
use plans::Limits;
use services::Service;
use settings::SETTINGS;
pub(crate) use settings::{Kind, Setting};
pub(crate) use value::{MAX_SECONDS, MAX_SESSIONS, Origin, Value, parse_network};

use crate::failure::Failure;
use crate::output::Output;

/// The file's name in the data directory.
pub(crate) const FILE: &str = "homing.toml";
/// More is no settings file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What is set, and where.
#[derive(Debug)]
pub(crate) struct Config {
    data: PathBuf,
    found: BTreeMap<&'static str, (Value, Origin)>,
    /// Those with a section of their own.
    services: Vec<Service>,
    /// What the accounts of a relay may use; from the file only.
    plans: Plans,
    /// What holds for everybody at a relay; from the file only.
    limits: Limits,
}

impl Config {
    /// Reads file and environment.
    pub(crate) fn load(data: &Path) -> Result<Self, Failure> {
        Self::gather(data, read_file(&data.join(FILE))?, |name| std::env::var(name).ok())
    }

    fn gather(data: &Path, file: toml::Table, env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let wrong = |text: String| Failure::usage(format!("{}: {text}", data.join(FILE).display()));
        let (mut found, mut services, mut plans) = (BTreeMap::new(), Vec::new(), Plans::new());
        let mut limits = Limits::default();
        for (section, table) in file {
            if section == "plans" {
                plans = plans::parse(table).map_err(wrong)?;
                continue;
            }
            if section == "limits" {
                limits = Limits::parse(table).map_err(wrong)?;
                continue;
            }
            let toml::Value::Table(table) = table else {
                return Err(wrong(format!("{section:?} stands outside of a section; write it under {}", sections())));
            };
            if section == services::SECTION {
                for (name, value) in table {
                    let service = Service::from_toml(&name, value, data);
                    services.push(service.map_err(|text| wrong(format!("[{section}.{name}]: {text}")))?);
                }
                continue;
            }
            if !SETTINGS.iter().any(|setting| setting.section() == section) {
                return Err(wrong(format!("no section [{section}]; there are {}", sections())));
            }
            for (key, value) in table {
                let setting = SETTINGS.iter().find(|setting| setting.key == format!("{section}.{key}"));
                let setting = setting.ok_or_else(|| {
                    wrong(format!("no setting {key:?} in [{section}]; there are {}", settings::keys_of(&section)))
                })?;
                let value =
                    Value::from_toml(setting, value, data).map_err(|text| wrong(format!("{section}.{key}: {text}")))?;
                found.insert(setting.key, (value, Origin::File));
            }
        }
        for setting in SETTINGS {
            // An empty variable unsets nothing and sets nothing, as with HOMING_DATA.
            let Some(text) = env(setting.variable).filter(|text| !text.is_empty()) else { continue };
            let value = Value::from_text(setting, &text)
                .map_err(|text| Failure::usage(format!("{}: {text}", setting.variable)))?;
            found.insert(setting.key, (value, Origin::Variable));
        }
        for setting in SETTINGS {
            if let (Some(text), false) = (setting.default, found.contains_key(setting.key)) {
                let value = Value::from_text(setting, text).map_err(Failure::failed)?;
                found.insert(setting.key, (value, Origin::Default));
            }
        }
        Ok(Self { data: data.to_path_buf(), found, services, plans, limits })
    }

    /// The plans of a relay's accounts.
    pub(crate) const fn plans(&self) -> &Plans {
        &self.plans
    }

    /// What holds for everybody at a relay.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A setting's text: the flag's, or what was found.
    pub(crate) fn text(&self, setting: &Setting, flag: Option<String>) -> Option<String> {
        flag.or_else(|| match self.found.get(setting.key) {
            Some((Value::Text(text), _)) => Some(text.clone()),
            _ => None,
        })
    }

    /// A file's path: the flag's, or what was found.
    pub(crate) fn path(&self, setting: &Setting, flag: Option<PathBuf>) -> Option<PathBuf> {
        flag.or_else(|| self.text(setting, None).map(PathBuf::from))
    }

    /// A time: the flag's, or what was found.
    pub(crate) fn seconds(&self, setting: &Setting, flag: Option<u64>) -> core::time::Duration {
        let found = || self.text(setting, None).and_then(|text| text.parse().ok());
        core::time::Duration::from_secs(flag.or_else(found).unwrap_or_default())
    }

    /// A number: the flag's, or what was found.
    pub(crate) fn number(&self, setting: &Setting, flag: Option<u32>) -> u32 {
        let found = || self.text(setting, None).and_then(|text| text.parse().ok());
        flag.or_else(found).unwrap_or_default()
    }

    /// A list: the flags', or what was found.
    pub(crate) fn list(&self, setting: &Setting, flags: Vec<String>) -> Vec<String> {
        match self.found.get(setting.key) {
            Some((Value::List(list), _)) if flags.is_empty() => list.clone(),
            _ => flags,
        }
    }

    /// All services: those of flags, or of a list that was found, and those with sections. Reads the files that sections
    /// name, which may hold secrets.
    pub(crate) fn exposed(&self, flags: Vec<String>) -> Result<Vec<Exposed>, Failure> {
        self.expose(flags, |_| true)
    }

    fn expose(&self, flags: Vec<String>, which: impl Fn(&Service) -> bool) -> Result<Vec<Exposed>, Failure> {
        let listed = self.list(&settings::HOST_EXPOSE, flags);
        let listed =
            listed.iter().map(|text| text.parse().map_err(|error| Failure::usage(format!("--expose: {error}"))));
        listed.chain(self.services.iter().filter(|service| which(service)).map(Service::expose)).collect()
    }

    /// The services as far as they can be looked at from here, once what is said of all of them was found to hold together,
    /// and the files are there that it names. Those whose secrets only a service manager gives are left out.
    pub(crate) fn check_services(&self) -> Result<Services, Failure> {
        let exposed = self.expose(Vec::new(), |service| !service.needs_manager())?;
        Services::new(exposed).map_err(|error| Failure::usage(error.to_string()))
    }

    /// A switch that was found on.
    pub(crate) fn is_on(&self, setting: &Setting) -> bool {
        matches!(self.found.get(setting.key), Some((Value::Switch(true), _)))
    }

    /// A switch's position, where it was set in a way that `by` accepts.
    pub(crate) fn switch_set_by(&self, setting: &Setting, by: impl FnOnce(Origin) -> bool) -> Option<bool> {
        match self.found.get(setting.key) {
            Some((Value::Switch(on), origin)) if by(*origin) => Some(*on),
            _ => None,
        }
    }

    /// Whether somebody chose a setting.
    pub(crate) fn is_set(&self, setting: &Setting) -> bool {
        self.found.get(setting.key).is_some_and(|(_, origin)| *origin != Origin::Default)
    }

    /// What sets a setting, for messages.
    pub(crate) fn origin(&self, setting: &Setting) -> String {
        match self.found.get(setting.key) {
            Some((_, Origin::File)) => self.data.join(FILE).display().to_string(),
            Some((_, Origin::Variable)) => setting.variable.to_owned(),
            Some((_, Origin::Default)) | None => "default".to_owned(),
        }
    }

    /// `config show`.
    pub(crate) fn show(&self, out: Output, origin: bool) -> Result<(), Failure> {
        let mut object = serde_json::Map::new();
        for setting in SETTINGS {
            let found = self.found.get(setting.key);
            let value = found.map_or(serde_json::Value::Null, |(value, _)| value.to_json());
            let shown = found.map_or_else(|| "(not set)".to_owned(), |(value, _)| value.to_string());
            let from = found.map_or_else(|| "nowhere".to_owned(), |_| self.origin(setting));
            let line = format!("{} = {shown}", setting.key);
            if origin {
                let kind = found.map(|(_, origin)| origin.as_str());
                object.insert(setting.key.into(), json!({ "value": value, "origin": kind, "from": from }));
                out.text(format_args!("{line:<50} {}", out.dim(format_args!("# {from}; {}", setting.variable))))?;
            } else {
                object.insert(setting.key.into(), value);
                out.text(line)?;
            }
        }
        let plans = plans::shown(&self.plans).chain(self.limits.shown()).map(|(key, value)| (key, value, false));
        for (key, value, default) in self.services.iter().flat_map(Service::shown).chain(plans) {
            let line = format!("{key} = {}", services::as_toml(&value));
            let by = if default { Origin::Default } else { Origin::File };
            if origin {
                let from = if default { "default".to_owned() } else { self.data.join(FILE).display().to_string() };
                out.text(format_args!("{line:<50} {}", out.dim(format_args!("# {from}"))))?;
                object.insert(key, json!({ "value": value, "origin": by.as_str(), "from": from }));
            } else {
                out.text(line)?;
                object.insert(key, value);
            }
        }
        out.json(&object.into())
    }
}

fn sections() -> String {
    let mut names: Vec<_> = SETTINGS.iter().map(|setting| format!("[{}]", setting.section())).collect();
    names.dedup();
    names.push(format!("[{}.NAME]", services::SECTION));
    names.extend(["[plans.NAME]".into(), "[limits]".into()]);
    names.join(", ")
}

fn read_file(path: &Path) -> Result<toml::Table, Failure> {
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot read {}: {error}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(toml::Table::new()),
        opened => opened.map_err(cannot)?,
    };
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(cannot)?;
    text.parse().map_err(|error: toml::de::Error| Failure::usage(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(file: &str, env: &'static [(&'static str, &'static str)]) -> Result<Config, String> {
        let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::gather(Path::new("/data"), file.parse().unwrap(), find).map_err(|failure| match failure {
            Failure::Said { text, .. } => text,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn plans_are_read_and_shown_and_their_faults_told() {
        let config = gather("[plans.small]\nhosts = 1\nbytes_per_second = 20000\nfeatures = ['x']", &[]).unwrap();
        assert_eq!((config.plans()["small"].hosts, config.plans()["small"].devices), (Some(1), None));
        let shown: Vec<_> = plans::shown(config.plans()).map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            shown,
            ["plans.small.bytes_per_second=20000", "plans.small.features=[\"x\"]", "plans.small.hosts=1"]
        );
        let error = |file| gather(file, &[]).unwrap_err();
        assert!(error("[plans.small]\nhost = 1").contains("[plans.small]"));
        assert!(error("[plans.small]\nhostess = 1").contains("bytes_per_month"));
        assert!(error("[limits]\nlinks = 1").contains("unknown_per_address"));
        assert!(error("[limits.host]\nbytes_per_second = 9").contains("16384"));
        assert!(error("[limits]\nstall_seconds = 0").contains("at least 1"));
        let config = gather("[limits]\nstall_seconds = 3\n[limits.host]\ndevices = 2", &[]).unwrap();
        let shown: Vec<_> = config.limits().shown().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["limits.host.devices=2", "limits.stall_seconds=3"]);
        assert!(error("[plans.small]\nhosts = -1").contains("[plans.small]"));
        assert!(error("[plans.small]\nbytes_per_second = 100").contains("16384"));
        assert!(error("[plans.unlimited]\nhosts = 1").contains("another name"));
        assert!(error("plans = 1").contains("[plans.NAME]"));
    }

    #[test]
    fn flags_beat_variables_beat_the_file_beats_defaults() {
        let file = "[relay]\nlisten = '127.0.0.1:2'\n[host]\nrelay = ['wss://file']";
        let listen =
            |config: &Config, flag: Option<&str>| config.text(&settings::RELAY_LISTEN, flag.map(str::to_owned));
        let all = gather(file, &[("HOMING_RELAY_LISTEN", "127.0.0.1:3"), ("HOMING_RELAY_SERVER", "wss://a,wss://b")]);
        let all = all.unwrap();
        assert_eq!(listen(&all, Some("127.0.0.1:4")).unwrap(), "127.0.0.1:4");
        assert_eq!(listen(&all, None).unwrap(), "127.0.0.1:3");
        assert_eq!(all.list(&settings::HOST_RELAY, vec![]), ["wss://a", "wss://b"]);
        assert_eq!(all.list(&settings::HOST_RELAY, vec!["wss://flag".into()]), ["wss://flag"]);
        let file = gather(file, &[("HOMING_RELAY_LISTEN", "")]).unwrap();
        assert_eq!(listen(&file, None).unwrap(), "127.0.0.1:2");
        assert_eq!(file.list(&settings::HOST_RELAY, vec![]), ["wss://file"]);
        assert_eq!(listen(&gather("", &[]).unwrap(), None).unwrap(), "127.0.0.1:8080");
    }

    #[test]
    fn unknown_keys_and_wrong_kinds_are_errors_that_say_what_there_is() {
        let error = |file, env| gather(file, env).unwrap_err();
        let misspelt = error("[relay]\nlitsen = 'x'", &[]);
        assert!(misspelt.contains("\"litsen\"") && misspelt.contains("listen, tls_cert"), "{misspelt}");
        assert!(error("[rely]", &[]).contains("[relay]"));
        assert!(error("listen = 'x'", &[]).contains("outside of a section"));
        assert!(error("[relay]\nopen = 'yes'", &[]).contains("true or false"));
        assert!(error("[relay]\nlisten = 'here'", &[]).contains("127.0.0.1:8080"));
        assert!(error("", &[("HOMING_RELAY_OPEN", "maybe")]).starts_with("HOMING_RELAY_OPEN: "));
        assert!(error("[host]\nexpose = ['web']", &[]).contains("NAME=URL"));
        for odd in ["drain_seconds = -1", "drain_seconds = 'soon'", "drain_seconds = 3601"] {
            let config = Config::gather(Path::new("/data"), format!("[relay]\n{odd}").parse().unwrap(), |_| None);
            assert!(format!("{:?}", config.unwrap_err()).contains("number of seconds"), "{odd}");
        }
    }

    #[test]
    fn times_are_seconds_from_anywhere() {
        let seconds = |config: Config, flag| config.seconds(&settings::RELAY_DRAIN, flag).as_secs();
        assert_eq!(seconds(gather("", &[]).unwrap(), None), 10);
        assert_eq!(seconds(gather("[relay]\ndrain_seconds = 0", &[]).unwrap(), None), 0);
        let both = gather("[relay]\ndrain_seconds = '7'", &[("HOMING_RELAY_DRAIN_SECONDS", "8")]);
        assert_eq!(seconds(both.unwrap(), None), 8);
        assert_eq!(seconds(gather("", &[]).unwrap(), Some(9)), 9);
    }

    #[test]
    fn paths_in_the_file_are_meant_from_its_directory() {
        let config = gather("[relay]\ntls_cert = 'cert.pem'\ntls_key = '/etc/key.pem'", &[]).unwrap();
        assert_eq!(config.path(&settings::RELAY_TLS_CERT, None).unwrap(), Path::new("/data/cert.pem"));
        assert_eq!(config.path(&settings::RELAY_TLS_KEY, None).unwrap(), Path::new("/etc/key.pem"));
    }

    #[test]
    fn a_service_may_have_a_section() {
        let web = "[services.web]\nurl = 'https://10.0.0.5:8443'\nca = 'ca.pem'\nserver_name = 'app.internal'\n\
            credential = { header = 'X-Api-Key', file = 'web.secret' }\nmax_connections = 8\n";
        let config = gather(&format!("{web}[services.raw]\nurl = 'tcp://10.0.0.6:22'"), &[]).unwrap();
        let shown: BTreeMap<_, _> = config
            .services
            .iter()
            .flat_map(Service::shown)
            .map(|(key, value, default)| (key, (value, default)))
            .collect();
        assert_eq!(shown["services.web.ca"], (json!("/data/ca.pem"), false));
        assert_eq!(
            services::as_toml(&shown["services.web.credential"].0),
            "{ file = \"/data/web.secret\", header = \"X-Api-Key\" }"
        );
        assert_eq!(shown["services.web.max_connections"], (json!(8), false));
        assert_eq!(shown["services.web.idle_connections"], (json!(8), true), "no more than there may be");
        assert_eq!(shown.keys().filter(|key| key.starts_with("services.raw.")).count(), 1);
        let Failure::Said { text, .. } = config.exposed(Vec::new()).unwrap_err() else { panic!() };
        assert!(text.starts_with("[services.web] ca: cannot read /data/ca.pem"), "{text}");
    }

    #[test]
    fn what_a_section_cannot_mean_is_an_error() {
        for (section, said) in [
            ("[services]\nweb = 'http://127.0.0.1:1'", "invalid type"),
            ("[services.web]", "missing field `url`"),
            ("[services.web]\nurl = 'ftp://a'", "url: "),
            ("[services.Web]\nurl = 'http://127.0.0.1:1'", "service name \"Web\""),
            ("[services.web]\nurl = 'http://169.254.169.254'", "link-local"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\nmax_conections = 1", "expected one of `url`, `credential`"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\nmax_connections = 0", "at least 1"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\nmax_connections = -1", "invalid value"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\nidle_seconds = 0", "number of seconds"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\nca = 'ca.pem'", "`ca` is for https"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\nserver_name = 'a'", "`server_name` is for https"),
            ("[services.web]\nurl = 'https://127.0.0.1:1'\nserver_name = 'a b'", "no server name"),
            ("[services.web]\nurl = 'tcp://127.0.0.1:1'\nmax_connections = 1", "for HTTP services"),
            (
                "[services.web]\nurl = 'tcp://127.0.0.1:1'\ncredential = { header = 'A', file = 'f' }",
                "for HTTP services",
            ),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\ncredential = { header = 'Host', file = 'f' }", "no header"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\ncredential = { header = 'A' }", "either file"),
            (
                "[services.web]\nurl = 'http://127.0.0.1:1'\ncredential = { header = 'A', file = 'f', systemd = 'g' }",
                "either file",
            ),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\ncredential = { header = 'A', systemd = '../g' }", "no name"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\ncredential = { header = 'A', value = 's' }", "unknown field"),
            ("[services.web]\nurl = 'http://127.0.0.1:1'\ncredential = 'hunter2'", "in that file"),
            ("[servics.web]\nurl = 'http://127.0.0.1:1'", "[services.NAME]"),
        ] {
            let error = gather(section, &[]).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{section}: {error}");
        }
        let twice = "[host]\nexpose = ['web=http://127.0.0.1:1']\n[services.web]\nurl = 'http://127.0.0.1:2'";
        let Failure::Said { text, .. } = gather(twice, &[]).unwrap().check_services().unwrap_err() else { panic!() };
        assert!(text.contains("given twice"), "{text}");
    }

    #[test]
    fn every_setting_has_names_of_its_own_and_a_valid_default() {
        let distinct = |name: fn(&Setting) -> &'static str| {
            SETTINGS.iter().map(|setting| name(setting)).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(|setting| setting.key), SETTINGS.len());
        gather("", &[]).unwrap();
    }
}
