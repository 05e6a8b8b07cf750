//! The services that this machine exposes: whether there is somebody behind them.

use std::sync::Arc;
use std::time::Instant;

use homing_host::service::Service;

use super::Finding;
use crate::config::Config;
use crate::failure::{Exit, Failure, in_full};

/// One check for each service, all of them under way at once.
pub(super) fn checks(config: &Result<Config, Failure>) -> Vec<impl Future<Output = Finding>> {
    // A file that cannot be read is told of beside the relays.
    let services = match config.as_ref().map(Config::check_services) {
        Ok(Ok(services)) => services.iter().map(|service| Ok(service.clone())).collect(),
        Ok(Err(failure)) => vec![Err(failure)],
        Err(_) => Vec::new(),
    };
    let begin = |service: Result<Arc<Service>, Failure>| service.map(|service| tokio::spawn(reach(service)));
    services
        .into_iter()
        .map(begin)
        .map(|check| async {
            match check {
                Ok(check) => check.await.unwrap_or_else(|error| unfit(error.to_string())),
                Err(Failure::Said { text, .. }) => unfit(text),
                Err(_) => unfit(String::from("cannot be read")),
            }
        })
        .collect()
}

async fn reach(service: Arc<Service>) -> Finding {
    let check = format!("service {}", service.name());
    let started = Instant::now();
    match service.reach().await {
        Ok(()) => Finding::ok(check, "takes connections").took(started.elapsed()),
        Err(error) => {
            let advice = "start it, or mend its URL in the settings; devices get 502 meanwhile";
            Finding::warn(check, in_full(&error), advice)
        }
    }
}

fn unfit(text: String) -> Finding {
    Finding::fail(Exit::Usage, "services", text, "mend it; `homing config show` prints what there is")
}
