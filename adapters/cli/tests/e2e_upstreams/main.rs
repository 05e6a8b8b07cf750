//! How the host reaches its services: real programs, real servers, and what devices may and may not make of it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod addresses;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::Value;

use support::client::curl;
use support::{Forward, World, run};

/// Status and text of what curl is answered.
async fn status(forward: &Forward, path: &str, args: &[&str]) -> (u16, String) {
    let url = forward.url(path);
    let answer = curl(&[&["-w", "\n%{http_code}", &url], args].concat()).await;
    let (text, code) = answer.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{path}: {answer}"));
    (code.parse().unwrap(), text.to_owned())
}

/// The audit trail's refusals.
async fn refusals(host: &Path) -> Vec<Value> {
    let shown = run(host, &["host", "audit", "-n", "1000", "--json"]).await;
    assert_eq!(shown.code, 0, "{shown}");
    let entries = shown.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.filter(|entry| entry["event"] == "refused").collect()
}
