//! After the check: a local address for a browser, and one pairing link after the other for more devices.

use homing_host::{PairEvent, PairOptions};
use serde_json::json;
use tokio::net::TcpListener;

use super::fetch::SERVICE;
use super::stage::Stage;
use crate::args::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::host::picture;
use crate::output::{Output, clean_line};

/// Serves visitors for ever.
pub(super) async fn receive(args: &DemoArgs, stage: &Stage, out: Output) -> Result<(), Failure> {
    let cannot = |error| Failure::failed(format!("cannot listen on {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let url = format!("http://{address}/");
    out.say(
        &json!({ "event": "listening", "address": address.to_string(), "url": url }),
        format_args!("\n  {} {}\n", out.bold("Open in a browser, through the tunnel:"), out.green(&url)),
    )?;
    tokio::select! {
        never = homing_device::forward(stage.tunnel.clone(), SERVICE, listener, &[]) => match never {},
        ended = invite(args, stage, out) => ended,
    }
}

/// Shows a link until it is used or expired, and then the next one.
async fn invite(args: &DemoArgs, stage: &Stage, out: Output) -> Result<(), Failure> {
    loop {
        let dialog = stage.host.pair(PairOptions::default());
        let mut dialog = dialog.map_err(|error| Failure::of(Exit::Failed, &error))?;
        let link = dialog.link();
        out.json(&json!({
            "event": "ticket",
            "link": link,
            "web_link": dialog.web_link(),
            "expires_at": dialog.expires_at(),
        }))?;
        out.text(format_args!("{} '{link}'", out.dim("homing --data /tmp/second pair")))?;
        let caption = "Scan, or run the line above for a second device. Ctrl-C ends the demo.";
        let mut closing = picture(&link, args.qr.qr, caption, out)?;
        while let Some(event) = dialog.next().await {
            closing.close(out)?;
            match event {
                PairEvent::Paired { id, name } => {
                    out.say(
                        &json!({ "event": "paired", "device": { "id": id, "name": name } }),
                        format_args!("{} {} is paired", out.green("✓"), out.bold(clean_line(&name))),
                    )?;
                }
                PairEvent::Expired => {
                    out.say(&json!({ "event": "expired" }), "that link has expired; here is another one")?
                }
                PairEvent::Denied | PairEvent::Confirm { .. } => {}
            }
        }
    }
}
