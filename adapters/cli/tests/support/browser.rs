//! A headless Chromium, told what to do over its DevTools socket.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared, and each test file uses its part")]

use std::process::Command;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{PATIENCE, Process, in_time, until};

/// What the browser tells of a page that tests ask about: its errors and its WebSockets.
const NOTABLE: [&str; 6] = [
    "Log.entryAdded",
    "Network.webSocketClosed",
    "Network.webSocketFrameError",
    "Network.webSocketHandshakeResponseReceived",
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
];

/// A page in a browser of its own.
pub struct Page {
    socket: WebSocketStream<Compat<TcpStream>>,
    session: String,
    number: u64,
    /// What was noticed beside the answers: see [`NOTABLE`].
    noticed: Vec<Value>,
    _browser: Process,
    _profile: TempDir,
}

impl Page {
    /// Opens `url` on a screen of a phone's width.
    pub async fn open(url: &str) -> Self {
        Self::open_with(url, &[]).await
    }

    /// The same in a browser that was started with more flags.
    pub async fn open_with(url: &str, flags: &[&str]) -> Self {
        let profile = tempfile::Builder::new().prefix("homing-browser").tempdir().unwrap();
        let mut command = Command::new("chromium");
        let dir = format!("--user-data-dir={}", profile.path().display());
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &dir]);
        command.args(["--remote-debugging-port=0", "--window-size=390,844", "about:blank"]).args(flags);
        let browser = Process::spawn("chromium", command);
        let line = browser.logged("DevTools listening on ").await;
        let address = line.rsplit_once("ws://").unwrap().1.to_owned();
        let host = address.split_once('/').unwrap().0.to_owned();
        let tcp = TcpStream::connect(&host).await.expect("the browser listens");
        let opened = async_tungstenite::client_async(format!("ws://{address}"), tcp.compat()).await;
        let (socket, _) = opened.expect("the browser speaks WebSocket");
        let (session, noticed) = (String::new(), Vec::new());
        let mut page = Self { socket, session, number: 0, noticed, _browser: browser, _profile: profile };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", attach).await;
        page.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": false });
        page.call("Emulation.setDeviceMetricsOverride", phone).await;
        page.call("Page.navigate", json!({ "url": url })).await;
        page
    }

    /// Sends a command and waits for its result.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.socket.send(Message::text(message.to_string())).await.expect("the browser listens");
        in_time(PATIENCE, async {
            loop {
                let message = self.socket.next().await.expect("the browser runs").expect("a message");
                let value: Value = serde_json::from_str(message.to_text().unwrap_or("{}")).unwrap_or_default();
                if value["id"] == self.number {
                    assert!(value["error"].is_null(), "{method}: {}", value["error"]);
                    return value["result"].clone();
                }
                if value["method"].as_str().is_some_and(|method| NOTABLE.contains(&method)) {
                    self.noticed.push(value);
                }
            }
        })
        .await
    }

    /// What the browser has said of this method so far, as of the last call.
    pub fn noticed(&self, method: &str) -> Vec<&Value> {
        self.noticed.iter().filter(|value| value["method"] == method).map(|value| &value["params"]).collect()
    }

    /// Everything that went wrong on the page so far: uncaught exceptions, errors on the console, loads that failed.
    pub fn errors(&self) -> Vec<&Value> {
        let wrong = |value: &&Value| match value["method"].as_str().unwrap_or_default() {
            "Log.entryAdded" => value["params"]["entry"]["level"] == "error",
            "Runtime.consoleAPICalled" => value["params"]["type"] == "error",
            method => matches!(method, "Runtime.exceptionThrown" | "Network.webSocketFrameError"),
        };
        self.noticed.iter().filter(wrong).collect()
    }

    /// What an expression of JavaScript gives, awaited where it is a promise.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params).await;
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true. What is not on the page yet makes it false.
    pub async fn until(&mut self, expression: &str) {
        let started = tokio::time::Instant::now();
        let settled = format!("(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()");
        while self.eval(&settled).await != true {
            let text = self.eval("document.body?.innerText").await;
            assert!(started.elapsed() < PATIENCE, "never true: {expression}\n{}", text.as_str().unwrap_or_default());
            tokio::time::sleep(core::time::Duration::from_millis(50)).await;
        }
    }

    /// Clicks the element with this id, as a user does: where it is on the screen.
    pub async fn click(&mut self, id: &str) {
        let place = format!(
            "(() => {{ const e = document.getElementById({id:?}); e.scrollIntoView({{ block: 'center' }}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let place = self.eval(&place).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", params).await;
        }
    }

    /// A picture of the whole page, as PNG in base64.
    pub async fn picture(&mut self) -> String {
        let taken = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        taken["data"].as_str().unwrap().to_owned()
    }
}
