//! The way to a relay, step by step: name, connection, TLS, HTTP, upgrade.

use core::future::Future;
use core::time::Duration;
use std::io;
use std::time::Instant;

use homing_local::clock::unix_now;
use homing_tokio::{ClientTls, DialError, Io, RelayUrl, dial, encrypt, endpoint_config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Finding, http_date};
use crate::failure::Exit;

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the relay's answer that are looked at.
const MAX_ANSWER: u64 = 8 * 1024;
/// Seconds that clocks may differ: pairing links live 300 s.
const SKEW: u64 = 30;

/// The steps to one relay. Each begins where the one before has ended.
pub(super) struct Steps<'a> {
    url: RelayUrl,
    tls: &'a ClientTls,
    next: Step,
}

enum Step {
    Resolve,
    Connect(Vec<core::net::SocketAddr>),
    Secure(TcpStream),
    Ask(Io),
    Upgrade,
    Done,
}

impl<'a> Steps<'a> {
    pub(super) const fn new(url: RelayUrl, tls: &'a ClientTls) -> Self {
        Self { url, tls, next: Step::Resolve }
    }

    /// Takes the next step; none after the last one, or the first that failed.
    pub(super) async fn next(&mut self) -> Option<Finding> {
        let started = Instant::now();
        let finding = match core::mem::replace(&mut self.next, Step::Done) {
            Step::Resolve => self.resolve().await,
            Step::Connect(addresses) => self.connect(&addresses).await,
            Step::Secure(tcp) => self.secure(tcp).await,
            Step::Ask(io) => self.ask(io).await,
            Step::Upgrade => self.upgrade().await,
            Step::Done => return None,
        };
        Some(finding.took(started.elapsed()))
    }

    async fn resolve(&mut self) -> Finding {
        let found = within(lookup_host((self.url.host(), self.url.port()))).await;
        match found.map(Iterator::collect::<Vec<_>>) {
            Ok(addresses) if !addresses.is_empty() => {
                let list = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
                self.next = Step::Connect(addresses);
                Finding::ok("DNS", list)
            }
            Ok(_) => unreachable("DNS", "the name has no address", "check the relay's name and this machine's DNS"),
            Err(error) => unreachable("DNS", error, "check the relay's name, and that this machine is online"),
        }
    }

    async fn connect(&mut self, addresses: &[core::net::SocketAddr]) -> Finding {
        match within(TcpStream::connect(addresses)).await {
            Ok(tcp) => {
                let peer = tcp.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
                self.next = if self.url.is_plain() { Step::Ask(Io::Plain(tcp)) } else { Step::Secure(tcp) };
                Finding::ok("TCP", peer)
            }
            Err(error) => unreachable("TCP", error, "check that the relay runs, its port, and firewalls on the way"),
        }
    }

    async fn secure(&mut self, tcp: TcpStream) -> Finding {
        let advice = "check the relay's certificate; for a private authority set SSL_CERT_FILE to its PEM file";
        match timeout(PATIENCE, encrypt(&self.url, self.tls, tcp)).await {
            Ok(Ok(io)) => {
                let detail = io.tls_version().map_or_else(|| "secure".to_owned(), |version| format!("{version:?}"));
                self.next = Step::Ask(io);
                Finding::ok("TLS", detail)
            }
            Ok(Err(DialError::TlsSetup(error))) => Finding::fail(Exit::Failed, "TLS", error.to_string(), advice),
            Ok(Err(DialError::Tls { error, .. })) => unreachable("TLS", error, advice),
            Ok(Err(error)) => unreachable("TLS", error, advice),
            Err(_) => unreachable("TLS", "no answer in 10 s", advice),
        }
    }

    async fn ask(&mut self, mut io: Io) -> Finding {
        let request = format!("GET /version HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.url.authority());
        let mut answer = Vec::new();
        let asked = async {
            io.write_all(request.as_bytes()).await?;
            io.take(MAX_ANSWER).read_to_end(&mut answer).await
        };
        if let Err(error) = within(asked).await {
            return unreachable("HTTP", error, "something between here and the relay answers in its place");
        }
        self.next = Step::Upgrade;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let date = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("date").then(|| http_date::parse(value))?
        });
        let skew = date.map(|date| date.abs_diff(unix_now()));
        if !head.starts_with("HTTP/1.1 200") {
            let status = head.lines().next().unwrap_or_default();
            return Finding::warn("HTTP", format!("no version: {status}"), "check that the URL is a homing relay's");
        }
        let version = body.trim();
        match skew {
            Some(skew) if skew > SKEW => Finding::warn(
                "HTTP",
                format!("relay {version}; its clock and this one differ by {skew} s"),
                "set both clocks by NTP, or pairing links look expired",
            ),
            _ if version != env!("CARGO_PKG_VERSION") => Finding::warn(
                "HTTP",
                format!("relay {version}, here {}", env!("CARGO_PKG_VERSION")),
                "versions differ; if something does not work, update the older one",
            ),
            _ => Finding::ok("HTTP", format!("relay {version}, clocks agree")),
        }
    }

    async fn upgrade(&mut self) -> Finding {
        match dial(&self.url, self.tls, endpoint_config()).await {
            Ok(_) => Finding::ok("link", "the relay opens links; time is of all steps together"),
            Err(error) => unreachable("link", error, "a proxy on the way may not let WebSocket through"),
        }
    }
}

fn unreachable(check: &str, error: impl core::fmt::Display, advice: &str) -> Finding {
    Finding::fail(Exit::Unreachable, check, error.to_string(), advice)
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, step).await.unwrap_or_else(|_| Err(io::Error::other("no answer in 10 s")))
}
