//! Services without a socket: an app in this process, asked once for each request.

use core::fmt;
use core::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};

/// Why an app did not answer, or not to the end.
pub(super) type Failure = Box<dyn core::error::Error + Send + Sync>;

/// What an app answers with.
pub(super) type AppBody = UnsyncBoxBody<Bytes, Failure>;

type Answering = Pin<Box<dyn Future<Output = Result<Response<AppBody>, Failure>> + Send>>;

/// An app of any kind.
pub(super) struct App(Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>);

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    pub(super) fn new<A, B>(app: A) -> Self
    where
        A: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
        A::Future: Send + 'static,
        A::Error: Into<Failure>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
    {
        Self(Arc::new(move |request| {
            let answering = app.call(request);
            Box::pin(async move {
                let answer = answering.await.map_err(Into::into)?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        }))
    }

    pub(super) async fn call(&self, request: Request<Incoming>) -> Result<Response<AppBody>, Failure> {
        (self.0)(request).await
    }
}
