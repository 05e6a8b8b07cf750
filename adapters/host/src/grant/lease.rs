//! A device's use of a service over the life of one stream: begun, answered with a refusal, and over.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use futures_util::task::AtomicWaker;
use homing_core::mux::reset;
use homing_tokio::TunnelStream;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guest::Guest;
use super::running::{End, Refused};
use super::{Denied, Limited, overrides_method};
use crate::service::{Pass, Refusal, ServiceError};
use crate::shared::Shared;

/// A device's use of a service, over the life of one stream.
pub(crate) struct Lease {
    pub(super) shared: Arc<Shared>,
    pub(super) device: String,
    pub(super) guest: Option<Arc<Guest>>,
    pub(super) service: String,
    pub(super) number: u64,
    pub(super) end: Arc<End>,
}

impl Lease {
    pub(crate) fn new(shared: Arc<Shared>, device: String, guest: Option<Arc<Guest>>, service: String) -> Arc<Self> {
        let number = shared.running.number();
        Arc::new(Self { shared, device, guest, service, number, end: Arc::default() })
    }

    /// Whose it is, for the audit trail.
    fn whose(&self, mut fields: Value) -> Value {
        fields["device"] = json!(self.device);
        if let Some(guest) = &self.guest {
            fields["guest"] = json!(guest.name);
            fields["guest_id"] = json!(guest.id(&self.device));
        }
        fields
    }

    /// Begins to carry bytes; false where that is not granted, which is in the audit trail then.
    pub(crate) fn begin_raw(&self) -> bool {
        let began = self.shared.running.begin(self, None, false);
        if let Err(refused) = &began {
            self.note(refused, None);
        }
        began.is_ok()
    }

    /// Begins to serve a request. It is over when the pass is dropped, or with the stream.
    pub(crate) fn begin_request<B>(self: &Arc<Self>, request: &http::Request<B>) -> Result<RequestPass, Refusal> {
        let asked = (request.method().clone(), request.uri().path().to_owned());
        match self.shared.running.begin(self, Some(asked), overrides_method(request.headers())) {
            Ok(()) => Ok(RequestPass(Some(self.clone()))),
            Err(refused) => {
                self.note(&refused, Some(request.method()));
                Err(refusal(&refused, &self.service))
            }
        }
    }

    /// Notes that the service was not reached because it must not be.
    pub(crate) fn not_reached(&self, error: &ServiceError) {
        if let Some(reason) = error.refusal() {
            let fields = json!({ "service": self.service, "error": error.to_string() });
            self.shared.trail.refuse(reason, self.whose(fields));
        }
    }

    fn note(&self, refused: &Refused, method: Option<&Method>) {
        let reason = match refused {
            Refused::Unknown => "unknown device",
            Refused::Denied(Denied::NotGranted) => "not granted",
            Refused::Denied(Denied::Expired) => "grant expired",
            Refused::Limited(Limited::Rate(_), _) => "too many requests",
            Refused::Limited(Limited::Concurrent, _) => "too many at once",
        };
        let method = method.map(Method::as_str);
        let fields = json!({ "service": self.service, "method": method });
        self.shared.trail.refuse(reason, self.whose(fields));
    }

    /// Completes when what runs on the stream is not granted any more.
    pub(crate) async fn ended(&self) {
        core::future::poll_fn(|cx| if self.end.poll(&self.end.server, cx) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }
}

fn refusal(refused: &Refused, service: &str) -> Refusal {
    let (status, text, retry_after) = match refused {
        Refused::Unknown => (StatusCode::FORBIDDEN, "this device is not known any more".into(), None),
        Refused::Denied(Denied::NotGranted) => {
            let text = format!("this device was not granted this of {service}; ask the owner of the host");
            (StatusCode::FORBIDDEN, text, None)
        }
        Refused::Denied(Denied::Expired) => {
            let text = "what this device was granted has expired; ask the owner of the host".into();
            (StatusCode::FORBIDDEN, text, None)
        }
        Refused::Limited(Limited::Rate(wait), rate) => {
            let rate = rate.map_or(0, |rate| rate.per_second);
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
            let text = format!("too fast: this device was granted {rate} requests a second");
            (StatusCode::TOO_MANY_REQUESTS, text, Some(u32::try_from(seconds).unwrap_or(u32::MAX)))
        }
        Refused::Limited(Limited::Concurrent, _) => {
            let text = "too much at once: wait until another request of this device is over".into();
            (StatusCode::SERVICE_UNAVAILABLE, text, Some(1))
        }
    };
    Refusal { status, text, retry_after }
}

/// Held while a request is served.
pub(crate) struct RequestPass(Option<Arc<Lease>>);

impl Pass for RequestPass {
    fn keep(mut self) {
        self.0 = None;
    }

    fn not_reached(&self, error: &ServiceError) {
        self.0.iter().for_each(|lease| lease.not_reached(error));
    }
}

impl Drop for RequestPass {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.shared.running.finish(lease.number);
        }
    }
}

/// A stream that ends with its lease, also where an app of this process has taken it over.
pub(crate) struct Leased {
    stream: Option<TunnelStream>,
    lease: Arc<Lease>,
}

impl Leased {
    pub(crate) const fn new(stream: TunnelStream, lease: Arc<Lease>) -> Self {
        Self { stream: Some(stream), lease }
    }

    /// The stream, unless it is over.
    fn stream(&mut self, waker: fn(&End) -> &AtomicWaker, cx: &Context<'_>) -> io::Result<Pin<&mut TunnelStream>> {
        let over = self.lease.end.poll(waker(&self.lease.end), cx);
        let stream = self.stream.as_mut().filter(|_| !over);
        stream.map(Pin::new).ok_or_else(|| io::Error::new(ErrorKind::PermissionDenied, "not granted any more"))
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && self.lease.end.is_set()
        {
            stream.abort(reset::NOT_ALLOWED);
        }
        self.lease.shared.running.finish(self.lease.number);
    }
}

impl AsyncRead for Leased {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream(|end| &end.reader, cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Leased {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream(|end| &end.writer, cx)?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream(|end| &end.writer, cx)?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(|end| &end.writer, cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(|end| &end.writer, cx)?.poll_shutdown(cx)
    }
}
