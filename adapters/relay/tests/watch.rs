//! What a relay tells those who watch over it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::net::SocketAddr;

use homing_core::hop::operator_hash;
use homing_relay::{Admission, RelayConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::{Running, open, soon};

fn watched(admission: Admission) -> RelayConfig {
    RelayConfig { admission, metrics: Some(([127, 0, 0, 1], 0).into()), ..open() }
}

async fn get(address: impl tokio::net::ToSocketAddrs, path: &str) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the answer", tcp.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn watchers(relay: &Running) -> SocketAddr {
    relay.handle.metrics_addr().unwrap()
}

/// The value of a metric.
fn value(text: &str, metric: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn metrics_count_what_there_is() {
    let relay = Running::start(watched(Admission::Open)).await;
    let _link = relay.dial().await.unwrap();
    let (status, text) = get(watchers(&relay), "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(value(&text, "homing_relay_links{role=\"unknown\"}"), 1);
    assert_eq!(value(&text, "homing_relay_accepted_total"), 1);
    assert_eq!(value(&text, "homing_relay_turned_away_total{reason=\"no_room\"}"), 0);
    assert!(value(&text, "homing_relay_resident_memory_bytes") > 1 << 20);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(!line.contains("127.0.0.1") && !line.contains("localhost"), "{line}");
        let metric = line.split(['{', ' ']).next().unwrap();
        let family = metric.strip_suffix("_total").or(metric.strip_suffix("_info")).unwrap_or(metric);
        assert!(text.contains(&format!("# HELP {family} ")), "{line}");
    }
    let (_, page) = get(watchers(&relay), "/").await;
    assert!(page.contains("Connections accepted<td>") && !page.contains("://"), "{page}");
    // The public listener tells nothing of it.
    assert_eq!(get(relay.address(), "/metrics").await.0, 404);
}

#[tokio::test]
async fn readiness_is_a_record_that_went_through() {
    for admission in [Admission::Open, Admission::Key(operator_hash(b"hk_secret"))] {
        let mut relay = Running::start(watched(admission)).await;
        assert_eq!(get(relay.address(), "/readyz").await, (200, "ready\n".into()));
        assert_eq!(get(watchers(&relay), "/readyz").await.0, 200);
        let counts = relay.handle.status();
        assert_eq!((counts.links, counts.hosts, counts.channels, counts.reserved_bytes), (0, 0, 0, 0));
        let _link = relay.dial().await.unwrap();
        relay.ask_to_stop();
        soon("the relay to drain", async {
            while !relay.handle.status().draining {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_full_relay_is_not_ready() {
    let relay = Running::start(RelayConfig { max_links: 1, ..watched(Admission::Open) }).await;
    let _link = relay.dial().await.unwrap();
    let (status, text) = get(watchers(&relay), "/readyz").await;
    assert_eq!((status, text.as_str()), (503, "not ready: no room for two more links\n"));
}

/// What is asked for in a query: names of metrics, and of labels that one of ours is to have.
fn names(query: &str) -> Vec<(&str, Vec<&str>)> {
    let starts = query.match_indices("homing_relay_").map(|(at, _)| &query[at..]);
    let of = |rest: &'_ str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let grouped = query.split_once(" by (").and_then(|(_, rest)| rest.split_once(')')).map(|(label, _)| label);
    starts
        .map(|rest| {
            let (name, rest) = rest.split_at(of(rest));
            let chosen = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
            let chosen = chosen.split(',').filter_map(|label| Some(label.split_once('=')?.0));
            // Whoever scrapes adds that one.
            (name, chosen.chain(grouped).filter(|label| *label != "instance").collect())
        })
        .collect()
}

#[tokio::test]
async fn the_dashboard_asks_for_metrics_that_there_are() {
    let relay = Running::start(watched(Admission::Open)).await;
    let (_, text) = get(watchers(&relay), "/metrics").await;
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    queries.extend(
        variables.iter().map(|variable| variable["query"].as_str().unwrap()).filter(|query| query.contains('(')),
    );
    let asked: Vec<_> = queries.iter().flat_map(|query| names(query)).collect();
    assert!(asked.len() > queries.len() - 1 && asked.len() > 10, "{asked:?}");
    for (name, labels) in asked {
        let exported = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let line = text.lines().find(exported).unwrap_or_else(|| panic!("no {name} in\n{text}"));
        for label in labels {
            assert!(line.contains(&format!("{label}=\"")), "no label {label} in {line}");
        }
    }
    for query in queries.iter().filter(|query| query.contains("_total")) {
        assert!(query.contains("rate("), "a counter is looked at by its rate: {query}");
    }
}
