//! HTTP services: a server on the stream, a pooled connection behind it, both driven by one future.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::time::Duration;

use homing_local::clock::unix_now;
use http::uri::Uri;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::app::App;
use super::body::{Answer, Passed};
use super::connect::Remote;
use super::ending::{Ending, InOrder};
use super::exchange::Exchange;
use super::headers::{HOMING_ASSERTION, Identity, Unfit, clean_answer, clean_request, wanted_upgrade};
use super::{Caller, Pass, Place, Refusal, Service, ServiceError, Stream, upgrade};

const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 200;
/// Also how long a stream may be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn serve<S, G, P>(stream: S, service: &Service, caller: &Caller, gate: G) -> Result<(), ServiceError>
where
    S: Stream,
    G: Fn(&Request<Incoming>) -> Result<P, Refusal> + Send + Sync,
    P: Pass,
{
    let exchange = Exchange::default();
    let in_order = InOrder::default();
    let identity = Identity::new(caller);
    let door = Door { service, caller, identity, gate, exchange: exchange.clone(), in_order: in_order.clone() };
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .auto_date_header(false);
    let answer = service_fn(|request| door.answer(request));
    {
        let stream = Ending::new(stream, in_order.clone());
        let mut server = pin!(builder.serve_connection(TokioIo::new(stream), answer).with_upgrades());
        let served = poll_fn(|cx| {
            let server = server.as_mut().poll(cx);
            exchange.drive(cx);
            server
        });
        match served.await {
            Ok(()) => {}
            // The last answer may still be on its way to a device that reads slowly, or is away.
            Err(idle) if idle.is_timeout() => {
                in_order.set();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    match exchange.take_upgrade() {
        Some(agreed) => upgrade::join(agreed).await,
        None => Ok(()),
    }
}

/// Why a request that was let through got no answer, and what is told of it.
struct Failed {
    refusal: Refusal,
    error: Option<ServiceError>,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, error: None }
    }
}

/// Where the requests of one stream come in.
struct Door<'s, G> {
    service: &'s Service,
    caller: &'s Caller,
    identity: Identity,
    gate: G,
    exchange: Exchange,
    in_order: InOrder,
}

