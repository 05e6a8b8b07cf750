//! Everything that a tunnel is for, once, and what the relay saw of it.

use core::time::Duration;
use std::io;
use std::time::Instant;

use serde_json::{Value, json};

use super::stage::Stage;
use super::witness::{Sighting, Witness};
use super::{fetch, sample};
use crate::failure::Failure;
use crate::output::{Output, clean_line};

const DOWNLOAD: u64 = 100 << 20;
const WORDS: &str = "only two of us read this";
/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One step's outcome.
struct Step {
    name: &'static str,
    got: Result<String, String>,
    took: Duration,
    seen: Sighting,
}

/// Takes all steps and prints them as they are done. Whether all went well.
pub(super) async fn check(stage: &Stage, witness: &Witness, out: Output) -> Result<bool, Failure> {
    introduce(stage, out)?;
    // Who the download is compared with is computed meanwhile.
    let expected = tokio::task::spawn_blocking(|| sample::expected_sha256(DOWNLOAD));
    // The first stream waits for the call; that is no part of the first step.
    let connecting = Instant::now();
    let services = stage.tunnel.services().await?;
    let connected_in = connecting.elapsed();
    let named = services.iter().map(|service| clean_line(&service.name)).collect::<Vec<_>>().join(", ");
    out.text(format_args!(
        "  {}  connected in {}; services: {named}\n",
        out.bold("device"),
        milliseconds(connected_in)
    ))?;
    let (title, relay) = ("WHAT THE DEVICE GOT", "WHAT THE RELAY SAW");
    out.text(out.dim(format_args!("    {:<11}{title:<28}{:>10}  {relay}", "", "")))?;

    witness.take();
    let page = step("page", witness, async {
        let page = fetch::page(&stage.tunnel).await?;
        let title =
            page.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>")).map_or("", |(title, _)| title);
        Ok(format!("{:.1} KiB, “{title}”", page.len() as f64 / 1024.0))
    });
    let page = shown(page.await, out)?;
    let event = step("live event", witness, async {
        let event: Value = serde_json::from_str(&fetch::first_event(&stage.tunnel).await?).map_err(io::Error::other)?;
        let load = event.get("load_average").map(Value::to_string).unwrap_or_default();
        Ok(format!("at once, load {load}"))
    });
    let event = shown(event.await, out)?;
    let echo = step("WebSocket", witness, async {
        let said = fetch::echo(&stage.tunnel, WORDS).await?;
        if said == WORDS { Ok(format!("“{said}”")) } else { Err(io::Error::other("something else came back")) }
    });
    let echo = shown(echo.await, out)?;
    let download = step("download", witness, async {
        let hash = fetch::download(&stage.tunnel, DOWNLOAD).await?;
        let expected = expected.await.map_err(io::Error::other)?;
        if hash == expected {
            Ok(String::from("100 MiB, SHA-256 matches"))
        } else {
            Err(io::Error::other("SHA-256 differs"))
        }
    });
    let download = shown(download.await, out)?;

    close_up(&echo, out)?;
    let steps = [page, event, echo, download];
    let good = steps.iter().all(|step| step.got.is_ok());
    out.json(&json!({
        "event": "checked",
        "ok": good,
        "relay": stage.relay.to_string(),
        "host": stage.host_name,
        "paired_in_ms": stage.paired_in.as_secs_f64() * 1000.0,
        "connected_in_ms": connected_in.as_secs_f64() * 1000.0,
        "steps": steps.iter().map(Step::to_json).collect::<Vec<_>>(),
    }))?;
    Ok(good)
}

fn introduce(stage: &Stage, out: Output) -> Result<(), Failure> {
    out.text(format_args!("\n  {}   {}, in between, reads nothing", out.bold("relay"), stage.relay))?;
    out.text(format_args!("  {}    exposes {} as {}", out.bold("host"), stage.target, fetch::SERVICE))?;
    let paired = milliseconds(stage.paired_in);
    out.text(format_args!("  {}  paired with {} in {paired}", out.bold("device"), clean_line(&stage.host_name)))
}

async fn step(name: &'static str, witness: &Witness, task: impl Future<Output = io::Result<String>>) -> Step {
    let started = Instant::now();
    let got = tokio::time::timeout(PATIENCE, task).await;
    let took = started.elapsed();
    let got = got.unwrap_or_else(|_| Err(io::Error::other("no answer in time"))).map_err(|error| error.to_string());
    Step { name, got, took, seen: witness.take() }
}

fn shown(step: Step, out: Output) -> Result<Step, Failure> {
    let (mark, text) = match &step.got {
        Ok(text) => (out.green("✓"), clean_line(text)),
        Err(error) => (out.red("✗"), clean_line(error)),
    };
    let speed = match (&step.got, step.name) {
        (Ok(_), "download") => format!("{:.0} MiB/s", DOWNLOAD as f64 / f64::from(1 << 20) / step.took.as_secs_f64()),
        _ => milliseconds(step.took),
    };
    out.text(format_args!("  {mark} {:<11}{text:<28}{speed:>10}  {}", step.name, out.dim(step.seen.summary())))?;
    Ok(step)
}

/// The WebSocket's records one by one: this is all that a relay can tell of a message.
fn close_up(step: &Step, out: Output) -> Result<(), Failure> {
    if step.seen.first.is_empty() {
        return Ok(());
    }
    out.text(out.dim("\n  All that the relay could write down of that WebSocket:"))?;
    for (after, way, bytes) in step.seen.lines() {
        out.text(
            out.dim(format_args!(
                "    +{:>7.2} ms   {way}   {bytes:>6} bytes, encrypted",
                after.as_secs_f64() * 1000.0
            )),
        )?;
    }
    Ok(())
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

impl Step {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "ok": self.got.is_ok(),
            "got": self.got.as_ref().unwrap_or_else(|error| error),
            "ms": self.took.as_secs_f64() * 1000.0,
            "relay_saw": self.seen.to_json(),
        })
    }
}
