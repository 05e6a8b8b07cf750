//! Sixty-four streams that are busy for a while: each checks every byte, and notes when it got on.

use core::time::Duration;
use std::time::Instant;

use async_tungstenite::client_async_with_config;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::stage::Stage;
use crate::support::client::Http;
use crate::support::service::{content, content_hash, hex};

/// Downloads, uploads, WebSockets, event streams, raw sessions.
const KINDS: [usize; 5] = [22, 22, 8, 8, 4];
/// All of them.
pub(crate) const STREAMS: usize = 64;
/// Those that have nothing waiting in buffers.
const PROMPT: [&str; 3] = ["websocket", "feed", "session"];
/// How often each stream moves something: often enough to tell a stall, seldom enough for two cores.
const PACE: Duration = Duration::from_millis(40);
/// How long before something happens it is looked for what streams wait for anyhow.
const CALM: Duration = Duration::from_secs(2);
/// Bytes that a transfer moves at once.
const PART: usize = 16 * 1024;

/// When a stream got on.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) kind: &'static str,
    moments: Vec<Instant>,
}

impl Progress {
    fn new(kind: &'static str) -> Self {
        Self { kind, moments: vec![Instant::now()] }
    }

    fn step(&mut self) {
        self.moments.push(Instant::now());
    }

    /// The longest time without progress that began in the `window` after `at`, or lasted then; none where the stream
    /// was over.
    pub(crate) fn stall(&self, at: Instant, window: Duration) -> Option<Duration> {
        let pairs = self.moments.windows(2);
        let near = pairs.filter(|pair| pair[1] >= at && pair[0] <= at + window);
        near.map(|pair| pair[1] - pair[0]).max()
    }

    /// The longest time without progress in the two seconds before `at`.
    fn calm(&self, at: Instant) -> Option<Duration> {
        let pairs = self.moments.windows(2);
        let near = pairs.filter(|pair| pair[1] < at && pair[1] + CALM >= at);
        near.map(|pair| pair[1] - pair[0]).max()
    }

    /// How long after `at` it got on, where it was held up then: what waits in buffers on the way may keep it going.
    pub(crate) fn after(&self, at: Instant) -> Option<Duration> {
        let around = self.moments.windows(2).find(|pair| pair[0] < at && pair[1] >= at)?;
        (at - around[0] > Duration::from_secs(1)).then(|| around[1] - at)
    }

    /// Whether it waits for each answer, so that nothing hides a stall.
    pub(crate) fn is_prompt(&self) -> bool {
        PROMPT.contains(&self.kind)
    }
}

/// Waits until no other test measures how long its streams wait: together they would wait for the processor.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Streams under way.
pub(crate) struct Load(JoinSet<Progress>);

impl Load {
    /// Starts all streams; each is busy for so long, and longer by what it is held up.
    pub(crate) async fn start(stage: &Stage, busy: Duration) -> Self {
        assert_eq!(KINDS.iter().sum::<usize>(), STREAMS);
        let steps = usize::try_from(busy.as_millis() / PACE.as_millis()).unwrap();
        let [downloads, uploads, sockets, feeds, sessions] = KINDS;
        let mut all = JoinSet::new();
        for _ in 0..downloads {
            all.spawn(download(stage.connect("web").await, steps));
        }
        for _ in 0..uploads {
            all.spawn(upload(stage.connect("web").await, steps));
        }
        for _ in 0..sockets {
            all.spawn(web_socket(stage.connect("web").await, steps));
        }
        for _ in 0..feeds {
            all.spawn(feed(stage.connect("web").await, steps));
        }
        for _ in 0..sessions {
            all.spawn(session(stage.connect("raw").await, steps));
        }
        Self(all)
    }

    /// Waits until every stream is complete, which each has checked.
    pub(crate) async fn complete(mut self) -> Vec<Progress> {
        let mut all = Vec::new();
        while let Some(done) = self.0.join_next().await {
            all.push(done.expect("a stream that is complete"));
        }
        assert_eq!(all.len(), STREAMS);
        all
    }
}

