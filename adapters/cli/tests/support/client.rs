//! Clients that say exactly what they are told to, and curl.

use core::net::SocketAddr;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::service::{content, hex};
use super::{Finished, Forward, within};

/// One connection on which HTTP/1.1 is written by hand.
pub struct Http {
    pub read: BufReader<OwnedReadHalf>,
    pub write: OwnedWriteHalf,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub text: String,
}

impl Head {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.text.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    fn length(&self) -> Option<u64> {
        self.all("content-length").first().map(|length| length.parse().expect("a length"))
    }
}

impl Http {
    pub async fn to(address: SocketAddr) -> Self {
        let tcp = within(TcpStream::connect(address)).await.expect("connected");
        tcp.set_nodelay(true).unwrap();
        let (read, write) = tcp.into_split();
        Self { read: BufReader::with_capacity(256 * 1024, read), write }
    }

    pub async fn send(&mut self, text: &str) {
        within(self.write.write_all(text.as_bytes())).await.expect("sent");
    }

    /// Asks for `path` and reads the answer's head.
    pub async fn get(&mut self, path: &str) -> Head {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.head().await
    }

    /// Sends the first `len` bytes of the services' content to `path`, and gives the answer's text.
    pub async fn upload(&mut self, path: &str, len: u64) -> String {
        self.send(&format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n")).await;
        for piece in content(len) {
            within(self.write.write_all(&piece)).await.expect("the upload goes on");
        }
        let head = self.head().await;
        assert_eq!(head.status, 200, "{}", head.text);
        String::from_utf8(self.body(&head).await).expect("text")
    }

    /// Reads the head of an answer and nothing behind it.
    pub async fn head(&mut self) -> Head {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            let len = within(self.read.read_line(&mut text)).await.expect("a head");
            assert!(len > 0, "the head ends early: {text:?}");
        }
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Head { status, text }
    }

    /// Reads the body that `head` announced with its length.
    pub async fn body(&mut self, head: &Head) -> Vec<u8> {
        let mut body = vec![0; head.length().expect("a length") as usize];
        within(self.read.read_exact(&mut body)).await.expect("the whole body");
        body
    }

    /// Reads the body that `head` announced with its length, keeping only its hash.
    pub async fn body_hash(&mut self, head: &Head) -> (u64, String) {
        let (mut left, mut hash) = (head.length().expect("a length"), Sha256::new());
        let total = left;
        let mut buf = vec![0; 256 * 1024];
        while left > 0 {
            let most = buf.len().min(left as usize);
            let len = within(self.read.read(&mut buf[..most])).await.expect("more of the body");
            assert!(len > 0, "the body ends {left} bytes early");
            hash.update(&buf[..len]);
            left -= len as u64;
        }
        (total, hex(&hash.finalize()))
    }

    /// The next line, without its end; none at the end of the stream.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let len = within(self.read.read_line(&mut line)).await.expect("a line");
        (len > 0).then(|| line.trim_end().to_owned())
    }

    /// All until the connection ends, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, std::io::Result<usize>) {
        let mut rest = Vec::new();
        let end = within(self.read.read_to_end(&mut rest)).await;
        (rest, end)
    }
}

/// Runs curl to its end.
pub async fn curl(args: &[&str]) -> Finished {
    let mut command = tokio::process::Command::new("curl");
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.args(["-q", "-sS", "--max-time", "100"]).args(args).kill_on_drop(true);
    let output = command.output().await.expect("curl is installed");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What curl prints, where it succeeds.
pub async fn curled(args: &[&str]) -> String {
    let finished = curl(args).await;
    assert_eq!(finished.code, 0, "curl {}: {finished}", args.join(" "));
    finished.stdout
}

/// Status and text of what curl is answered.
pub async fn status(forward: &Forward, path: &str, args: &[&str]) -> (u16, String) {
    let url = forward.url(path);
    let answer = curl(&[&["--path-as-is", "-w", "\n%{http_code}", &url], args].concat()).await;
    let (text, code) = answer.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{path}: {answer}"));
    (code.parse().unwrap(), text.to_owned())
}
