//! The settings of a host: its API, its page in a real browser, its audit trail, all with the real program.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod api;
mod audit;
mod grants;
mod lock;
mod page;
mod schema;
mod service;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::{Value, json};

use support::{Finished, World, run, within};

/// The host's settings, with a token for them.
struct Settings {
    url: String,
    token: String,
}

impl Settings {
    async fn of(data: &Path, scope: &str) -> Self {
        let made = run(data, &["host", "token", "--scope", scope, "--for", "10m", "--json"]).await;
        assert_eq!(made.code, 0, "{made}");
        let made: Value = serde_json::from_str(made.stdout.trim()).unwrap();
        assert_eq!(made["scope"], scope);
        let status = run(data, &["status", "--json"]).await;
        let status: Value = serde_json::from_str(status.stdout.trim()).unwrap();
        let url = status["roles"][0]["settings"].as_str().unwrap_or_else(|| panic!("{status}")).to_owned();
        Self { url, token: made["token"].as_str().unwrap().to_owned() }
    }

    /// Status and body of a request that curl makes with these arguments.
    async fn curl(&self, path: &str, args: &[&str]) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let mut command = tokio::process::Command::new("curl");
        command.args(["-sS", "-w", "\n%{http_code}", &url]).args(args).kill_on_drop(true);
        let output = within(command.output()).await.expect("curl is there");
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{:?}", output.stderr));
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// The same with the token, and `body` as JSON where it is not null.
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (bearer, text) = (format!("Authorization: Bearer {}", self.token), body.to_string());
        let mut args = vec!["-X", method, "-H", &bearer];
        if !body.is_null() {
            args.extend(["-H", "Content-Type: application/json", "-d", &text]);
        }
        self.curl(path, &args).await
    }
}
