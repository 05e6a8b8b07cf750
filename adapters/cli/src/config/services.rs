//! `[services.NAME]`: a service with all that can be said of how it is reached.

use core::time::Duration;
use std::path::{Path, PathBuf};

use homing_host::service::{
    Ca, Credential, Exposed, IDLE_CONNECTIONS, IDLE_TIME, MAX_CONNECTIONS, Options, OptionsError, Target,
};
use homing_local::file;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::MAX_SECONDS;
use crate::failure::Failure;

/// The section's name in `homing.toml`, before the dot.
pub(super) const SECTION: &str = "services";

/// What the file says of a service. Secrets are in other files, which are read when a host wants them.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    name: String,
    dir: PathBuf,
    said: Said,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    url: String,
    credential: Option<SecretAt>,
    ca: Option<PathBuf>,
    server_name: Option<String>,
    max_connections: Option<u32>,
    idle_connections: Option<u32>,
    idle_seconds: Option<u32>,
}

/// Where a secret is, and which header it belongs in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretAt {
    header: String,
    file: Option<PathBuf>,
    systemd: Option<String>,
}

impl Service {
    /// Reads a section. Relative paths are meant from `dir`.
    pub(super) fn from_toml(name: &str, value: toml::Value, dir: &Path) -> Result<Self, String> {
        // Said without repeating it: somebody may have written the secret itself here.
        if value.get("credential").is_some_and(|credential| !credential.is_table()) {
            return Err(
                "credential: write { header = \"NAME\", file = \"PATH\" }, with the secret in that file".to_owned()
            );
        }
        let said: Said = value.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let service = Self { name: name.to_owned(), dir: dir.to_owned(), said };
        service.check()?;
        Ok(service)
    }

    /// Everything that can be checked without reading other files.
    fn check(&self) -> Result<(), String> {
        let (target, mut options) = self.plain()?;
        if let Some(at) = &self.said.credential {
            match (&at.file, &at.systemd) {
                (Some(_), None) => {}
                (None, Some(name)) if !name.is_empty() && !name.contains('/') && !name.starts_with('.') => {}
                (None, Some(name)) => return Err(format!("credential: {name:?} is no name of a systemd credential")),
                _ => return Err("credential: write either file = \"PATH\" or systemd = \"NAME\"".to_owned()),
            }
            let stand_in = Zeroizing::new(b"x".to_vec());
            options.credential = Some(Credential::new(&at.header, stand_in).map_err(|error| error.to_string())?);
        }
        if self.said.ca.is_some() && !matches!(target, Target::Https { .. }) {
            return Err(OptionsError::Kind { option: "ca", kinds: "https" }.to_string());
        }
        Exposed::new(&self.name, target, options).map(drop).map_err(|error| error.to_string())
    }

    /// What is said in the file itself.
    fn plain(&self) -> Result<(Target, Options), String> {
        let said = &self.said;
        let target = said.url.parse::<Target>().map_err(|error| format!("url: {error}"))?;
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let max_connections = said.max_connections.map_or(MAX_CONNECTIONS, count);
        let idle_time = said.idle_seconds.map_or(IDLE_TIME, |seconds| Duration::from_secs(seconds.into()));
        if idle_time.is_zero() || idle_time > Duration::from_secs(MAX_SECONDS) {
            return Err(format!("idle_seconds: write a number of seconds from 1 to {MAX_SECONDS}"));
        }
        let name = said.server_name.as_deref().map(Options::parse_server_name).transpose();
        let options = Options {
            credential: None,
            ca: None,
            server_name: name.map_err(|error| format!("server_name: {error}"))?,
            max_connections,
            idle_connections: said.idle_connections.map_or(IDLE_CONNECTIONS.min(max_connections), count),
            idle_time,
        };
        Ok((target, options))
    }

    /// The service, with the files that it names.
    pub(super) fn expose(&self) -> Result<Exposed, Failure> {
        let wrong = |error: String| Failure::failed(format!("[{SECTION}.{}] {error}", self.name));
        let (target, mut options) = self.plain().map_err(wrong)?;
        if let Some(ca) = &self.said.ca {
            options.ca = Some(Ca::read(&self.dir.join(ca)).map_err(|error| wrong(format!("ca: {error}")))?);
        }
        if let Some(at) = &self.said.credential {
            let secret = self.secret(at).map_err(|error| wrong(format!("credential: {error}")))?;
            let credential = Credential::new(&at.header, secret).map_err(|error| wrong(format!("credential: {error}")));
            options.credential = Some(credential?);
        }
        Exposed::new(&self.name, target, options).map_err(|error| wrong(error.to_string()))
    }

    fn secret(&self, at: &SecretAt) -> Result<Zeroizing<Vec<u8>>, String> {
        let path = match (&at.file, &at.systemd) {
            (Some(path), _) => self.dir.join(path),
            (None, Some(name)) => file::credentials().map(|dir| dir.join(name)).ok_or_else(|| {
                format!("systemd gives no credentials here; write LoadCredential={name}:/PATH into the host's unit")
            })?,
            (None, None) => return Err("no file is named".to_owned()),
        };
        let read = file::read(&path).map_err(|error| crate::failure::in_full(&error))?;
        read.ok_or_else(|| format!("there is no file {}", path.display()))
    }

    /// Whether its secret can only be had where a service manager started this process.
    pub(super) fn needs_manager(&self) -> bool {
        let from_manager = self.said.credential.as_ref().is_some_and(|at| at.systemd.is_some());
        from_manager && file::credentials().is_none()
    }

    /// Its settings: the key behind the section's name, the value, and whether that is the default.
    pub(super) fn shown(&self) -> Vec<(String, Value, bool)> {
        let said = &self.said;
        let mut all = vec![("url", json!(said.url), false)];
        if let Some(at) = &said.credential {
            let path = at.file.as_ref().map(|path| self.dir.join(path));
            let from = path.map_or_else(|| json!({ "systemd": at.systemd }), |path| json!({ "file": path }));
            let mut shown = json!({ "header": at.header });
            shown
                .as_object_mut()
                .into_iter()
                .for_each(|shown| shown.extend(from.as_object().cloned().unwrap_or_default()));
            all.push(("credential", shown, false));
        }
        all.extend(said.ca.iter().map(|ca| ("ca", json!(self.dir.join(ca)), false)));
        all.extend(said.server_name.iter().map(|name| ("server_name", json!(name), false)));
        if let Ok((target, options)) = self.plain()
            && target.kind() == "http"
        {
            all.extend([
                ("max_connections", json!(options.max_connections), said.max_connections.is_none()),
                ("idle_connections", json!(options.idle_connections), said.idle_connections.is_none()),
                ("idle_seconds", json!(options.idle_time.as_secs()), said.idle_seconds.is_none()),
            ]);
        }
        all.into_iter()
            .map(|(key, value, default)| (format!("{SECTION}.{}.{key}", self.name), value, default))
            .collect()
    }
}

/// A value as it would stand in the file.
pub(super) fn as_toml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", members.join(", "))
        }
        other => other.to_string(),
    }
}
