//! The examples, run and held to what they do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "../examples/tunnel_http.rs"]
mod tunnel_http;

use core::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_without_a_port_is_reached_through_a_relay() {
    let text = "a quick fox, ".repeat(100_000);
    let run = tunnel_http::run(&text);
    let [hello, upper] = tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
    assert_eq!(hello, "hello, laptop");
    assert!(upper == text.to_uppercase());
}

#[test]
fn the_example_runs_as_a_program() {
    tunnel_http::main();
}
