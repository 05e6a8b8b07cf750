//! HTTP to the authority: few requests, each on a connection of its own.

use core::fmt::Display;
use core::pin::Pin;
use core::time::Duration;

use bytes::Bytes;
use homing_driver::relay::{ClientTls, RelayUrl};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Trusts whom links would trust.
pub(super) struct Client {
    trust: ClientTls,
}

impl Client {
    pub(super) const fn new(trust: ClientTls) -> Self {
        Self { trust }
    }
}

type Asked = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Client {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Asked {
        let trust = self.trust.clone();
        Box::pin(async move {
            let asked = tokio::time::timeout(LIMIT, ask(trust, request)).await;
            asked.map_err(|_| other("no answer in 30 s"))?
        })
    }
}

async fn ask(trust: ClientTls, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
    let uri = request.uri().clone();
    let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(other("the authority's URLs have to begin with https://"));
    };
    let url = RelayUrl::from_authority(authority.as_str(), false).map_err(other)?;
    *request.uri_mut() = uri.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(other)?);
    let io = homing_tokio::connect(&url, &trust).await.map_err(other)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(other)?;
    // The connection ends with the sender.
    let asked = async move {
        let (parts, body) = sender.send_request(request).await.map_err(other)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(other)?.to_bytes();
        Ok(Response::from_parts(parts, Full::<Bytes>::from(body)).into())
    };
    tokio::join!(asked, connection).0
}

fn other(error: impl Display) -> Error {
    Error::Other(error.to_string().into())
}
