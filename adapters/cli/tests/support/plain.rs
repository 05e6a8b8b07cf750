//! Plain TCP services and clients whose every byte is known.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared, and each test file uses its part")]

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Bytes that show where some were lost, swapped or made up.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..u32::try_from(len).unwrap()).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

/// What came over a connection, and how it ended.
#[derive(Debug)]
pub struct Heard {
    pub bytes: Vec<u8>,
    /// Whether it ended as if all had been said.
    pub clean: bool,
}

/// Reads until the end, whichever it is.
pub async fn hear(tcp: &mut (impl AsyncReadExt + Unpin)) -> Heard {
    let mut bytes = Vec::new();
    let mut buf = vec![0; 64 * 1024];
    loop {
        match tcp.read(&mut buf).await {
            Ok(0) => return Heard { bytes, clean: true },
            Ok(len) => bytes.extend_from_slice(&buf[..len]),
            Err(_) => return Heard { bytes, clean: false },
        }
    }
}

async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    address
}

/// Says the pattern of this length to everyone, then ends.
pub async fn fountain(len: usize) -> SocketAddr {
    let all = std::sync::Arc::new(pattern(len));
    listen(move |mut tcp| {
        let all = all.clone();
        async move {
            let _ = tcp.write_all(&all).await;
            let _ = tcp.shutdown().await;
        }
    })
    .await
}

/// Hears everyone out and tells what it heard; says one byte at a clean end.
pub async fn well() -> (SocketAddr, mpsc::UnboundedReceiver<Heard>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let address = listen(move |mut tcp| {
        let sender = sender.clone();
        async move {
            let heard = hear(&mut tcp).await;
            if heard.clean {
                let _ = tcp.write_all(b"!").await;
            }
            let _ = sender.send(heard);
        }
    })
    .await;
    (address, receiver)
}

/// Says everything again.
pub async fn echo() -> SocketAddr {
    listen(|mut tcp| async move {
        let (mut read, mut write) = tcp.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

/// Takes connections and never reads from them.
pub async fn deaf() -> SocketAddr {
    listen(|tcp| async move {
        tokio::time::sleep(Duration::from_secs(600)).await;
        drop(tcp);
    })
    .await
}

/// Answers every HTTP request with `body` and these headers.
pub async fn page(headers: &str, body: &str) -> SocketAddr {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
    listen(move |mut tcp| {
        let answer = answer.clone();
        async move {
            let mut head = Vec::new();
            while let Ok(byte) = tcp.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    if tcp.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
    .await
}

/// A GET without keep-alive; the whole answer.
pub async fn get(address: SocketAddr, path: &str, headers: &str) -> io::Result<String> {
    let mut tcp = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: page\r\nConnection: close\r\n{headers}\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends a line to an echo and takes it back, on a connection that stays open.
pub async fn exchange(tcp: &mut TcpStream, line: &[u8]) -> io::Result<()> {
    tcp.write_all(line).await?;
    let mut back = vec![0; line.len()];
    tcp.read_exact(&mut back).await?;
    if back == line { Ok(()) } else { Err(io::Error::other("another echo")) }
}
