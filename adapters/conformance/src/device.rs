//! A device: it pairs, and calls again and again, with the session that it has.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use core::net::SocketAddr;
use core::time::Duration;

use futures_util::AsyncWriteExt;
use futures_util::future::{Either, select};
use homing_core::channel::Config;
use homing_core::crypto::{Identity, Secret};
use homing_core::handshake::{CheckWords, Exports};
use homing_core::hop::Capability;
use homing_core::pairing::Ticket;
use homing_driver::device::{Call, Caller, Intent, Kept, Opener, call_again};
use homing_driver::relay::{ClientTls, RelayUrl, Seek};
use homing_driver::{Ended, Paired};
use tokio::sync::oneshot;

use crate::host::{Wish, splice};
use crate::runtime::Runtime;
use crate::{PATIENCE, entropy};

type Fresh = Arc<Mutex<Option<Secret<45>>>>;

/// A device that was paired.
#[derive(Debug)]
pub struct Device {
    tls: Arc<ClientTls>,
    identity: Identity,
    ticket: Arc<Ticket>,
    /// What the host gave it.
    pub paired: Paired,
    root: Secret<32>,
    fresh: Fresh,
    kept: Kept,
}

/// A call on a thread of its own, and what is heard of it.
#[derive(Debug)]
pub struct Calling {
    heard: Receiver<Heard>,
    thread: Option<JoinHandle<Option<Ended>>>,
    give_up: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Heard {
    Established(Opener),
    Paired(Paired, Secret<32>),
}

struct Ears(Sender<Heard>, Fresh);

impl Caller for Ears {
    fn established(&mut self, opener: Opener) {
        let _ = self.0.send(Heard::Established(opener));
    }

    fn pending(&mut self, _: CheckWords, _: u16) {}

    fn paired(&mut self, paired: Paired, root: Secret<32>) -> Result<(), String> {
        self.0.send(Heard::Paired(paired, root)).map_err(|_| "nobody is left".into())
    }

    fn capability(&mut self, fresh: &[u8; 45]) {
        *self.1.lock().unwrap() = Some(Secret::new(*fresh));
    }
}

impl Device {
    /// Pairs with a host, and leaves the call open.
    #[must_use]
    pub fn pair<D: Runtime>(url: &RelayUrl, tls: ClientTls, ticket: &Arc<Ticket>) -> (Self, Calling) {
        let secrets = ticket.secrets();
        let rendezvous = Secret::new(secrets.rendezvous);
        let intent = Intent::Pair { ticket: secrets.handshake, rendezvous, platform: 1, name: "test device".into() };
        let identity = Identity::generate(&mut entropy());
        let (tls, fresh, kept) = (Arc::new(tls), Fresh::default(), Kept::new(Duration::from_secs(600)));
        let want = want(url, ticket, &identity, intent);
        let calling = Calling::start::<D>(url.clone(), tls.clone(), want, kept.clone(), fresh.clone());
        let (paired, root) = match calling.heard.recv_timeout(PATIENCE) {
            Ok(Heard::Paired(paired, root)) => (paired, root),
            Ok(Heard::Established(_)) => panic!("established before it was paired"),
            Err(_) => panic!("not paired: {:?}", calling.ended()),
        };
        (Self { tls, identity, ticket: ticket.clone(), paired, root, fresh, kept }, calling)
    }

    /// Calls the host, through this end of a wire to the relay.
    #[must_use]
    pub fn call<D: Runtime>(&self, url: &RelayUrl) -> Calling {
        let capability = match &*self.fresh.lock().unwrap() {
            Some(fresh) => Capability::from_bytes(fresh.expose()),
            None => Capability::from_bytes(self.paired.capability.expose()),
        };
        let intent = Intent::Connect {
            route: self.paired.route_id,
            capability,
            psk: Exports::psk(&self.root, self.ticket.suite),
            token: self.paired.token.duplicate(),
            guest: None,
        };
        let want = want(url, &self.ticket, &self.identity, intent);
        Calling::start::<D>(url.clone(), self.tls.clone(), want, self.kept.clone(), self.fresh.clone())
    }

