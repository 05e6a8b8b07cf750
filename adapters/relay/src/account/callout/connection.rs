//! Connections to the server: a few, kept open, each question under one deadline.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use homing_tokio::{BadRelayUrl, ClientTls, DialError, RelayUrl, TlsError, connect};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

/// How long a question may take, waiting for its turn included. A host waits for ten seconds.
const DEADLINE: Duration = Duration::from_secs(5);
/// Questions at once.
const AT_ONCE: usize = 32;
/// Bytes of an answer.
const MAX_ANSWER: usize = 16 * 1024;

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalloutError {
    /// The URL is none.
    #[error("{0:?} is no http:// or https:// URL without a user and a fragment")]
    Url(String),
    /// The URL's host cannot be asked.
    #[error("the admission server's address does not do: {0}; http:// is for this machine only")]
    Authority(BadRelayUrl),
    /// The token has letters that no header may have.
    #[error("the admission server's token has letters that a header cannot carry")]
    Token,
    /// Nobody's certificate can be checked.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// It cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] DialError),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer in {} seconds", DEADLINE.as_secs())]
    Late,
    /// It answered with this status.
    #[error("it answered with status {0}")]
    Status(StatusCode),
    /// Its answer is too long or breaks off.
    #[error("its answer is cut off, or longer than {MAX_ANSWER} bytes")]
    Body,
    /// Its answer makes no sense.
    #[error("its answer makes no sense: {0}")]
    Malformed(String),
}

type Sender = SendRequest<Full<Bytes>>;

/// The server.
pub(super) struct Server {
    url: RelayUrl,
    path: Uri,
    host: HeaderValue,
    token: Option<HeaderValue>,
    tls: ClientTls,
    places: Semaphore,
    idle: Mutex<Vec<Sender>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("authority", &self.url.authority()).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(text: &str, token: Option<&str>, roots: Option<PathBuf>) -> Result<Self, CalloutError> {
        let bad = || CalloutError::Url(text.into());
        let uri = Uri::from_str(text.trim()).map_err(|_| bad())?;
        let scheme = match uri.scheme_str() {
            Some("http") => "ws",
            Some("https") => "wss",
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?.as_str();
        if authority.contains('@') || text.contains('#') {
            return Err(bad());
        }
        let url: RelayUrl = format!("{scheme}://{authority}").parse().map_err(CalloutError::Authority)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| bad())?;
        let host = HeaderValue::from_str(url.authority()).map_err(|_| bad())?;
        let token = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))?;
            value.set_sensitive(true);
            Ok::<_, hyper::header::InvalidHeaderValue>(value)
        });
        let token = token.transpose().map_err(|_| CalloutError::Token)?;
        let tls = roots.map_or_else(ClientTls::system, ClientTls::trusting);
        if !url.is_plain() {
            tls.config()?; // what is wrong with it is better said at the start
        }
        Ok(Self { url, path, host, token, tls, places: Semaphore::new(AT_ONCE), idle: Mutex::default() })
    }

    /// The body of its answer.
    pub(super) async fn ask(&self, question: &[u8]) -> Result<Bytes, Unanswered> {
        let asked = async {
            // Never closed.
            let _place = self.places.acquire().await.map_err(|_| Unanswered::Late)?;
            let question = Bytes::copy_from_slice(question);
            while let Some(mut sender) = self.take_idle() {
                // It may have been closed while it was idle, which shows only now; asking twice does no harm.
                if sender.ready().await.is_ok()
                    && let Ok(answer) = self.put(&mut sender, &question).await
                {
                    return self.hear(answer, sender).await;
                }
            }
            let io = connect(&self.url, &self.tls).await?;
            let (mut sender, connection) = handshake(TokioIo::new(io)).await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection to the admission server ended");
                }
            });
            let answer = self.put(&mut sender, &question).await?;
            self.hear(answer, sender).await
        };
        tokio::time::timeout(DEADLINE, asked).await.map_err(|_| Unanswered::Late)?
    }

    async fn put(
        &self,
        sender: &mut Sender,
        question: &Bytes,
    ) -> Result<hyper::Response<hyper::body::Incoming>, hyper::Error> {
        let mut request = Request::new(Full::new(question.clone()));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        sender.send_request(request).await
    }

    async fn hear(&self, answer: hyper::Response<hyper::body::Incoming>, sender: Sender) -> Result<Bytes, Unanswered> {
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(Unanswered::Status(status));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|_| Unanswered::Body)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < AT_ONCE {
            idle.push(sender);
        }
        Ok(body.to_bytes())
    }

    fn take_idle(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