fn pace() -> Interval {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

async fn download(mut http: Http, steps: usize) -> Progress {
    let (mut progress, mut pace) = (Progress::new("download"), pace());
    let len = steps * PART;
    let head = http.get(&format!("/bytes/{len}")).await;
    assert_eq!(head.status, 200, "{}", head.text);
    let (mut hash, mut part) = (Sha256::new(), vec![0; PART]);
    for _ in 0..steps {
        pace.tick().await;
        http.read.read_exact(&mut part).await.expect("more of the body");
        hash.update(&part);
        progress.step();
    }
    assert_eq!(hex(&hash.finalize()), content_hash(len as u64), "a download");
    progress
}

async fn upload(mut http: Http, steps: usize) -> Progress {
    let (mut progress, mut pace) = (Progress::new("upload"), pace());
    let len = steps * PART;
    http.send(&format!("POST /hash HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n")).await;
    for piece in content(len as u64) {
        for part in piece.chunks(PART) {
            pace.tick().await;
            http.write.write_all(part).await.expect("the upload goes on");
            progress.step();
        }
    }
    let head = http.head().await;
    assert_eq!(head.status, 200, "{}", head.text);
    let said = String::from_utf8(http.body(&head).await).unwrap();
    assert_eq!(said, format!("{len} {}", content_hash(len as u64)), "an upload");
    progress.step();
    progress
}

async fn web_socket(http: Http, steps: usize) -> Progress {
    let (mut progress, mut pace) = (Progress::new("websocket"), pace());
    let Http { read, write } = http;
    assert!(read.buffer().is_empty());
    let tcp = read.into_inner().reunite(write).unwrap();
    let config = Some(WebSocketConfig::default());
    let upgraded = client_async_with_config("ws://test/ws", tcp.compat(), config).await;
    let (mut socket, answer) = upgraded.expect("an upgrade");
    assert_eq!(answer.status(), 101);
    for number in 0..steps {
        pace.tick().await;
        let message = Message::text(format!("{number} {}", "é".repeat(number % 500)));
        socket.send(message.clone()).await.expect("sent");
        let got = socket.next().await.expect("an answer").expect("a message");
        assert!(got == message, "message {number} came back as another one");
        progress.step();
    }
    progress
}

async fn feed(mut http: Http, steps: usize) -> Progress {
    let mut progress = Progress::new("feed");
    let gaps = vec![PACE.as_millis().to_string(); steps].join(",");
    let head = http.get(&format!("/events/{gaps}")).await;
    assert_eq!(head.status, 200, "{}", head.text);
    for number in 0..=steps {
        let text = loop {
            let line = http.line().await.expect("the feed goes on");
            if let Some(text) = line.strip_prefix("data: ") {
                break text.to_owned();
            }
        };
        assert_eq!(text, number.to_string(), "an event");
        progress.step();
    }
    progress
}

async fn session(http: Http, steps: usize) -> Progress {
    let (mut progress, mut pace) = (Progress::new("session"), pace());
    let Http { mut read, mut write } = http;
    for (number, piece) in (0..steps).zip(content(u64::MAX)) {
        pace.tick().await;
        let said = &piece[..1 + number % 3000];
        write.write_all(said).await.expect("said");
        let mut heard = vec![0; said.len()];
        read.read_exact(&mut heard).await.expect("heard");
        assert!(heard == said, "another echo");
        progress.step();
    }
    write.shutdown().await.unwrap();
    assert_eq!(read.read(&mut [0]).await.unwrap(), 0, "an end");
    progress
}

/// The middle of them.
fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Prints what each kind of stream had to wait for. Gives the middle of all, and of those that wait for each answer.
pub(crate) fn report(title: &str, waits: &[(&'static str, Duration)]) -> (Duration, Duration) {
    let of = |kinds: &[&str]| {
        let all: Vec<_> = waits.iter().filter(|(of, _)| kinds.contains(of)).map(|(_, wait)| *wait).collect();
        let (middle, longest) = (median(all.clone()), all.iter().max().copied().unwrap_or_default());
        let kinds = kinds.join(" + ");
        eprintln!("{title}: median {middle:>8.1?}, longest {longest:>8.1?} of {:>3}: {kinds}", all.len());
        middle
    };
    for kind in ["download", "upload", "websocket", "feed", "session"] {
        of(&[kind]);
    }
    (of(&["download", "upload", "websocket", "feed", "session"]), of(&PROMPT))
}

/// What the middle stream may have to wait for: so long, and longer where the machine made it wait before any of these
/// moments. For all, and for those that wait for each answer.
pub(crate) fn limits(least: Duration, moments: &[Instant], all: &[Progress]) -> (Duration, Duration) {
    let pairs = moments.iter().flat_map(|moment| all.iter().map(move |progress| (moment, progress)));
    let calm: Vec<_> = pairs.filter_map(|(moment, of)| Some((of.kind, of.calm(*moment)?))).collect();
    let (all, prompt) = report("before", &calm);
    (least + 4 * all, least + 4 * prompt)
}
