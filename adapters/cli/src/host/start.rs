//! `homing host start`.

use core::net::SocketAddr;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use homing_core::handshake::Suite;
use homing_host::service::Exposed;
use homing_host::{Host, HostConfig, HostError};
use homing_local::file;
use homing_tokio::{ClientTls, RelayUrl};
use serde_json::json;
use zeroize::Zeroizing;

use super::reload;
use crate::args::HostStartArgs;
use crate::config::{Config, Origin, settings};
use crate::failure::{Exit, Failure};
use crate::output::{Output, clean_line};
use crate::{signals, supervisor};

/// Bytes of a relay's key, as relays take it.
const MAX_KEY: usize = homing_core::hop::MAX_NAME;

/// Runs the host until a signal stops it.
pub(crate) async fn start(args: HostStartArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let config = Config::load(data)?;
    let flags = (args.exposed.clone(), args.relays.clone());
    let by_flag = (!args.relays.is_empty()).then(|| "--relay".to_owned());
    let relays = config.list(&settings::HOST_RELAY, args.relays);
    let relays_fixed_by = by_flag.or_else(|| (!relays.is_empty()).then(|| config.origin(&settings::HOST_RELAY)));
    let relays: Vec<RelayUrl> = parse_all(&relays, "--relay")?;
    let exposed = config.exposed(args.exposed)?;
    let relay_key = match config.path(&settings::HOST_RELAY_KEY_FILE, args.relay_key_file) {
        Some(path) => Some(read_key(&path)?),
        None => None,
    };
    let wanted = config.text(&settings::HOST_NAME, args.name);
    let name = wanted.clone().unwrap_or_else(machine_name);
    if exposed.is_empty() {
        tracing::warn!("nothing is exposed: devices can pair, and find no service; add --expose NAME=URL");
    }
    warn_of_secrets(&exposed);
    let summary: Vec<_> = exposed.iter().map(|exposed| (exposed.name.clone(), exposed.target.to_string())).collect();

    let stop = signals::shutdown()?;
    let tls = tls(&config, args.client_cert, args.client_key)?;
    let (suite, keep) = (Suite::Hybrid, config.seconds(&settings::HOST_KEEP, None));
    let relays_later = args.settings.is_some() || config.is_set(&settings::HOST_SETTINGS);
    let settings = Some(listen(&config, args.settings)?);
    let config_of_host = HostConfig {
        data: data.into(),
        name,
        relays,
        relays_later,
        relays_fixed_by,
        settings,
        exposed,
        relay_key,
        tls,
        suite,
        keep,
        on_demand: args.on_demand || config.is_on(&settings::HOST_ON_DEMAND),
        linger: config.seconds(&settings::HOST_LINGER, None),
        max_sessions: config.number(&settings::HOST_MAX_SESSIONS, args.max_sessions) as usize,
        guests: config.is_on(&settings::HOST_GUESTS),
    };
    let host = Host::open(config_of_host).map_err(|error| failure(&error))?;
    let handle = host.handle();
    let relay_names = handle.relays();
    if relay_names.is_empty() {
        tracing::warn!("no relay yet: nothing can reach this host; name one with --relay URL, or on the settings page");
    }
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
    if let Some(address) = handle.settings_address() {
        tracing::info!("settings on http://{address}/; `homing host token --scope settings:write` lets you in");
    }
    tracing::info!(name = %clean_line(name), relays = %relay_names.join(", "), "the host runs; `homing host pair` lets devices in");
    let services: Vec<_> = summary.iter().map(|(name, _)| name.as_str()).collect();
    out.json(&json!({ "event": "started", "name": name, "relays": relay_names, "services": services }))?;
    supervisor::ready(&format!("serves {} at {}", services.join(", "), relay_names.join(", ")));
    let hangups = signals::hangups()?;
    let stop = async {
        stop.await;
        supervisor::stopping();
    };
    let served = tokio::select! {
        served = host.run(stop) => served,
        never = supervisor::watch() => match never {},
        never = reload::at(hangups, &handle, data, &flags) => match never {},
    };
    served.map_err(|error| failure(&error))?;
    tracing::info!("the host has stopped");
    Ok(())
}

/// Whom the host trusts, and what it shows to relays.
fn tls(config: &Config, cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<ClientTls, Failure> {
    let cert = config.path(&settings::HOST_CLIENT_CERT, cert);
    match (cert, config.path(&settings::HOST_CLIENT_KEY, key)) {
        (None, None) => Ok(ClientTls::system()),
        (Some(cert), Some(key)) => {
            let tls = ClientTls::system().showing(cert, key);
            tls.config().map_err(|error| Failure::failed(error.to_string()))?; // now, not at the first dial
            Ok(tls)
        }
        _ => Err(Failure::usage("a certificate needs its key: give both --client-cert and --client-key")),
    }
}

/// Secrets that cross a network in the clear.
pub(super) fn warn_of_secrets(exposed: &[Exposed]) {
    for exposed in exposed.iter().filter(|exposed| exposed.shows_its_credential()) {
        let (service, target) = (&exposed.name, &exposed.target);
        tracing::warn!(%service, %target, "its credential crosses the network in the clear: use https");
    }
}

/// Where the settings are served. Nobody chose the default port: where it is taken, another one does.
fn listen(config: &Config, flag: Option<String>) -> Result<TcpListener, Failure> {
    let chosen = flag.is_some() || config.is_set(&settings::HOST_SETTINGS);
    let address = config.text(&settings::HOST_SETTINGS, flag).unwrap_or_default();
    let address: SocketAddr = address
        .parse()
        .map_err(|_| Failure::usage(format!("--settings: {address:?} is no address such as 127.0.0.1:7466")))?;
    if !address.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "--settings: {address} is no address of this machine only, such as 127.0.0.1:7466"
        )));
    }
    let bound = TcpListener::bind(address).or_else(|error| match error.kind() {
        ErrorKind::AddrInUse if !chosen => TcpListener::bind((address.ip(), 0)),
        _ => Err(error),
    });
    bound.map_err(|error| Failure::failed(format!("cannot serve the settings on {address}: {error}")))
}

/// What this machine calls itself.
pub(crate) fn machine_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default().trim();
    if name.is_empty() { "host".to_owned() } else { clean_line(name) }
}

pub(super) fn parse_all<T: core::str::FromStr<Err: core::fmt::Display>>(
    texts: &[String],
    flag: &str,
) -> Result<Vec<T>, Failure> {
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
