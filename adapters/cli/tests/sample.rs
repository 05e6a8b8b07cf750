//! The demo's sample service over real TCP.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "../src/demo/sample.rs"]
mod sample;

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(sample::serve(listener));
    address
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn curl(arguments: &[&str]) -> Vec<u8> {
    let output = tokio::process::Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output();
    let output = output.await.expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_page_greets_the_device_and_trusts_no_name() {
    let address = start().await;
    let page = curl(&["-H", "Homing-Device-Name: Zo%C3%AB%20%3Cscript%3E%", &format!("http://{address}/")]).await;
    let page = String::from_utf8(page).expect("text");
    assert!(page.contains("You are <b>Zoë &lt;script&gt;%</b>"), "{page}");
    for outside in ["src=\"http", "href=\"http", "url(", "@import"] {
        assert!(!page.contains(outside), "the page loads something with {outside}");
    }
    let page = String::from_utf8(curl(&[&format!("http://{address}/")]).await).expect("text");
    assert!(page.contains("straight here"));
}

#[tokio::test]
async fn downloads_are_what_they_should_be() {
    let address = start().await;
    for bytes in [0, 1, 65_535, 65_536, 3_000_001] {
        let body = curl(&[&format!("http://{address}/download?bytes={bytes}")]).await;
        assert_eq!(body.len(), bytes);
        // Computed anew from the description.
        for (i, byte) in body.iter().enumerate().step_by(997) {
            let mut z = (i as u64 / 8 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            assert_eq!(*byte, z.to_le_bytes()[i % 8], "byte {i}");
        }
        let said = curl(&[&format!("http://{address}/sha256?bytes={bytes}")]).await;
        assert_eq!(hash(&body), String::from_utf8_lossy(&said).trim_end());
        assert_eq!(hash(&body), sample::expected_sha256(bytes as u64));
    }
    let head = curl(&["-I", &format!("http://{address}/download")]).await;
    assert!(String::from_utf8_lossy(&head).contains("content-length: 104857600\r\n"));
    for wrong in ["10737418241", "-1", "x"] {
        let url = format!("http://{address}/download?bytes={wrong}");
        let status = curl(&["-o", "/dev/null", "-w", "%{http_code}", &url]).await;
        assert_eq!(status, b"400", "{wrong}");
    }
}

#[tokio::test]
async fn uploads_are_counted_and_hashed() {
    let address = start().await;
    let answer = curl(&["--data-binary", "hello", &format!("http://{address}/upload")]).await;
    let expected = format!("{{\"bytes\":5,\"sha256\":\"{}\"}}\n", hash(b"hello"));
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

async fn until(tcp: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(within(tcp.read_u8()).await.expect("more"));
    }
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn load_comes_at_once_and_again() {
    let mut tcp = TcpStream::connect(start().await).await.expect("connected");
    let asked = std::time::Instant::now();
    tcp.write_all(b"GET /load HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let first = until(&mut tcp, "}\n\n").await;
    assert!(asked.elapsed() < Duration::from_millis(900), "the first event waited for the second");
    assert!(first.contains("text/event-stream") && first.contains("\"memory_total\":"), "{first}");
    let second = until(&mut tcp, "}\n\n").await;
    let (_, cpu) = second.split_once("\"cpu_percent\":").expect("a figure");
    let cpu: f64 = cpu.split(',').next().expect("a field").parse().expect("a number, as there are two samples");
    assert!((0.0..=100.0).contains(&cpu), "{cpu}");
}

#[tokio::test]
async fn the_echo_says_what_it_hears() {
    let mut tcp = TcpStream::connect(start().await).await.expect("connected");
    let request = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tcp.write_all(request).await.expect("sent");
    assert!(until(&mut tcp, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    for (opcode, payload) in [(1, &b"hello"[..]), (2, &[0, 255, 7][..])] {
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0]; // masked with zeroes
        frame.extend_from_slice(payload);
        tcp.write_all(&frame).await.expect("sent");
        let mut echo = vec![0; 2 + payload.len()];
        within(tcp.read_exact(&mut echo)).await.expect("an echo");
        assert_eq!((echo[0], &echo[2..]), (0x80 | opcode, payload));
    }
}
