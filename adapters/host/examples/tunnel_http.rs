//! An axum app that paired devices reach through a relay, without a port of its own: it is called in
//! this process. Relay, host and device run side by side here; in earnest each is a program.
#![allow(clippy::unwrap_used, reason = "an example that cannot go on stops")]

use core::future::pending;
use std::path::Path;
use std::sync::Arc;

use axum::{Extension, Router, routing::get, routing::post};
use bytes::Bytes;
use homing_device::Tunnel;
use homing_host::service::{Caller, Service};
use homing_host::{Host, HostConfig, HostHandle, PairOptions};
use homing_relay::{Admission, Relay, RelayConfig};
use homing_tokio::{ClientTls, RelayUrl};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::handshake};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};

/// What devices reach. Who calls is known: nobody gets this far who was not paired.
fn app() -> Router {
    let hello = async |Extension(caller): Extension<Caller>| format!("hello, {}", caller.device_name);
    Router::new().route("/", get(hello)).route("/upper", post(async |text: String| text.to_uppercase()))
}

async fn start_relay() -> RelayUrl {
    let config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
    let relay = Relay::bind(config).await.unwrap();
    let url = format!("ws://{}", relay.local_addr()).parse().unwrap();
    tokio::spawn(relay.run(pending()));
    url
}

/// A host that keeps keys and devices in a directory.
async fn start_host(data: &Path, relay: RelayUrl) -> HostHandle {
    let service = Service::in_process("app", TowerToHyperService::new(app())).unwrap();
    let host = Host::open_with(HostConfig::new(data, "myhost", relay), [service]).unwrap();
    let handle = host.handle();
    tokio::spawn(host.run(pending()));
    handle.reachable().await;
    handle
}

/// A request on a stream of its own, from the device's side.
async fn ask(tunnel: &Tunnel, request: Request<Full<Bytes>>) -> String {
    let stream = tunnel.open("app").await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

pub(crate) async fn run(text: &str) -> [String; 2] {
    let data = tempfile::tempdir().unwrap();
    let (host_data, device_data) = (data.path().join("host"), data.path().join("device"));
    let host = start_host(&host_data, start_relay().await).await;
    let link = host.pair(PairOptions::default()).unwrap(); // its link is what a QR code shows
    let trust = ClientTls::system();
    homing_device::pair(&device_data, &link.link(), "laptop", &trust, |_, _| {}).await.unwrap();
    let tunnel = Tunnel::start(&device_data, "myhost", Arc::new(trust)).unwrap();
    let request = |method: &str, path| Request::builder().method(method).uri(path).header("host", "app");
    let hello = ask(&tunnel, request("GET", "/").body(Full::default()).unwrap()).await;
    let upper = ask(&tunnel, request("POST", "/upper").body(text.to_owned().into()).unwrap()).await;
    [hello, upper]
}

#[tokio::main]
pub(crate) async fn main() {
    println!("{:?}", run("was posted").await);
}
