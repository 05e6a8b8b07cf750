//! The relay behind proxies, configured as its documentation says: the test takes the text from there.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::ends::{ask, reach, tls_from};
use crate::support::authority::certificates;
use crate::support::process::homing;
use crate::support::{PATIENCE, Process, until};

const DOCUMENTATION: &str = include_str!("../../../relay/README.md");

/// Where Debian's package has it.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The configuration in a language that begins with this line.
fn documented(language: &str, first: &str) -> String {
    let mut blocks = DOCUMENTATION.split("```").skip(1).step_by(2);
    let block = blocks.find_map(|block| block.strip_prefix(&format!("{language}\n")).filter(|b| b.starts_with(first)));
    block.unwrap_or_else(|| panic!("no {language} with {first:?}")).to_owned()
}

/// Replaces what is there once.
fn put(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old:?} in {text}");
    text.replace(old, new)
}

pub(crate) fn there(name: &str, argument: &str) -> bool {
    let there = program(name).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: there is no {name} here");
    }
    there
}

pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

/// A port that nobody has, and that the system gives nobody who takes any.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (number % 20_000) as u16;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A relay that believes the proxy, and says whom it heard.
async fn relay(data: &Path, flags: &[&str]) -> (Process, SocketAddr) {
    let start = ["relay", "start", "--listen", "127.0.0.1:0", "--open", "--json", "--trusted-proxy", "127.0.0.1"];
    let mut command = homing(data, &[&start[..], &["--log-addresses"], flags].concat());
    command.env("HOMING_LOG", "info,homing=debug");
    let relay = Process::spawn("relay", command);
    let address = relay.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    (relay, address)
}

async fn start_nginx(dir: &Path, port: u16, text: &str) -> Process {
    let at = dir.display();
    let path = dir.join("nginx.conf");
    std::fs::write(&path, format!("daemon off; master_process off; pid {at}/pid; error_log stderr warn;\n{text}"))
        .unwrap();
    let mut command = program("nginx");
    command.args(["-e", "stderr", "-c"]).arg(&path);
    let nginx = Process::spawn("nginx", command);
    until("nginx listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    nginx
}

/// The relay takes a link from this address and no other.
async fn comes_from(relay: &Process, address: &str) {
    relay.logged(&format!("took a connection for a link address={address}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_as_documented() {
    if !there("nginx", "-v") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (relay, address) = relay(&dir.path().join("relay"), &["--links-per-address", "1"]).await;
    let [root, chain, key] = certificates(dir.path());
    let port = free_port();
    let mut server = documented("nginx", "server {");
    let certificate = "/etc/letsencrypt/live/relay.example.org/";
    for (old, new) in [
        ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        (&format!("{certificate}fullchain.pem"), chain.display().to_string()),
        (&format!("{certificate}privkey.pem"), key.display().to_string()),
        ("127.0.0.1:8080", address.to_string()),
    ] {
        server = put(&server, old, &new);
    }
    let at = dir.path().display();
    let ways = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|way| format!("{way}_temp_path {at}/{way};"));
    let text = format!("events {{}}\nhttp {{ access_log off; {}\n{server} }}\n", ways.join(" "));
    let nginx = start_nginx(dir.path(), port, &text).await;

    reach(dir.path(), &root, &format!("wss://localhost:{port}")).await;
    // Whom nginx heard counts, not what that one says.
    let mut link = tls_from([127, 0, 0, 5], port, &root).await;
    assert_eq!(ask(&mut link, "X-Forwarded-For: 192.0.2.1\r\n").await, 101);
    comes_from(&relay, "127.0.0.5").await;
    // Unless that one is a named proxy, too.
    let mut link = tls_from([127, 0, 0, 1], port, &root).await;
    assert_eq!(ask(&mut link, "X-Forwarded-For: 192.0.2.1\r\n").await, 101);
    comes_from(&relay, "192.0.2.1").await;
    let mut second = tls_from([127, 0, 0, 1], port, &root).await;
    assert_eq!(ask(&mut second, "X-Forwarded-For: 192.0.2.1\r\n").await, 429, "one link for each address");
    assert!(nginx.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_that_passes_tls_on_as_documented() {
    if !there("nginx", "-v") || !Path::new(STREAM).exists() {
        return eprintln!("SKIPPED: there is no {STREAM}");
    }
    let dir = tempfile::tempdir().unwrap();
    let [root, chain, key] = certificates(dir.path());
    let (cert, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    let flags = ["--tls-cert", cert, "--tls-key", key, "--proxy-protocol"];
    let (relay, address) = relay(&dir.path().join("relay"), &flags).await;
    let port = free_port();
    let stream = put(&documented("nginx", "stream {"), "listen 443", &format!("listen 127.0.0.1:{port}"));
    let stream = put(&stream, "127.0.0.1:8443", &address.to_string());
    let nginx = start_nginx(dir.path(), port, &format!("load_module {STREAM};\nevents {{}}\n{stream}")).await;

    reach(dir.path(), &root, &format!("wss://localhost:{port}")).await;
    let mut link = tls_from([127, 0, 0, 5], port, &root).await;
    assert_eq!(ask(&mut link, "X-Forwarded-For: 192.0.2.1\r\n").await, 101);
    comes_from(&relay, "127.0.0.5").await;
    assert!(nginx.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_as_documented() {
    if !there("caddy", "version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (relay, address) = relay(&dir.path().join("relay"), &[]).await;
    let (at, port, other) = (dir.path().display(), free_port(), free_port());
    let site = put(&documented("caddyfile", "relay.example.org {"), "relay.example.org", &format!("localhost:{port}"));
    let site = put(&site, "127.0.0.1:8080", &address.to_string());
    // An authority of its own takes the place of one on the Internet.
    let global = format!(
        "{{\n admin off\n local_certs\n skip_install_trust\n auto_https disable_redirects\n http_port {other}\n \
         storage file_system {at}/caddy\n}}\n"
    );
    let path = dir.path().join("Caddyfile");
    std::fs::write(&path, global + &site).unwrap();
    let mut command = program("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path).env("HOME", dir.path());
    let caddy = Process::spawn("caddy", command);
    let root = dir.path().join("caddy/pki/authorities/local/root.crt");
    let leaf = dir.path().join("caddy/certificates/local/localhost/localhost.crt");
    until("Caddy has its certificate", PATIENCE, || root.exists() && leaf.exists()).await;
    until("Caddy listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;

    reach(dir.path(), &root, &format!("wss://localhost:{port}")).await;
    let mut link = tls_from([127, 0, 0, 5], port, &root).await;
    assert_eq!(ask(&mut link, "X-Forwarded-For: 192.0.2.1\r\n").await, 101);
    comes_from(&relay, "127.0.0.5").await;
    assert!(caddy.is_running());
}
