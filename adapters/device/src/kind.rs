//! What a service speaks, as its host tells. The host can change it while it runs.

use core::convert::Infallible;
use core::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::service::Service;
use crate::tunnel::Tunnel;

/// How long an answer is believed; the next connection then has the host asked again.
const FRESH: Duration = Duration::from_secs(10);
/// How long to leave a host alone that did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the first connections wait to learn it: the host has let a stream be opened, so it takes a round trip.
const WAIT: Duration = Duration::from_secs(3);

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    /// Bytes.
    Raw,
    /// The host does not list it, or lists nothing now.
    NotTold,
}

/// The kind of one service.
pub(crate) struct Kinds {
    tunnel: Tunnel,
    service: Box<str>,
    /// None until the host was asked.
    told: watch::Sender<Option<Kind>>,
    used: Notify,
}

impl Kinds {
    pub(crate) fn new(tunnel: Tunnel, service: &str) -> Self {
        Self { tunnel, service: service.into(), told: watch::Sender::new(None), used: Notify::new() }
    }

    /// Asks at once, so that it is known before it is needed, then whenever it was used and is not fresh.
    pub(crate) async fn learn(&self) -> Infallible {
        loop {
            let pause = match self.tunnel.services().await {
                Ok(listed) => {
                    let found = listed.iter().find(|service| *service.name == *self.service);
                    self.told.send_replace(Some(found.map_or(Kind::NotTold, Kind::of)));
                    FRESH
                }
                Err(_) => {
                    self.told.send_modify(|told| {
                        // What was told once is the better guess.
                        told.get_or_insert(Kind::NotTold);
                    });
                    PAUSE
                }
            };
            sleep(pause).await;
            self.used.notified().await;
        }
    }

    /// What the host told last.
    pub(crate) async fn now(&self) -> Kind {
        self.used.notify_one();
        let mut told = self.told.subscribe();
        match timeout(WAIT, told.wait_for(Option::is_some)).await {
            Ok(Ok(told)) => told.unwrap_or(Kind::NotTold),
            _ => Kind::NotTold,
        }
    }
}

impl Kind {
    fn of(service: &Service) -> Self {
        if service.kind == "http" { Self::Http } else { Self::Raw }
    }
}
