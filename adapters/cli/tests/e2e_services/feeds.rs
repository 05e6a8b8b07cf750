//! What stays open: WebSockets and event streams.

use core::time::Duration;
use std::time::Instant;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::support::client::Http;
use crate::support::service::Site;
use crate::support::{Forward, World, in_time, within};

const MESSAGES: usize = 10_000;

async fn web_socket(forward: &Forward) -> WebSocketStream<Compat<TcpStream>> {
    let tcp = within(TcpStream::connect(forward.address)).await.unwrap();
    let url = format!("ws://{}/ws", forward.address);
    let (socket, answer) = within(client_async_with_config(url, tcp.compat(), Some(WebSocketConfig::default())))
        .await
        .expect("an upgrade");
    assert_eq!(answer.status(), 101);
    socket
}

/// Texts and bytes, short ones mostly.
fn message(number: usize) -> Message {
    let len = if number % 1000 == 7 { 100_000 } else { number * 31 % 700 };
    if number.is_multiple_of(2) {
        let mut text = format!("{number} ü ");
        text.extend(core::iter::repeat_n('é', len));
        Message::text(text)
    } else {
        let bytes: Vec<u8> = (0..len).map(|at| (at * number % 251) as u8).collect();
        Message::binary(bytes)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_come_back_in_order() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;
    let (mut sender, mut receiver) = web_socket(&forward).await.split();
    let send = async {
        for number in 0..MESSAGES {
            sender.send(message(number)).await.expect("sent");
        }
    };
    let receive = async {
        for number in 0..MESSAGES {
            let got = receiver.next().await.expect("another message").expect("a message");
            assert!(got == message(number), "message {number} came back as another one");
        }
    };
    in_time(Duration::from_secs(90), async { tokio::join!(send, receive) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_codes_pass_both_ways() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;

    let mut socket = web_socket(&forward).await;
    let mine = CloseFrame { code: 4321.into(), reason: "done".into() };
    within(socket.close(Some(mine.clone()))).await.unwrap();
    let got = within(socket.next()).await.expect("an answer").expect("a message");
    assert_eq!(got, Message::Close(Some(mine)));

    let mut socket = web_socket(&forward).await;
    within(socket.send(Message::text("close"))).await.unwrap();
    let got = within(socket.next()).await.expect("an answer").expect("a message");
    assert_eq!(got, Message::Close(Some(CloseFrame { code: 4001.into(), reason: "as asked".into() })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_goes_on_for_a_minute_though_nothing_else_moves() {
    // Seconds of silence: more than relays, hosts and devices wait for a sign of life of one another.
    const GAPS: [u64; 8] = [500, 1, 0, 1_500, 8_000, 35_000, 15_000, 0];
    let mut site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;
    let mut http = Http::to(forward.address).await;
    let gaps = GAPS.map(|gap| gap.to_string()).join(",");
    let head = http.get(&format!("/events/{gaps}")).await;
    assert_eq!(head.all("content-type"), ["text/event-stream"]);

    let started = Instant::now();
    let mut due = Duration::ZERO;
    for number in 0..=GAPS.len() {
        // The first event comes at once though the service says nothing more for now.
        due += Duration::from_millis(if number == 0 { 0 } else { GAPS[number - 1] });
        let text = loop {
            let line = in_time(Duration::from_secs(60), http.line()).await.expect("the feed goes on");
            if let Some(text) = line.strip_prefix("data: ") {
                break text.to_owned();
            }
        };
        assert_eq!(text, number.to_string());
        let late = started.elapsed().saturating_sub(due);
        assert!(late < Duration::from_secs(4), "event {number} came {late:?} late");
    }
    drop(http);
    assert_eq!(site.next().await, "events dropped");
}
