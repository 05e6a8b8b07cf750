//! Local ends of services: a listener, stdin and stdout, an HTTP proxy.

use core::net::SocketAddr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use homing_device::{DeviceError, Tunnels};
use homing_tokio::ClientTls;
use serde_json::json;
use tokio::net::TcpListener;

use super::news;
use crate::args::{ForwardArgs, ProxyArgs, ServiceArgs};
use crate::config::{Config, settings};
use crate::failure::Failure;
use crate::output::{Output, clean_line};
use crate::signals;

/// `forward`.
pub(crate) async fn forward(args: ForwardArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let tunnels = Arc::new(tunnels(&Config::load(data)?, data));
    let tunnel = tunnels.to(&args.service.host)?;
    let stop = signals::shutdown()?;
    let (listener, address) = listen(args.listen, out).await?;
    let service = &args.service.service;
    let host = clean_line(&tunnel.host().name);
    out.say(
        &json!({ "event": "listening", "address": address.to_string() }),
        format_args!("{} is {}/{} now; Ctrl-C ends it", out.bold(address), host, clean_line(service)),
    )?;
    let over = tunnel.clone();
    let served = serve(data, &tunnels, out, async {
        tokio::select! {
            never = homing_device::forward(tunnel, service, listener, &args.allow_hosts) => match never {},
            () = stop => Ok(()),
            error = over.over() => Err(error.into()),
        }
    });
    served.await
}

/// `proxy`.
pub(crate) async fn proxy(args: ProxyArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let config = Config::load(data)?;
    let text = config.text(&settings::DEVICE_PROXY, args.listen.map(|listen| listen.to_string())).unwrap_or_default();
    let address = text.parse().map_err(|_| Failure::usage(format!("{text:?} is not IP:PORT")))?;
    let tunnels = Arc::new(tunnels(&config, data));
    let stop = signals::shutdown()?;
    let (listener, address) = listen(address, out).await?;
    out.say(
        &json!({ "event": "listening", "address": address.to_string() }),
        format_args!(
            "{} is an HTTP proxy for http://SERVICE.HOST.homing/ now, such as curl -x {address} …; Ctrl-C ends it",
            out.bold(address)
        ),
    )?;
    let served = serve(data, &tunnels, out, async {
        tokio::select! {
            ended = homing_device::proxy(tunnels.clone(), listener) => match ended? {},
            () = stop => Ok(()),
        }
    });
    served.await
}

/// `connect`.
pub(crate) async fn connect(args: ServiceArgs, data: &Path) -> Result<(), Failure> {
    let tunnels = tunnels(&Config::load(data)?, data);
    let tunnel = tunnels.to(&args.service.host)?;
    let ended = homing_device::connect(&tunnel, &args.service.service, tokio::io::stdin(), tokio::io::stdout()).await;
    tunnels.close().await;
    match ended {
        Err(DeviceError::Broken(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NobodyReads),
        ended => Ok(ended?),
    }
}

/// The device's tunnels, as its settings want them.
fn tunnels(config: &Config, data: &Path) -> Tunnels {
    Tunnels::new(data, ClientTls::system()).keeping(config.seconds(&settings::DEVICE_KEEP, None))
}

/// Takes an address, and logs it.
async fn listen(address: SocketAddr, out: Output) -> Result<(TcpListener, SocketAddr), Failure> {
    let cannot = |error| Failure::failed(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "everybody who reaches this address reaches the service, without being asked who they are");
    }
    if out.json {
        tracing::info!(%address, "listening");
    }
    Ok((listener, address))
}

/// Runs a local end, and tells `homing status` of its calls. The calls end before this does.
async fn serve(
    data: &Path,
    tunnels: &Arc<Tunnels>,
    out: Output,
    end: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let ended = tokio::select! {
        ended = end => ended,
        failed = news::show(tunnels.news(), out) => Err(failed),
        told = homing_device::serve_status(data, tunnels.clone()) => match told {
            Ok(never) => match never {},
            Err(error) => Err(error.into()),
        },
    };
    tunnels.close().await;
    ended
}
