//! The relay behind a proxy that ends TLS for others, as many are: events come through at once, and the host is woken.

use core::net::SocketAddr;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::{READY, SETTINGS};
use crate::support::client::curled;
use crate::support::service::Site;
use crate::support::{Process, World, run};

/// Nothing is set but what WebSockets need anyway.
fn configuration(dir: &std::path::Path, listen: SocketAddr, relay: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr warn;\nevents {{}}\nhttp {{\n access_log off;\n \
         client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;\n \
         uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n server {{\n  listen {listen};\n  location / {{\n   \
         proxy_pass http://{relay};\n   proxy_http_version 1.1;\n   proxy_set_header Host $http_host;\n   \
         proxy_set_header Upgrade $http_upgrade;\n   proxy_set_header Connection $http_connection;\n  }}\n }}\n}}\n"
    )
}

fn nginx() -> Command {
    let mut command = Command::new("nginx");
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_behind_nginx_wakes_its_hosts() {
    let there = nginx().arg("-v").stdin(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no nginx here");
        return;
    }
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let dir = tempfile::tempdir().unwrap();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = dir.path().join("nginx.conf");
    std::fs::write(&path, configuration(dir.path(), listen, world.relay_address)).unwrap();
    let mut command = nginx();
    command.args(["-e", "stderr", "-c"]).arg(&path);
    let nginx = Process::spawn("nginx", command);
    crate::support::until("nginx listens", crate::support::PATIENCE, || std::net::TcpStream::connect(listen).is_ok())
        .await;

    // Host and devices know the relay by the proxy's address only.
    world.host.kill();
    world.relay_address = listen;
    world.set_host(SETTINGS, READY).await;
    let device = world.pair().await;
    let status = run(&world.relay_data(), &["relay", "status", "--json"]).await;
    assert!(status.stdout.contains("\"waiting\":1"), "{status}");
    let forward = device.forward("web").await;
    let answer = curled(&["--max-time", "30", &forward.url("/show")]).await;
    assert!(answer.contains(&device.id), "{answer}");
    assert!(nginx.is_running());
}
