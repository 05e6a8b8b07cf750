//! Who is let in: callers on this machine, by its own names, who hold a token. A page of another
//! site reaches a loopback port too, under a name of its own even; neither gets an answer.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Desk;
use super::answer::Problem;
use super::token::Scope;

/// Refuses other names than this machine's own (DNS rebinding), and requests of other sites.
pub(super) async fn same_site(State(desk): State<Desk>, request: Request, next: Next) -> Result<Response, Problem> {
    let host = header(request.headers(), header::HOST).or_else(|| request.uri().authority().map(|host| host.as_str()));
    let host = host.unwrap_or_default();
    let port = desk.address.port();
    let ours =
        [desk.address.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    if !ours.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        let text = format!("this machine is called {} here", desk.address);
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", text));
    }
    let origin = header(request.headers(), header::ORIGIN);
    let other = origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(&format!("http://{host}")));
    let site = header(request.headers(), header::HeaderName::from_static("sec-fetch-site"));
    if other || matches!(site, Some("cross-site" | "same-site")) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "origin", "not for pages of other sites"));
    }
    Ok(next.run(request).await)
}

/// Lets those in who hold a token of the scope that the request needs.
pub(super) async fn authorise(State(desk): State<Desk>, request: Request, next: Next) -> Result<Response, Problem> {
    let needed = match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => Scope::Read,
        _ => Scope::Write,
    };
    let given = header(request.headers(), header::AUTHORIZATION).and_then(|text| text.split_once(' '));
    let token = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    match token.and_then(|token| desk.host.check_token(token)) {
        Some(scope) if scope >= needed => Ok(next.run(request).await),
        Some(_) => {
            let text = "this token may only look; `homing host token --scope settings:write` makes another";
            Err(Problem::new(StatusCode::FORBIDDEN, "scope", text))
        }
        None => {
            let text = "send a token as `Authorization: Bearer …`; `homing host token` makes one";
            Err(Problem::new(StatusCode::UNAUTHORIZED, "token", text))
        }
    }
}

fn header(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
