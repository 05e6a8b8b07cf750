//! What hosts tell while a local end runs, as events for programs. People read it in the log.

use core::future::pending;

use homing_device::News;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::log::{entry_json, word};
use crate::failure::Failure;
use crate::output::Output;

/// Shows events as they come; ends only where nobody reads them.
pub(super) async fn show(mut news: Receiver<News>, out: Output) -> Failure {
    loop {
        let event = match news.recv().await {
            Ok(News::Device { host, entry }) => {
                let mut event = entry_json(&entry);
                // What is said once more is no entry, but an event about one.
                event["change"] = word(entry.event).into();
                event["event"] = "device".into();
                event["host"] = host.into();
                event
            }
            Ok(News::Broken { host, what }) => {
                json!({ "event": "device_log_broken", "host": host, "warning": what, "message": what.to_string() })
            }
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return pending().await,
        };
        if let Err(failure) = out.json(&event) {
            return failure;
        }
    }
}
