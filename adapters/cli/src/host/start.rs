//! `homing host start`.

use std::path::Path;

use homing_core::handshake::Suite;
use homing_host::service::Exposed;
use homing_host::{Host, HostConfig, HostError};
use homing_local::file;
use homing_tokio::{ClientTls, RelayUrl};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::HostStartArgs;
use crate::config::{Config, Origin, settings};
use crate::failure::{Exit, Failure};
use crate::output::{Output, clean_line};
use crate::signals;

/// Bytes of a relay's key, as relays take it.
const MAX_KEY: usize = homing_core::hop::MAX_NAME;

/// Runs the host until a signal stops it.
pub(crate) async fn start(args: HostStartArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let config = Config::load(data)?;
    let relays = config.list(&settings::HOST_RELAY, args.relays);
    let relays: Vec<RelayUrl> = parse_all(&relays, "--relay")?;
    let exposed: Vec<Exposed> = parse_all(&config.list(&settings::HOST_EXPOSE, args.exposed), "--expose")?;
    let relay_key = match config.path(&settings::HOST_RELAY_KEY_FILE, args.relay_key_file) {
        Some(path) => Some(read_key(&path)?),
        None => None,
    };
    let wanted = config.text(&settings::HOST_NAME, args.name);
    let name = wanted.clone().unwrap_or_else(machine_name);
    if exposed.is_empty() {
        tracing::warn!("nothing is exposed: devices can pair, and find no service; add --expose NAME=URL");
    }
    let summary: Vec<_> = exposed.iter().map(|exposed| (exposed.name.clone(), exposed.target.to_string())).collect();
    let relay_names: Vec<_> = relays.iter().map(ToString::to_string).collect();

    let stop = signals::shutdown()?;
    let tls = ClientTls::system();
    let (suite, keep) = (Suite::Hybrid, config.seconds(&settings::HOST_KEEP, None));
    let host = Host::open(HostConfig { data: data.into(), name, relays, exposed, relay_key, tls, suite, keep });
    let host = host.map_err(|error| failure(&error))?;
    let handle = host.handle();
    if let Some(enabled) = config.switch_set_by(&settings::HOST_ENABLED, |origin| origin != Origin::Default) {
        handle.set_enabled(enabled).await.map_err(|error| super::refused(&error))?;
    }
    let status = handle.status();
    let name = status.get("name").and_then(|name| name.as_str()).unwrap_or_default();
    if wanted.as_deref().is_some_and(|wanted| wanted != name) {
        tracing::warn!("the host keeps the name {:?} that it was made with", clean_line(name));
    }
    for (service, target) in &summary {
        tracing::info!(%service, %target, "exposed");
    }
    tracing::info!(name = %clean_line(name), relays = %relay_names.join(", "), "the host runs; `homing host pair` lets devices in");
    out.json(&json!({ "event": "started", "name": name, "relays": relay_names, "services": summary.iter().map(|(name, _)| name).collect::<Vec<_>>() }))?;
    host.run(stop).await.map_err(|error| failure(&error))?;
    tracing::info!("the host has stopped");
    Ok(())
}

/// What this machine calls itself.
pub(crate) fn machine_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default().trim();
    if name.is_empty() { "host".to_owned() } else { clean_line(name) }
}

fn parse_all<T: core::str::FromStr<Err: core::fmt::Display>>(texts: &[String], flag: &str) -> Result<Vec<T>, Failure> {
    let parse = |text: &String| text.parse().map_err(|error| Failure::usage(format!("{flag}: {error}")));
    texts.iter().map(parse).collect()
}

/// A file of secrets, hence one that nobody else may read.
fn read_key(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let bytes = file::read(path)?;
    let bytes = bytes.ok_or_else(|| Failure::failed(format!("there is no relay key file {}", path.display())))?;
    let key = core::str::from_utf8(&bytes).unwrap_or_default().trim();
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!("{} holds no relay key: one line of at most {MAX_KEY} letters", path.display());
        return Err(Failure::failed(text));
    }
    Ok(Zeroizing::new(key.to_owned()))
}

fn failure(error: &HostError) -> Failure {
    let exit = match error {
        HostError::NoRelay | HostError::Expose(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    Failure::of(exit, error)
}