impl<G, P> Door<'_, G>
where
    G: Fn(&Request<Incoming>) -> Result<P, Refusal> + Send + Sync,
    P: Pass,
{
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Passed<P>>, hyper::Error> {
        let passed = match check_target(request.method(), request.uri()).and_then(|()| (self.gate)(&request)) {
            Ok(pass) => match self.pass(request).await {
                Ok(answer) => Ok((answer, pass)),
                Err(failed) => {
                    failed.error.iter().for_each(|error| pass.not_reached(error));
                    Err(failed.refusal)
                }
            },
            Err(refusal) => Err(refusal),
        };
        Ok(match passed {
            Ok((answer, pass)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                pass.keep();
                answer.map(|answer| Passed::new(answer, None))
            }
            Ok((answer, pass)) => answer.map(|answer| Passed::new(answer, Some(pass))),
            Err(refusal) => refuse(refusal).map(|answer| Passed::new(answer, None)),
        })
    }

    async fn pass(&self, mut request: Request<Incoming>) -> Result<Response<Answer>, Failed> {
        // The configuration may have changed since the stream began.
        let service = self.service.now().filter(|service| !service.is_raw()).ok_or_else(|| {
            refusal(StatusCode::NOT_FOUND, format!("service {} is not exposed here any more", self.service.name()))
        })?;
        let protocol = if request.version() == Version::HTTP_11 { wanted_upgrade(request.headers()) } else { None };
        match &service.place {
            Place::InProcess(app) => Ok(self.call(app, request, protocol).await?),
            Place::Remote(remote) => {
                let device = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
                self.prepare(&mut request, service, protocol)?;
                let answer = self.send(remote, request).await?;
                Ok(self.receive(answer, device)?)
            }
        }
    }

    /// Asks an app in this process. Where it agrees to an upgrade, it takes the stream itself.
    async fn call(
        &self,
        app: &App,
        mut request: Request<Incoming>,
        protocol: Option<HeaderValue>,
    ) -> Result<Response<Answer>, Refusal> {
        let may_switch = protocol.is_some();
        self.prepare(&mut request, self.service, protocol)?;
        if !may_switch {
            request.extensions_mut().remove::<OnUpgrade>();
        }
        request.extensions_mut().insert(self.caller.clone());
        let mut answer = app.call(request).await.map_err(|error| {
            tracing::debug!(service = self.service.name(), %error, "an app failed");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("service {} failed", self.service.name()))
        })?;
        if self.vet(&mut answer, may_switch)? {
            self.in_order.set();
            return Ok(answer.map(|_| Answer::empty()));
        }
        Ok(answer.map(Answer::App))
    }

    fn prepare(
        &self,
        request: &mut Request<Incoming>,
        service: &Service,
        protocol: Option<HeaderValue>,
    ) -> Result<(), Refusal> {
        let must_have_host = request.version() == Version::HTTP_11;
        let credential = match &service.place {
            Place::Remote(remote) => remote.exposed.options.credential.as_ref(),
            Place::InProcess(_) => None,
        };
        let (headers, authority) = (request.headers_mut(), &service.authority);
        clean_request(headers, protocol, must_have_host, &self.identity, authority, credential).map_err(|unfit| {
            match unfit {
                Unfit::Host => refusal(StatusCode::BAD_REQUEST, "send one valid Host header"),
                Unfit::Coding => refusal(StatusCode::NOT_IMPLEMENTED, "send no Transfer-Encoding other than chunked"),
            }
        })?;
        if let Some(signer) = service.signer.get() {
            let assertion = signer.assertion(self.caller, service.name(), unix_now());
            request.headers_mut().insert(HOMING_ASSERTION, assertion);
        }
        *request.version_mut() = Version::HTTP_11;
        Ok(())
    }

    /// Sends a request on the first connection that takes it. One that may have left on the wire is never sent again.
    async fn send(&self, remote: &Remote, mut request: Request<Incoming>) -> Result<Response<Incoming>, Failed> {
        loop {
            let mut upstream = remote.pool.take(remote).await.map_err(|error| self.not_reached(error))?;
            let used = upstream.used;
            let answer = upstream.sender.try_send_request(request);
            self.exchange.begin(upstream, &remote.pool);
            match answer.await {
                Ok(answer) => return Ok(answer),
                Err(mut failed) => {
                    self.exchange.cancel();
                    match failed.take_message() {
                        // It was closed while idle; each turn uses up one such connection.
                        Some(unsent) if used => request = unsent,
                        _ => return Err(self.broken().into()),
                    }
                }
            }
        }
    }

    fn receive(&self, answer: Response<Incoming>, device: Option<OnUpgrade>) -> Result<Response<Answer>, Refusal> {
        let mut answer = answer;
        let switching = self.vet(&mut answer, device.is_some()).inspect_err(|_| self.exchange.cancel())?;
        if let (true, Some(device)) = (switching, device) {
            self.exchange.upgrade(device);
            return Ok(answer.map(|_| Answer::empty()));
        }
        Ok(answer.map(|body| Answer::service(body, self.exchange.clone())))
    }

    /// Makes an answer fit for the device; tells whether it changes the protocol.
    fn vet<B>(&self, answer: &mut Response<B>, may_switch: bool) -> Result<bool, Refusal> {
        let switching = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let keep_upgrade = switching || answer.status() == StatusCode::UPGRADE_REQUIRED;
        if clean_answer(answer.headers_mut(), keep_upgrade).is_err() || (switching && !may_switch) {
            return Err(self.broken());
        }
        *answer.version_mut() = Version::HTTP_11;
        Ok(switching)
    }

    fn not_reached(&self, error: ServiceError) -> Failed {
        let name = self.service.name();
        let refusal = match &error {
            ServiceError::TimedOut { .. } => {
                refusal(StatusCode::GATEWAY_TIMEOUT, format!("service {name} did not accept the connection in time"))
            }
            // Not which address: that is nothing to a device.
            ServiceError::Forbidden { source, .. } => {
                let text = format!("service {name} is where the host does not connect to: its address is {source}");
                refusal(StatusCode::BAD_GATEWAY, text)
            }
            ServiceError::Busy { .. } => {
                let text = format!("service {name} has no connection left for this; try again in a moment");
                Refusal { status: StatusCode::SERVICE_UNAVAILABLE, text, retry_after: Some(1) }
            }
            ServiceError::Tls { .. } => {
                let text = format!("service {name} is not trusted by its host; `homing host audit` there says why");
                refusal(StatusCode::BAD_GATEWAY, text)
            }
            _ => refusal(StatusCode::BAD_GATEWAY, format!("service {name} is not reachable, is it running?")),
        };
        Failed { refusal, error: Some(error) }
    }

    fn broken(&self) -> Refusal {
        let name = self.service.name();
        refusal(StatusCode::BAD_GATEWAY, format!("service {name} broke off before a valid answer"))
    }
}

/// Only paths pass: a service must not be asked for another host's resource, nor to open a tunnel.
fn check_target(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    let origin = uri.scheme().is_none() && uri.authority().is_none();
    let path = uri.path();
    if origin && method != Method::CONNECT && (path.starts_with('/') || (path == "*" && method == Method::OPTIONS)) {
        return Ok(());
    }
    Err(refusal(StatusCode::BAD_REQUEST, "this is not a proxy: ask for a path, such as GET /index.html"))
}

fn refusal(status: StatusCode, text: impl Into<String>) -> Refusal {
    Refusal { status, text: text.into(), retry_after: None }
}

fn refuse(refusal: Refusal) -> Response<Answer> {
    use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
    let mut text = refusal.text;
    text.push('\n');
    let mut answer = Response::new(Answer::text(text));
    *answer.status_mut() = refusal.status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = refusal.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
