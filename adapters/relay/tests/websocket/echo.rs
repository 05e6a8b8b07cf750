//! A server that says everything again, by the frames of the relay: what the standard's tests are run against. Unlike a
//! link it takes texts.

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use homing_relay::Runtime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frame::{Decoder, Fault, Incoming, emit_close, emit_message, emit_pong};

/// Serves connections of a listener for ever. No message may be longer than `limit` bytes.
pub(crate) async fn serve<R: Runtime>(listener: R::Listener, limit: usize) {
    while let Ok((tcp, _)) = R::next(&listener).await {
        R::spawn(async move {
            if let Ok(mut io) = R::accept(tcp, None).await {
                let _ = echo(&mut io, limit).await;
            }
        });
    }
}

async fn echo(io: &mut (impl AsyncRead + AsyncWrite + Unpin), limit: usize) -> std::io::Result<()> {
    let mut unread = Vec::new();
    let end = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if io.read_buf(&mut unread).await? == 0 {
            return Ok(());
        }
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let head = String::from_utf8_lossy(&head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    io.write_all(answer.as_bytes()).await?;
    let mut decoder = Decoder::with_texts();
    loop {
        let mut out = Vec::new();
        let over = hear(&mut decoder, &mut unread, limit, &mut out);
        io.write_all(&out).await?;
        io.flush().await?;
        if over {
            io.shutdown().await?;
            // What still comes is not looked at.
            while io.read(&mut [0; 4096]).await? > 0 {}
            return Ok(());
        }
        if io.read_buf(&mut unread).await? == 0 {
            return Ok(());
        }
    }
}

/// Answers every whole frame, as a link does. True where the connection is over.
fn hear(decoder: &mut Decoder, unread: &mut Vec<u8>, limit: usize, out: &mut Vec<u8>) -> bool {
    let mut start = 0;
    let code = loop {
        let (incoming, len) = match decoder.read(&mut unread[start..], limit) {
            Ok(Some(read)) => read,
            Ok(None) => {
                unread.drain(..start);
                return false;
            }
            Err(fault) => break Fault::close_code(fault),
        };
        match incoming {
            Incoming::Message(message) => emit_message(message, out),
            Incoming::Text(text) => {
                let at = out.len();
                emit_message(text, out);
                out[at] = 0x81;
            }
            Incoming::Ping(payload) => emit_pong(payload, out),
            // There was no code, and 1005 may not be sent.
            Incoming::Close(1005) => break 1000,
            Incoming::Close(code) => break code,
            Incoming::Nothing => {}
        }
        start += len;
    };
    emit_close(code, out);
    true
}
