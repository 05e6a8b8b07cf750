//! A host on demand: the stream of events that it waits on at a relay, and who gets it to dial a link (protocol 12.7).

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use homing_core::crypto::Identity;
use homing_core::hop::wait::Event as Woken;
use homing_core::hop::{CapId, Code, MAX_CONTROL, WaitLink, route_id};
use homing_driver::relay::events::{EVENTS_PATH, Event, EventReader};
use homing_driver::relay::{Hop, ROUTE_HEADER, Seek, follow};
use homing_driver::{Clock, steady};
use homing_tokio::{DialError, RelayUrl, Surroundings, TokioClock, connect, is_local};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::links::{At, Lost, status};
use crate::shared::Shared;
use crate::wake::Wake;

/// How long a word to the relay may take.
const WORD: Duration = Duration::from_secs(10);
/// How long the last word of a relay that refuses may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Denials that may wait to be told.
pub(crate) const DENIALS: usize = 32;
const EVENT_STREAM: &str = "text/event-stream";

/// Keeps the wish for a link with one relay, until the host is shut down.
pub(crate) async fn wish(shared: Arc<Shared>, relay: usize, knocks: Arc<Notify>, wanted: watch::Sender<bool>) {
    let mut wake = Wake::new(shared.linger);
    let (mut enabled, mut tickets) = (shared.enabled.subscribe(), shared.tickets.subscribe());
    loop {
        let now = TokioClock.now();
        let (linked, needed) = shared.needs_link(now, relay);
        wake.look(now, linked, needed);
        let awake = wake.poll(now) && *enabled.borrow_and_update();
        wanted.send_if_modified(|wanted| core::mem::replace(wanted, awake) != awake);
        let again = async {
            match wake.poll_timeout(now) {
                Some(at) => sleep_until(steady::system(at).into()).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            () = knocks.notified() => wake.knocked(TokioClock.now()),
            changed = tickets.changed() => if changed.is_err() { return },
            changed = enabled.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// One life of a stream.
pub(crate) async fn attempt(
    shared: &Arc<Shared>,
    relay: usize,
    url: &RelayUrl,
    surroundings: &mut Surroundings,
    knocks: &Notify,
) -> Lost {
    let opened = tokio::select! {
        opened = open(shared, relay, url) => opened,
        // The attempt may have begun on a network that is gone: once more.
        _ = surroundings.changed() => open(shared, relay, url).await,
    };
    let mut stream = match opened {
        Ok(stream) => stream,
        Err(lost) => return lost,
    };
    let began = TokioClock.now();
    let (tell, told) = mpsc::channel(DENIALS);
    if let Some(waiter) = shared.lock().waiters.get_mut(relay) {
        waiter.denials = Some(tell);
    }
    status(shared, relay, At::Stream, |status| status.led_to(stream.node.clone()));
    let ended = stream.serve(shared, relay, surroundings, knocks, told).await;
    if let Some(waiter) = shared.lock().waiters.get_mut(relay) {
        waiter.denials = None;
        waiter.registered = false;
    }
    match ended {
        Over::Moved => Lost::by_the_network(began),
        Over::Hop(code) => {
            let told = if code == Code::Busy { stream.farewell().await } else { Duration::ZERO };
            Lost { told, ..Lost::by_code(began, code) }
        }
        Over::Said(why) => Lost::at(began, why),
    }
}

/// Why a stream is over.
enum Over {
    /// The relay said so.
    Hop(Code),
    /// The network changed, or the machine slept, and it did not survive that.
    Moved,
    /// Anything else, in words.
    Said(Box<str>),
}

impl<E: core::fmt::Display> From<E> for Over {
    fn from(why: E) -> Self {
        Self::Said(why.to_string().into())
    }
}

/// A stream of events that the relay has opened.
struct Events {
    /// The relay that keeps it; of a cluster, one of many.
    node: RelayUrl,
    link: WaitLink,
    body: Incoming,
    reader: EventReader,
    /// How it is named in what the host says.
    name: Option<HeaderValue>,
    from: Option<core::net::IpAddr>,
    _connection: JoinSet<()>,
}

/// A connection for HTTP, and what drives it.
async fn http(
    shared: &Shared,
    url: &RelayUrl,
) -> Result<(SendRequest<Full<Bytes>>, JoinSet<()>, Option<core::net::IpAddr>), DialError> {
    let io = connect(url, &shared.tls).await?;
    let from = io.local_address();
    let lost = |error: hyper::Error| DialError::unreachable(url, std::io::Error::other(error));
    let (sender, connection) = handshake(TokioIo::new(io)).await.map_err(lost)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Whoever waits for its answer hears of the end.
        let _ = connection.await;
    });
    Ok((sender, tasks, from))
}

fn request(url: &RelayUrl, method: Method, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = hyper::Uri::from_static(EVENTS_PATH);
    if let Ok(host) = HeaderValue::from_str(url.authority()) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// Asks for a stream, of a cluster the relay that serves the route.
async fn open(shared: &Shared, relay: usize, url: &RelayUrl) -> Result<Events, Lost> {
    let route = route_id(shared.keys().route.key.public());
    let opened = follow(url, Seek::host(&route, relay), |Hop { at, seek, limit }| async move {
        timeout(limit, open_at(shared, &at, &seek)).await.unwrap_or_else(|_| Err(DialError::timeout(&at)))
    });
    let ((body, connection, from), node) = opened.await.map_err(|error| Lost::undialled(&error))?;
    let keys = shared.keys();
    let route = &keys.route;
    let (current, previous) = (route.capability_key.duplicate(), route.previous_capability_key.duplicate());
    let route = Identity::duplicate(&route.key);
    let key = shared.relay_key.as_ref().map(|key| key.as_str());
    let link = WaitLink::new(node.authority(), route, current, previous, key, TokioClock.now());
    let (link, reader) = (link.map_err(Lost::before_it_began)?, EventReader::default());
    Ok(Events { node, link, body, reader, name: None, from, _connection: connection })
}

/// A stream's bytes, what drives its connection, and this machine's address in it.
type Opened = (Incoming, JoinSet<()>, Option<core::net::IpAddr>);

async fn open_at(shared: &Shared, url: &RelayUrl, seek: &Seek) -> Result<Opened, DialError> {
    let (mut sender, connection, from) = http(shared, url).await?;
    let mut request = request(url, Method::GET, Bytes::new());
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
    if let Ok(seek) = HeaderValue::from_str(&seek.to_string()) {
        request.headers_mut().insert(ROUTE_HEADER, seek);
    }
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| DialError::unreachable(url, std::io::Error::other(error)))?;
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match answer.status() {
        StatusCode::OK if kind.starts_with(EVENT_STREAM) => Ok((answer.into_body(), connection, from)),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Err(DialError::NoWaiting { relay: url.authority().into() })
        }
        _ => Err(DialError::answered(url, &answer, EVENTS_PATH)),
    }
}

impl Events {
    async fn serve(
        &mut self,
        shared: &Shared,
        relay: usize,
        surroundings: &mut Surroundings,
        knocks: &Notify,
        mut denials: mpsc::Receiver<(CapId, u32)>,
    ) -> Over {
        loop {
            if let Err(over) = self.say(shared).await {
                return over;
            }
            let deadline = self.link.poll_timeout().map(steady::system);
            let late = async {
                match deadline {
                    Some(at) => sleep_until(at.into()).await,
                    None => core::future::pending().await,
                }
            };
            tokio::select! {
                frame = self.body.frame() => {
                    let bytes = match frame {
                        None => return "the relay ended the stream".into(),
                        Some(Err(error)) => return error.into(),
                        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    };
                    self.link.heard(TokioClock.now());
                    if let Err(over) = self.hear(&bytes, shared, relay, knocks) {
                        return over;
                    }
                }
                () = late => if let Err(lost) = self.link.handle_timeout(TokioClock.now()) { return lost.into() },
                // Its sender lives as long as this.
                Some((capability, until)) = denials.recv() => {
                    // The host itself refuses what it revoked; the relay only spares it the knock.
                    let _ = self.link.deny(capability, until);
                }
                change = surroundings.changed() => {
                    tracing::debug!(?change, "the stream may be dead");
                    if self.from.is_some_and(|address| !is_local(address)) {
                        return Over::Moved;
                    }
                    self.link.probe(TokioClock.now());
                }
            }
        }
    }

    /// How long there is no use in coming back: the relay says so behind a refusal. Zero where it does not.
    async fn farewell(&mut self) -> Duration {
        let rest = async {
            while self.reader.retry_after().is_none() {
                let Some(Ok(frame)) = self.body.frame().await else { return };
                let mut bytes = &*frame.into_data().unwrap_or_default();
                // What else is on its way does not matter any more.
                while !matches!(self.reader.read(&mut bytes), Ok(None) | Err(_)) {}
            }
        };
        let _ = timeout(FAREWELL, rest).await;
        self.reader.retry_after().unwrap_or_default()
    }

    fn hear(&mut self, mut bytes: &[u8], shared: &Shared, relay: usize, knocks: &Notify) -> Result<(), Over> {
        while let Some(event) = self.reader.read(&mut bytes)? {
            let frame = match event {
                Event::Link(name) if self.name.is_none() => {
                    let mut value = HeaderValue::from_str(&format!("Bearer {name}"))?;
                    value.set_sensitive(true);
                    self.name = Some(value);
                    continue;
                }
                Event::Link(_) => return Err("the relay named the stream twice".into()),
                Event::Frame(frame) => frame,
            };
            match self.link.handle(TokioClock.now(), &frame)? {
                Some(Woken::Registered) => self.registered(shared, relay),
                Some(Woken::Knock) => {
                    tracing::debug!(relay = self.node.authority(), "a device knocks");
                    knocks.notify_one();
                }
                Some(Woken::Closed { code }) => {
                    // What the relay says of coming back may be here already.
                    while !matches!(self.reader.read(&mut bytes), Ok(None) | Err(_)) {}
                    return Err(Over::Hop(code));
                }
                Some(Woken::Draining) => return Err(Over::Hop(Code::Draining)),
                None => {}
            }
        }
        Ok(())
    }

    fn registered(&mut self, shared: &Shared, relay: usize) {
        let url = &self.node;
        let mut inner = shared.lock();
        // Relays forget them with the stream.
        for (capability, until) in inner.state.denied() {
            let _ = self.link.deny(capability, until);
        }
        if let Some(waiter) = inner.waiters.get_mut(relay) {
            waiter.registered = true;
        }
        drop(inner);
        status(shared, relay, At::Stream, |status| status.proved("waiting"));
        shared.arrivals.notify_waiters();
        shared.news.send_replace(());
        shared.trail.note("relay reached", json!({ "relay": url.authority(), "waiting": true }));
        tracing::info!(relay = url.authority(), "waiting at relay; devices wake this host");
    }

    /// Says what there is to say, on a connection that is gone afterwards.
    async fn say(&mut self, shared: &Shared) -> Result<(), Over> {
        let url = &self.node;
        let Some(name) = &self.name else { return Ok(()) };
        let mut out = [0; MAX_CONTROL];
        let mut connection = None;
        while let Some(len) = self.link.poll_output(&mut out) {
            let message = Bytes::copy_from_slice(out.get(..len).unwrap_or_default());
            let said = timeout(WORD, async {
                if connection.is_none() {
                    connection = Some(http(shared, url).await?);
                }
                let Some((sender, ..)) = &mut connection else { return Ok(StatusCode::OK) };
                let mut request = request(url, Method::POST, message);
                request.headers_mut().insert(AUTHORIZATION, name.clone());
                let answer = sender.send_request(request).await?;
                let status = answer.status();
                // All of it is read, so that the next word can follow.
                let _ = answer.into_body().collect().await;
                Ok::<_, Over>(status)
            });
            match said.await {
                Ok(said) => match said? {
                    StatusCode::NO_CONTENT => {}
                    // The stream tells why, or has ended.
                    status => tracing::debug!(%status, "the relay does not take what this host says"),
                },
                Err(_) => return Err("the relay does not take what this host says".into()),
            }
        }
        Ok(())
    }
}
