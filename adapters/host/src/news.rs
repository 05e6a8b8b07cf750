//! What a device asks the host itself, on a stream that names no service (protocol 9.6, 9.7): the list of services, or
//! news, which come for as long as the stream is open.

use core::time::Duration;
use std::io;

use homing_local::device_log::{Log, Point};
use homing_local::hex;
use homing_tokio::TunnelStream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::gate::offer;
use crate::grant::guest::Guest;
use crate::shared::{Inner, Shared};

/// How long a device may take to begin with a question, before it gets the list.
const BEGIN_TIME: Duration = Duration::from_secs(1);
/// And to end it.
const ASK_TIME: Duration = Duration::from_secs(10);
/// The longest question, in bytes, its end not counted.
const ASK_MAX: usize = 4096;
/// Bytes of log entries in one line of news, which stays far below what a device reads even where all are escaped.
const BATCH: usize = 16 * 1024;

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    List,
    News {
        /// How far the device's copy of the log goes; none where it keeps none.
        devices: Option<Point>,
    },
    /// A later version's.
    Unknown,
}

#[derive(Deserialize)]
struct Asked {
    ask: String,
    devices: Option<Point>,
}

impl Question {
    fn parse(text: &[u8]) -> Self {
        if text.trim_ascii().is_empty() {
            return Self::List;
        }
        match serde_json::from_slice::<Asked>(text) {
            Ok(asked) if asked.ask == "news" => Self::News { devices: asked.devices },
            _ => Self::Unknown,
        }
    }

    /// Reads a line, which the end of the stream ends too. Devices that only want the list say nothing.
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut text = vec![0; ASK_MAX];
        let begun = timeout(BEGIN_TIME, from.read(&mut text)).await.unwrap_or(Ok(0))?;
        let (mut len, mut more) = (begun, begun > 0);
        let rest = async {
            while more && len < text.len() && !text.iter().take(len).any(|byte| *byte == b'\n') {
                let read = from.read(text.get_mut(len..).unwrap_or_default()).await?;
                (len, more) = (len.saturating_add(read), read > 0);
            }
            io::Result::Ok(len)
        };
        let len = timeout(ASK_TIME, rest).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let text = text.get(..len).unwrap_or_default();
        Ok(Self::parse(text.split(|byte| *byte == b'\n').next().unwrap_or_default()))
    }
}

