//! Hosts' and devices' WebSocket against the cases of a conformance suite's server:
//! `websocket_client 127.0.0.1:9001 tokio`, or `smol`. With `as-it-is` at the end, messages are as bounded as on links.
#![allow(clippy::unwrap_used, reason = "a program for tests")]

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::StreamExt;
use tokio_util::compat::TokioAsyncReadCompatExt;

/// How a runtime connects.
trait Connect {
    type Io: AsyncRead + AsyncWrite + Unpin + Send;
    async fn connect(address: &str) -> Self::Io;
}

struct OnTokio;

impl Connect for OnTokio {
    type Io = tokio_util::compat::Compat<homing_tokio::Io>;
    async fn connect(address: &str) -> Self::Io {
        homing_tokio::Io::Plain(tokio::net::TcpStream::connect(address).await.unwrap()).compat()
    }
}

struct OnSmol;

impl Connect for OnSmol {
    type Io = homing_smol::Io;
    async fn connect(address: &str) -> Self::Io {
        homing_smol::Io::Plain(smol::net::TcpStream::connect(address).await.unwrap())
    }
}

async fn open<C: Connect>(address: &str, path: &str, config: WebSocketConfig) -> WebSocketStream<C::Io> {
    let io = C::connect(address).await;
    client_async_with_config(format!("ws://{address}/{path}"), io, Some(config)).await.unwrap().0
}

async fn run<C: Connect>(address: &str, agent: &str, config: WebSocketConfig) {
    let mut count = open::<C>(address, "getCaseCount", config).await;
    let Some(Ok(Message::Text(count))) = count.next().await else { panic!("no count of cases") };
    let count: u32 = count.parse().unwrap();
    for case in 1..=count {
        let mut socket = open::<C>(address, &format!("runCase?case={case}&agent={agent}"), config).await;
        while let Some(Ok(message)) = socket.next().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
                break;
            }
        }
    }
    let mut report = open::<C>(address, &format!("updateReports?agent={agent}"), config).await;
    while let Some(Ok(_)) = report.next().await {}
}

fn main() {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:9001".into());
    let runtime = args.next();
    let bounded = homing_tokio::endpoint_config();
    let unbounded = bounded.max_message_size(None).max_frame_size(None).max_write_buffer_size(usize::MAX);
    let config = if args.next().is_some() { bounded } else { unbounded };
    match runtime.as_deref() {
        Some("smol") => smol::block_on(run::<OnSmol>(&address, "homing-smol", config)),
        _ => {
            tokio::runtime::Runtime::new().unwrap().block_on(run::<OnTokio>(&address, "homing-tokio", config));
        }
    }
}
