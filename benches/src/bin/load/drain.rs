//! R2: a planned restart. With two relays, requests through a real host and device go on as if nothing happened; with one,
//! every host comes back once.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use homing_benches::program::homing;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::crowd::{Crowd, Manner};
use crate::peer::SMALL;
use crate::relay::{Plan, Relay};
use crate::sheet::{Aim, Sheet};

/// Connections that ask all the time, half of them anew for each request.
const CLIENTS: usize = 16;
/// One request in so many takes its time.
const SLOW: usize = 8;
const BODY: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(sheet: &mut Sheet, hosts: usize) {
    two(sheet).await;
    one(sheet, hosts).await;
}

/// One relay, and hosts that have no other.
async fn one(sheet: &mut Sheet, hosts: usize) {
    let mut relay = Relay::start(&Plan { links: hosts + 64, ..Plan::default() });
    let crowd = Crowd::start(&relay.target, hosts, Manner { room: SMALL, echo: false, returns: true }).await;
    sleep(Duration::from_secs(11)).await;
    let asked = Instant::now();
    relay.signal(Signal::TERM);
    tokio::task::block_in_place(|| relay.wait());
    let left = asked.elapsed().as_secs_f64();
    relay.restart();
    let deadline = Instant::now() + Duration::from_secs(60);
    while crowd.fate.arrivals.lock().unwrap().len() < 2 * hosts && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let back = asked.elapsed().as_secs_f64();
    sleep(Duration::from_secs(3)).await;
    let lost = crowd.fate.lost.load(Ordering::Relaxed) as f64 / hosts as f64;
    let name = |figure: &str| format!("one relay, {hosts} hosts, planned restart: {figure}");
    sheet.hold("R2", &name("links lost by each"), lost, "", Aim::AtMost(1.0));
    sheet.tell("R2", &name("the relay has ended after"), left, "s", Aim::Known);
    sheet.tell("R2", &name("all are back after"), back, "s", Aim::Known);
}

/// Two relays, and a host and a device that know both.
async fn two(sheet: &mut Sheet) {
    let dir = tempfile::tempdir().unwrap();
    let mut relays = [Relay::start(&Plan::default()), Relay::start(&Plan::default())];
    let service = service().await;
    let mut host = program(dir.path(), "host");
    host.args(["host", "start", "--name", "bench", "--expose", &format!("raw=tcp://{service}")]);
    for relay in &relays {
        host.args(["--relay", &format!("ws://{}", relay.target.address)]);
    }
    let _host = Ended(host.stdout(Stdio::null()).spawn().unwrap());
    let (mut ticket, link) = loop {
        sleep(Duration::from_millis(200)).await;
        let mut command = program(dir.path(), "host");
        let mut child = command.args(["host", "pair", "--auto", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        if let Some(line) = first_line(&mut child) {
            break (child, line["link"].as_str().unwrap().to_owned());
        }
    };
    assert!(program(dir.path(), "device").args(["pair", &link]).stdout(Stdio::null()).status().unwrap().success());
    ticket.wait().unwrap();
    let mut forward = program(dir.path(), "device");
    forward.args(["forward", "bench/raw", "127.0.0.1:0", "--json"]).stdout(Stdio::piped());
    let mut forward = Ended(forward.spawn().unwrap());
    let address: SocketAddr = first_line(&mut forward.0).unwrap()["address"].as_str().unwrap().parse().unwrap();

    let tally = Arc::<Tally>::default();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(ask(address, number, tally.clone()));
    }
    sleep(Duration::from_secs(5)).await;
    let mut restarts = 0;
    for _ in 0..2 {
        for relay in &mut relays {
            relay.signal(Signal::TERM);
            tokio::task::block_in_place(|| relay.wait());
            sleep(Duration::from_secs(1)).await;
            relay.restart();
            restarts += 1;
            // The host is at both again before the other leaves.
            let deadline = Instant::now() + PATIENCE;
            while tokio::task::block_in_place(|| relay.status())["hosts"].as_u64() != Some(1) {
                assert!(Instant::now() < deadline, "the host does not come back");
                sleep(Duration::from_millis(200)).await;
            }
            sleep(Duration::from_secs(3)).await;
        }
    }
    tally.stop.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    let name = |figure: &str| format!("two relays, {restarts} planned restarts: {figure}");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    sheet.tell("R2", &name("requests answered"), count(&tally.answered), "", Aim::Known);
    sheet.hold("R2", &name("requests failed"), count(&tally.failed), "", Aim::AtMost(0.0));
    sheet.tell("R2", &name("longest wait for an answer"), count(&tally.longest) / 1000.0, "s", Aim::Known);
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    /// Milliseconds.
    longest: AtomicU64,
}

/// Asks until told to stop.
async fn ask(to: SocketAddr, number: usize, tally: Arc<Tally>) {
    let (mut kept, mut turn) = (None, number);
    while !tally.stop.load(Ordering::Relaxed) {
        turn += 1;
        let since = Instant::now();
        let slow = turn.is_multiple_of(SLOW);
        match timeout(PATIENCE, request(to, kept.take(), slow)).await {
            Ok(Ok(stream)) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                // As slow as it wanted to be: that is no wait.
                let took = since.elapsed().saturating_sub(if slow { PAUSE } else { Duration::ZERO });
                tally.longest.fetch_max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                kept = number.is_multiple_of(2).then_some(stream);
            }
            failed => {
                eprintln!("a request failed: {:?}", failed.map(|done| done.map(drop)));
                tally.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// How long a slow answer takes.
const PAUSE: Duration = Duration::from_millis(1500);

async fn request(to: SocketAddr, kept: Option<TcpStream>, slow: bool) -> std::io::Result<TcpStream> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(to).await?,
    };
    stream.write_all(if slow { b"slow\n" } else { b"fast\n" }).await?;
    let mut body = [0; BODY];
    stream.read_exact(&mut body).await?;
    Ok(stream)
}

/// Answers a line with 2,000 bytes, half of them after a while where it is asked to be slow.
async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let half = [0x5a; BODY / 2];
                    if write.write_all(&half).await.is_err() {
                        return;
                    }
                    if line == "slow" {
                        sleep(PAUSE).await;
                    }
                    if write.write_all(&half).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn program(dir: &Path, role: &str) -> Command {
    let mut command = Command::new(homing());
    command.arg("--data").arg(dir.join(role)).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// The first line of JSON that a program prints; the rest may come, and is not read.
fn first_line(child: &mut Child) -> Option<Value> {
    use std::io::BufRead as _;
    let mut reader = std::io::BufReader::with_capacity(1, child.stdout.take()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    child.stdout = Some(reader.into_inner());
    serde_json::from_str(&line).ok()
}

/// A program that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}