/// Answers the question of a device, or of a guest of it.
pub(crate) async fn answer(shared: &Shared, device: &str, guest: Option<&Guest>, mut stream: TunnelStream) {
    let Ok(question) = Question::read(&mut stream).await else { return };
    let text = match question {
        Question::List => offer(shared, device, guest).to_string(),
        Question::News { devices } if guest.is_none() && hears_news(shared, device) => {
            if let Err(error) = follow(shared, device, &mut stream, devices).await {
                tracing::debug!(%error, "news ended early");
            }
            return;
        }
        Question::News { .. } => json!({ "error": "no news for this caller" }).to_string(),
        Question::Unknown => json!({ "error": "this host does not know the question" }).to_string(),
    };
    if stream.write_all(text.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// Who hears of the host's other devices: its own devices do, and nobody else.
fn hears_news(shared: &Shared, device: &str) -> bool {
    shared.lock().device(device).is_some()
}

/// Tells what the device has not heard, and what happens from then on, until it ends its direction.
async fn follow(
    shared: &Shared,
    device: &str,
    stream: &mut TunnelStream,
    mut devices: Option<Point>,
) -> io::Result<()> {
    let mut changes = shared.news.subscribe();
    let (mut greeted, mut moved) = (false, 0);
    loop {
        changes.mark_unchanged();
        loop {
            let line = {
                let mut inner = shared.lock();
                if inner.device(device).is_none() {
                    return Ok(());
                }
                let log = devices.as_mut().and_then(|at| batch(&inner.state.log, at, !greeted));
                log.or_else(|| whither(shared, &mut inner, device, &mut moved))
            };
            let Some(line) = line else { break };
            greeted = true;
            stream.write_all(line.as_bytes()).await?;
        }
        let mut ended = [0; 64];
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            read = stream.read(&mut ended) => if read? == 0 { return stream.shutdown().await },
        }
    }
}

/// Where a device finds the host from now on, if it does not know; `told` is the last rotation that it was told of.
fn whither(shared: &Shared, inner: &mut Inner, device: &str, told: &mut u64) -> Option<String> {
    let (rotations, until) = (inner.state.rotations, inner.state.rotation()?.until?);
    let knows = inner.device(device).is_none_or(|device| device.followed == rotations);
    // It goes there at once, so there should be somebody.
    if knows || *told == rotations || !(0..inner.former).any(|relay| inner.is_reachable_at(relay)) {
        return None;
    }
    *told = rotations;
    let keys = shared.keys();
    let capability = Shared::mint(inner, device, &keys.route).to_bytes();
    let said = json!({ "move": {
        "host_key": hex::emit(keys.identity.public().as_bytes()),
        "route_id": hex::emit(&keys.route.id),
        "capability": hex::emit(capability.expose()),
        "until": until,
    } });
    Some(format!("{said}\n"))
}

/// The next line about devices for a reader who is at `at`; none where there is nothing to say and nothing has to be.
fn batch(log: &Log, at: &mut Point, greet: bool) -> Option<String> {
    let (after, lines) = log.since(at);
    if lines.is_empty() && !greet {
        return None;
    }
    let (mut behind, mut bytes, mut entries) = (after, 0_usize, Vec::new());
    for line in lines {
        bytes = bytes.saturating_add(line.len());
        if bytes > BATCH && !entries.is_empty() {
            break;
        }
        behind = behind.then(line);
        entries.push(Value::from(line.as_str()));
    }
    *at = behind;
    let said = json!({ "devices": { "after": after, "head": log.head().seq, "entries": entries } });
    Some(format!("{said}\n"))
}

#[cfg(test)]
mod tests {
    use homing_local::device_log::{Change, Listed};

    use super::*;

    #[tokio::test]
    async fn questions_are_read_as_far_as_allowed() {
        let read = async |text: &[u8]| Question::read(&mut &text[..]).await;
        for list in [&b""[..], b"\n", b"  \nmore"] {
            assert_eq!(read(list).await.unwrap(), Question::List);
        }
        let point = r#"{"seq":3,"hash":"0101010101010101010101010101010101010101010101010101010101010101"}"#;
        let text = format!(r#"{{"later":[1],"ask":"news","devices":{point}}}"#);
        let news = Question::News { devices: Some(Point { seq: 3, hash: [1; 32] }) };
        assert_eq!(read(text.as_bytes()).await.unwrap(), news, "ended by the stream");
        assert_eq!(read(format!("{text}\nmore").as_bytes()).await.unwrap(), news);
        assert_eq!(read(br#"{"ask":"news"}"#).await.unwrap(), Question::News { devices: None });
        let long = format!("{}{text}\n", " ".repeat(ASK_MAX));
        for other in [&br#"{"ask":"weather"}"#[..], b"news", b"\xff\n", br#"{"ask":"news","devices":7}"#] {
            assert_eq!(read(other).await.unwrap(), Question::Unknown);
        }
        assert_ne!(read(long.as_bytes()).await.unwrap(), news);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_says_nothing_wants_the_list() {
        let (mut host, mut device) = tokio::io::duplex(64);
        assert_eq!(Question::read(&mut host).await.unwrap(), Question::List);
        device.write_all(b"{").await.unwrap();
        let error = Question::read(&mut host).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_long_log_comes_in_several_lines() {
        let mut log = Log::default();
        assert!(batch(&log, &mut Point::default(), false).is_none());
        assert!(batch(&log, &mut Point::default(), true).unwrap().contains(r#""entries":[],"head":0"#));
        for number in 0..homing_local::device_log::KEPT + 10 {
            let device = Listed { id: format!("{number:016x}"), name: "\"".repeat(64), platform: "browser".into() };
            log.note(0, Change::Added, &device, None);
        }
        let (mut at, mut told, mut lines) = (log.base(), 0, 0);
        while let Some(line) = batch(&log, &mut at, false) {
            assert!(line.len() < 64 * 1024 && line.ends_with("}\n"), "{}", line.len());
            let said: Value = serde_json::from_str(&line).unwrap();
            told += said["devices"]["entries"].as_array().unwrap().len();
            lines += 1;
        }
        assert_eq!((told, at), (homing_local::device_log::KEPT, log.head()));
        assert!(lines > 3);
    }
}
