//! `homing relay …`: runs a relay, and asks a running one.

mod certificate;
mod cluster;
mod control;
mod decider;
mod keys;

use std::net::TcpListener;
use std::path::Path;

use homing_local::RoleLock;
use homing_local::control::{Listener, Role, call};
use homing_relay::acme::Acme;
use homing_relay::{AddressLimits, Relay, RelayConfig, RelayError};
use serde_json::json;

use crate::args::RelayStartArgs;
use crate::config::{Config, parse_network, settings};
use crate::failure::{Exit, Failure};
use crate::output::{Output, field};
use crate::{logging, signals, supervisor};
use certificate::Tls;
use decider::Decider;

/// `relay start`.
pub(crate) async fn start(
    args: RelayStartArgs,
    socket: Option<TcpListener>,
    data: &Path,
    out: Output,
) -> Result<(), Failure> {
    let config = Config::load(data)?;
    let listen = config.text(&settings::RELAY_LISTEN, args.listen.map(|listen| listen.to_string())).unwrap_or_default();
    let listen = listen.parse().map_err(|_| Failure::usage(format!("{listen:?} is not IP:PORT")))?;
    let Tls { files: tls, acme, client_ca } = Tls::of(&args, &config, data)?;
    let mut names = config.list(&settings::RELAY_NAMES, args.names.clone());
    names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    let metrics = config.text(&settings::RELAY_METRICS, args.metrics.map(|listen| listen.to_string()));
    let metrics = metrics.and_then(|listen| listen.parse().ok()); // checked as it was read
    let proxies = args.trusted_proxies.iter().map(ToString::to_string).collect();
    let proxies = config.list(&settings::RELAY_PROXIES, proxies);
    let proxies = proxies.iter().filter_map(|network| parse_network(network).ok()).collect();
    let proxy_protocol = args.proxy_protocol || config.is_on(&settings::RELAY_PROXY_PROTOCOL);
    let log_addresses = args.log_addresses || config.is_on(&settings::RELAY_LOG_ADDRESSES);
    let links = config.number(&settings::RELAY_ADDRESS_LINKS, args.links_per_address);
    let per_second = config.number(&settings::RELAY_ADDRESS_RATE, args.dials_per_address);
    let addresses = AddressLimits { links, per_second, burst: per_second.saturating_mul(10), ..AddressLimits::USUAL };
    let max_links = usize::try_from(config.number(&settings::RELAY_MAX_LINKS, args.max_links)).unwrap_or(usize::MAX);
    let queues = u64::from(config.number(&settings::RELAY_QUEUES, args.queue_mib)) << 20;
    let drain = config.seconds(&settings::RELAY_DRAIN, args.drain_seconds);

    let cluster = cluster::cluster(&config, &args.cluster)?;
    if let Some(cluster) = cluster.as_ref().filter(|cluster| !names.is_empty() && !names.contains(&cluster.authority)) {
        names.push(cluster.authority.clone());
    }

    let _lock = RoleLock::acquire(data, "relay").map_err(|error| Failure::of(Exit::Failed, &error))?;
    let stop = signals::shutdown()?;
    let (decider, fresh) = Decider::of(&args, &config, data)?;
    // Before anything else can fail: it cannot be shown again.
    if let Some(key) = fresh {
        out.say(
            &json!({ "event": "relay_key", "relay_key": key.as_str() }),
            format_args!(
                "The key that hosts need, shown this once. Put it in a file of mode 0600 on the host, and start the \
                 host with --relay-key-file FILE:\n\n    {}\n",
                key.as_str()
            ),
        )?;
    }
    let acme = acme.map(Acme::open).transpose().map_err(|error| Failure::of(Exit::Failed, &error))?;
    let certificates = acme.as_ref().map(Acme::certificates);
    let has_tls = tls.is_some() || acme.is_some();
    let called = names.first().cloned();
    let rest = config.limits().set(RelayConfig {
        addresses,
        certificates,
        client_ca,
        ..RelayConfig::new(listen, decider.admission())
    });
    let directory = cluster.map(|cluster| cluster.directory);
    let rest = RelayConfig { tls, names, drain, metrics, proxies, proxy_protocol, directory, ..rest };
    let relay = RelayConfig { log_addresses, max_links, queues, ..rest };
    let relay = match socket {
        Some(socket) => Relay::adopt(relay, socket).await,
        None => Relay::bind(relay).await,
    };
    let relay = relay.map_err(|error| {
        // Nothing was tried: the command has to be another one.
        let exit = if matches!(error, RelayError::OpenToAll { .. } | RelayError::NoProxies) {
            Exit::Usage
        } else {
            Exit::Failed
        };
        Failure::of(exit, &error)
    })?;
    // Before anyone hears that it listens: what is asked next finds it.
    let control = Listener::bind(data, Role::Relay)?;
    let mut hangups = signals::hangups()?;
    let address = relay.local_addr();
    let scheme = if has_tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}", called.unwrap_or_else(|| address.to_string()));
    let open = matches!(decider, Decider::Nobody | Decider::Everyone);
    if matches!(decider, Decider::Everyone) {
        tracing::warn!("open to everyone: whoever finds this relay may use it, its name and its traffic");
    }
    tracing::info!(%address, tls = has_tls, open, "the relay listens; hosts take --relay {url}");
    let watched = relay.handle().metrics_addr();
    if let Some(address) = watched {
        tracing::info!("metrics and a page with counts on http://{address}/");
    }
    let watched = watched.map(|address| address.to_string());
    out.json(&json!({ "event": "listening", "address": address.to_string(), "url": url, "metrics": watched }))?;

    supervisor::ready(&format!("listens on {address}"));

    let (handle, reloading) = (relay.handle(), relay.handle());
    let side = async {
        tokio::join!(control::serve(control, handle, decider.clone()), async {
            while hangups.recv().await.is_some() {
                match Config::load(data) {
                    Ok(config) => decider.set_plans(config.plans()),
                    Err(Failure::Said { text, .. }) => tracing::error!("keeping the plans read before: {text}"),
                    Err(_) => {}
                }
                match reloading.reload_tls() {
                    Ok(()) => tracing::info!("read the certificate again"),
                    Err(error) => tracing::error!(%error, "keeping the certificate that was read before"),
                }
            }
        });
    };
    let stop = async {
        stop.await;
        supervisor::stopping();
    };
    tokio::select! {
        () = relay.run(stop) => {}
        () = side => {}
        never = supervisor::watch() => match never {},
        never = certificate::keep(acme.as_ref()) => match never {},
        never = logging::tell_left_out() => match never {},
    }
    tracing::info!("the relay has stopped");
    Ok(())
}

pub(crate) use keys::keys;

/// `relay status`.
pub(crate) async fn status(data: &Path, out: Output) -> Result<(), Failure> {
    let asked = call(data, Role::Relay, &json!({ "cmd": "status" })).await?.next().await?;
    let status = asked.ok_or_else(|| Failure::new(Exit::Unreachable, "the relay stopped while it was asked"))?;
    out.json(&status)?;
    for (title, name) in [
        ("listens on", "listen"),
        ("does TLS", "tls"),
        ("admits", "admission"),
        ("up for seconds", "uptime_s"),
        ("about to stop", "draining"),
        ("links", "links"),
        ("hosts", "hosts"),
        ("waiting", "waiting"),
        ("channels", "channels"),
        ("waiting dials", "parked"),
        ("refused", "refused"),
        ("records forwarded", "forwarded_records"),
        ("bytes forwarded", "forwarded_bytes"),
        ("bytes queued", "queued_bytes"),
    ] {
        if status.get(name).is_some() {
            out.text(format_args!("{title:<18} {}", field(&status, name)))?;
        }
    }
    Ok(())
}