    /// Calls until the host is there.
    #[must_use]
    pub fn reach<D: Runtime>(&self, url: &RelayUrl) -> (Opener, Calling) {
        let since = std::time::Instant::now();
        loop {
            let calling = self.call::<D>(url);
            if let Ok(Heard::Established(opener)) = calling.heard.recv_timeout(PATIENCE) {
                return (opener, calling);
            }
            let ended = calling.ended();
            assert!(since.elapsed() < PATIENCE, "not reached: {ended:?}");
        }
    }
}

fn want(url: &RelayUrl, ticket: &Ticket, identity: &Identity, intent: Intent) -> Call {
    Call {
        relay: url.authority().into(),
        suite: ticket.suite,
        identity: identity.duplicate(),
        host: ticket.host,
        intent,
        config: Config::default(),
    }
}

impl Calling {
    fn start<D: Runtime>(url: RelayUrl, tls: Arc<ClientTls>, mut want: Call, kept: Kept, fresh: Fresh) -> Self {
        let (tell, heard) = mpsc::channel();
        let (give_up, given_up) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            D::run(async move {
                let calling = async {
                    let socket = match &want.intent {
                        Intent::Connect { route, .. } => {
                            let (socket, at) = D::seek(&url, &tls, Seek::device(route)).await.unwrap();
                            want.relay = at.authority().into();
                            socket
                        }
                        // It knows no route yet, and its ticket says at which relay the host is.
                        Intent::Pair { .. } => D::dial(&url, &tls).await.unwrap(),
                    };
                    call_again(socket, &D::Clock::default(), want, &kept, &mut Ears(tell, fresh)).await
                };
                match select(core::pin::pin!(calling), given_up).await {
                    Either::Left((ended, _)) => Some(ended),
                    Either::Right(_) => None, // the call is dropped, with all that it had
                }
            })
        });
        Self { heard, thread: Some(thread), give_up }
    }

    /// Opens streams, once the host is there.
    #[must_use]
    pub fn opener(&self) -> Opener {
        match self.heard.recv_timeout(PATIENCE).expect("told in time") {
            Heard::Established(opener) => opener,
            Heard::Paired(..) => panic!("paired twice"),
        }
    }

    /// Whether the host was never there.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.heard.try_recv().is_err()
    }

    /// Drops the call in the middle of all.
    pub fn give_up(mut self) {
        let thread = self.thread.take().unwrap();
        self.give_up.send(()).unwrap();
        assert!(thread.join().unwrap().is_none());
    }

    /// Waits for its end.
    #[must_use]
    pub fn ended(mut self) -> Ended {
        self.wait()
    }

    /// Waits for its end, once.
    pub(crate) fn wait(&mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap().expect("an end of its own")
    }

    /// Ends it as one does.
    pub fn close(self, opener: &Opener) {
        opener.close();
        let ended = self.ended();
        assert!(matches!(ended, Ended::Asked), "{ended}");
    }
}

/// Carries what connects to a free port of this machine to the TCP service at the host, for as long as it is polled.
/// Tells the address first.
pub async fn forward<D: Runtime>(opener: Opener, service: SocketAddr, tell: impl FnOnce(SocketAddr)) {
    let (listener, address) = D::listen().await.unwrap();
    tell(address);
    while let Ok(tcp) = D::accept(&listener).await {
        let Some(stream) = opener.open() else { return };
        D::spawn(async move {
            let mut stream = D::tunnel(stream);
            let [low, high] = service.port().to_le_bytes();
            // One that breaks is its client's to notice.
            if stream.write_all(&[Wish::Serve.byte(), low, high]).await.is_ok() {
                let _ = splice(tcp, stream).await;
            }
        });
    }
}
