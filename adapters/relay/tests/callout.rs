//! A real server decides who comes in: it says yes and no, is slow, talks nonsense, and is not there.
#![cfg(feature = "callout")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use homing_core::hop::{Code, operator_hash};
use homing_relay::account::{Callout, CalloutConfig, Plan};
use homing_relay::{Admission, RelayConfig};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use support::{Host, Running, Said, open, seed, soon};

/// What the server answers: a status and a body; nothing at all where there is none.
type Script = Option<(u16, String)>;

/// An operator's server.
#[derive(Clone)]
struct Decider {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Decider {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let decider = Self { address, script: Arc::new(Mutex::new(script)), asked: Arc::default() };
        let serving = decider.clone();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(tcp));
            }
        });
        decider
    }

    /// HTTP/1.1, connections kept open.
    async fn serve(self, tcp: TcpStream) {
        let mut tcp = BufReader::new(tcp);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                if tcp.read_line(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
                if let Some(value) = head[start..].to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            tcp.read_exact(&mut body).await.unwrap();
            self.asked.lock().unwrap().push(head + core::str::from_utf8(&body).unwrap());
            let script = self.script.lock().unwrap().clone();
            let Some((status, body)) = script else { return core::future::pending().await };
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if tcp.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn say(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn config(&self) -> CalloutConfig {
        CalloutConfig::new(format!("http://{}/admit?x=1", self.address))
    }
}

fn yes(ttl: u64) -> Script {
    Some((200, format!(r#"{{"allow":true,"account":"alice","ttl":{ttl}}}"#)))
}

fn no(rest: &str) -> Script {
    Some((200, format!(r#"{{"allow":false{rest}}}"#)))
}

async fn relay(config: CalloutConfig) -> Running {
    let admission = Admission::Ask(Arc::new(Callout::new(config).unwrap()));
    Running::start(RelayConfig { admission, metrics: Some(([127, 0, 0, 1], 0).into()), ..open() }).await
}

/// What a host with this key hears: the answer, and the reason that its link ends for.
async fn come(relay: &Running, keys: &[u8; 64]) -> (Said, Option<(u16, String)>, Host) {
    let mut host = Host::connect_as(relay, keys, Some("hk_key")).await;
    let said = host.next().await;
    let end = if said == Said::Registered { None } else { host.close_frame().await };
    (said, end, host)
}

fn closed(code: Code) -> Said {
    Said::Closed { idx: 0, code }
}

#[tokio::test]
async fn the_server_is_asked_once_for_as_long_as_its_answer_is_good() {
    let decider = Decider::start(yes(60)).await;
    let token = Some("secret".to_owned().into());
    let relay = relay(CalloutConfig { token, addresses: true, ..decider.config() }).await;
    let keys = seed();
    for _ in 0..3 {
        assert_eq!(come(&relay, &keys).await.0, Said::Registered);
    }
    let [asked] = &decider.asked()[..] else { panic!("{:?}", decider.asked()) };
    assert!(asked.starts_with("POST /admit?x=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("authorization: bearer secret\r\n"), "{asked}");
    // What ADMISSION.md tells to compute, by another implementation.
    let hash = "cd0b49c5f78adac99962ffc527cd7b5449e516a2adf9a17ac50d6d105742ed04";
    assert_eq!(hash, operator_hash(b"hk_key").iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert!(asked.contains(hash) && asked.contains(r#""address":"127.0.0.1""#) && !asked.contains("hk_key"), "{asked}");
    // Another host is another question, on the same connection.
    assert_eq!(come(&relay, &seed()).await.0, Said::Registered);
    assert_eq!(decider.asked().len(), 2);
}

#[tokio::test]
async fn a_refusal_has_its_code_and_time_and_is_remembered() {
    let decider = Decider::start(no("")).await;
    let relay = relay(decider.config()).await;
    let keys = seed();
    for _ in 0..2 {
        let (said, end, _) = come(&relay, &keys).await;
        assert_eq!((said, end), (closed(Code::Denied), Some((4008, String::new()))));
    }
    assert_eq!(decider.asked().len(), 1);
    decider.say(no(r#","reason":"not paid","retry_after":90"#));
    let (said, end, _) = come(&relay, &seed()).await;
    assert_eq!(said, closed(Code::Busy));
    let (code, reason) = end.unwrap();
    let seconds: u64 = reason.strip_prefix("retry-after=").unwrap().parse().unwrap();
    assert!(code == 4003 && (80..=90).contains(&seconds), "{code} {reason}");
    assert_eq!(relay.metric("refusals_total{limit=\"key\"}").await, 2);
    assert_eq!(relay.metric("admissions_total{outcome=\"refused\"}").await, 2);
}

#[tokio::test]
async fn who_is_revoked_is_out_within_the_life_of_the_answer() {
    let decider = Decider::start(yes(1)).await;
    let relay = relay(decider.config()).await;
    let (said, _, mut host) = come(&relay, &seed()).await;
    assert_eq!(said, Said::Registered);
    let device = host.dial(&relay).await;
    // Asked again and again, and it stays.
    soon("three questions", async {
        while decider.asked().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(decider.asked()[2].contains(r#""account":"alice""#), "{:?}", decider.asked());
    decider.say(no(""));
    let revoked = Instant::now();
    while host.next().await != closed(Code::Denied) {}
    let took = revoked.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    relay.until("its device to be gone", |status| status.channels == 0).await;
    drop(device);
}

#[tokio::test]
async fn a_server_that_talks_nonsense_or_fails_lets_nobody_in() {
    let decider = Decider::start(None).await;
    let relay = relay(decider.config()).await;
    let huge = format!(r#"{{"allow":true,"account":"a","reason":"{}"}}"#, "x".repeat(100_000));
    for (what, script) in [
        ("garbage", Some((200, "garbage".into()))),
        ("nothing", Some((200, String::new()))),
        ("huge", Some((200, huge))),
        ("a failure", Some((500, r#"{"allow":true,"account":"a"}"#.into()))),
        ("a redirect", Some((302, String::new()))),
        ("an account without a plan of that name", Some((200, r#"{"allow":true,"account":"a","plan":"x"}"#.into()))),
    ] {
        decider.say(script);
        let (said, end, _) = come(&relay, &seed()).await;
        assert_eq!((said, end), (closed(Code::Busy), Some((4003, "retry-after=5".into()))), "{what}");
    }
    assert_eq!(relay.metric("admissions_total{outcome=\"unanswered\"}").await, 6);
    assert_eq!(relay.metric("refusals_total{limit=\"unanswered\"}").await, 6);
    decider.say(yes(60));
    assert_eq!(come(&relay, &seed()).await.0, Said::Registered);
}

#[tokio::test]
async fn a_slow_server_is_not_waited_for_and_holds_up_nobody_that_is_known() {
    let decider = Decider::start(yes(60)).await;
    let relay = relay(decider.config()).await;
    let known = seed();
    assert_eq!(come(&relay, &known).await.0, Said::Registered);
    decider.say(None);
    let began = Instant::now();
    // More than there are questions at once.
    let many = core::array::from_fn::<_, 40, _>(|_| seed());
    let all = futures_util::future::join_all(many.iter().map(|keys| come(&relay, keys)));
    let known = async { come(&relay, &known).await.0 };
    let (all, known) = tokio::join!(all, known);
    assert_eq!(known, Said::Registered);
    for (said, end, _) in all {
        assert_eq!((said, end), (closed(Code::Busy), Some((4003, "retry-after=5".into()))));
    }
    assert!(began.elapsed() < Duration::from_secs(15), "one deadline for all: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_is_down_keeps_those_in_that_it_knew_for_a_while_at_most() {
    let decider = Decider::start(yes(1)).await;
    let plans = [("small".to_owned(), Plan::default())].into();
    let relay = relay(CalloutConfig { grace: Duration::from_secs(4), plans, ..decider.config() }).await;
    let keys = seed();
    let (said, _, mut host) = come(&relay, &keys).await;
    assert_eq!(said, Said::Registered);
    let in_since = Instant::now();
    decider.say(Some((503, String::new())));
    soon("the server to be missed", async {
        while relay.metric("admissions_total{outcome=\"kept\"}").await < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (said, _, _) = come(&relay, &seed()).await;
    assert_eq!(said, closed(Code::Busy), "who was not in stays out");
    while host.next().await != closed(Code::Busy) {}
    assert!(in_since.elapsed() >= Duration::from_secs(4), "{:?}", in_since.elapsed());
    // The grace is over for those who come back, too.
    assert_eq!(come(&relay, &keys).await.0, closed(Code::Busy));
    decider.say(yes(1));
    assert_eq!(come(&relay, &keys).await.0, Said::Registered);
}

#[tokio::test]
async fn nobody_listening_is_an_answer_too() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let relay = relay(CalloutConfig::new(format!("http://{gone}"))).await;
    let (said, end, _) = come(&relay, &seed()).await;
    assert_eq!((said, end), (closed(Code::Busy), Some((4003, "retry-after=5".into()))));
}
