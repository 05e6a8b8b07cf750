//! The page, its parts, and the API's description: files inside the program. And the host's public key for services.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Desk;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";

pub(super) fn router() -> Router<Desk> {
    Router::new()
        .route("/", get(|| file(HTML, include_str!("page/index.html"))))
        .route("/page.js", get(|| file(SCRIPT, include_str!("page/page.js"))))
        .route("/page.css", get(|| file(STYLE, include_str!("page/page.css"))))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/api/openapi.json", get(|| file(JSON, include_str!("openapi.json"))))
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// What services check assertions with. No secret, so nobody needs a token.
async fn jwks(State(desk): State<Desk>) -> Response {
    ([(header::CONTENT_TYPE, "application/jwk-set+json")], desk.host.jwks().to_string()).into_response()
}

/// What the page may load and who may show it: nothing and nobody from elsewhere.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
        form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
