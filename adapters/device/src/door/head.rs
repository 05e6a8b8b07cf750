//! The head of a request: whether it may pass, and how long what comes behind it is.

use httparse::{Header, Request};

use super::name::HostName;
use super::refusal::Refusal;

/// What comes behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// So many bytes of a body, and the next head.
    Length(u64),
    /// A body in chunks, and the next head.
    Chunks,
    /// Another protocol.
    Anything,
}

/// Whether a request may pass.
pub(super) fn judge(request: &Request<'_, '_>, allowed: &[HostName]) -> Result<Behind, Refusal> {
    let host = asked_for(request, allowed)?;
    same_site(request, host.as_ref(), allowed)?;
    behind(request)
}

/// The name that is asked for. A page can have its own name lead to this machine; not one of those that
/// [are local](HostName::is_local).
fn asked_for(request: &Request<'_, '_>, allowed: &[HostName]) -> Result<Option<HostName>, Refusal> {
    let mut hosts = values(request, "host");
    let (host, None) = (hosts.next(), hosts.next()) else { return Err(Refusal::bad("send one Host header")) };
    let target = target_authority(request)?;
    let mut name = None;
    // A client that names nobody is no browser.
    for text in [host, target].into_iter().flatten().filter(|text| !text.is_empty()) {
        let asked = core::str::from_utf8(text).ok().and_then(HostName::of_authority);
        match asked {
            Some(asked) if asked.is_local() || allowed.contains(&asked) => name = Some(asked),
            asked => return Err(Refusal::misdirected(asked.as_ref())),
        }
    }
    Ok(name)
}

/// Whom a target names that is more than a path. The host refuses those too, but not as clearly.
fn target_authority<'b>(request: &Request<'_, 'b>) -> Result<Option<&'b [u8]>, Refusal> {
    let path = request.path.unwrap_or_default();
    if request.method != Some("CONNECT") {
        if path.starts_with('/') || path == "*" {
            return Ok(None);
        }
        if let Some((_, rest)) = path.split_once("://") {
            return Ok(rest.split(['/', '?', '#']).next().map(str::as_bytes));
        }
    }
    Err(Refusal::bad("this is not a proxy: ask for a path, such as GET /index.html"))
}

/// Refuses requests of other sites' pages. A browser sends `Origin` with each that changes something, opens a WebSocket or
/// wants to read the answer, not where somebody follows a link; the service cannot tell, as it is told another `Host`.
/// Pages from this machine are let in: that is where programs are developed.
fn same_site(request: &Request<'_, '_>, host: Option<&HostName>, allowed: &[HostName]) -> Result<(), Refusal> {
    // Only browsers can say so, and of the host that was looked at above. Then `Origin` may be `null` all the same.
    let mut sites = values(request, "sec-fetch-site");
    if (sites.next(), sites.next()) == (Some(b"same-origin"), None) {
        return Ok(());
    }
    for origin in values(request, "origin") {
        let page = core::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"));
        let page = page.and_then(|(_, authority)| HostName::of_authority(authority));
        match page {
            Some(page) if page.is_loopback() || host == Some(&page) || allowed.contains(&page) => {}
            page => return Err(Refusal::foreign(page.as_ref())),
        }
    }
    Ok(())
}

/// Where the next head is. What could be understood in two ways is refused.
fn behind(request: &Request<'_, '_>) -> Result<Behind, Refusal> {
    let listed = |text: &[u8]| text.split(|byte| *byte == b',').any(|part| is(part, "upgrade"));
    let upgrade = values(request, "connection").any(listed) && values(request, "upgrade").next().is_some();
    // No page can ask for this, except as a WebSocket, whose connection is used for nothing else.
    if upgrade {
        return Ok(Behind::Anything);
    }
    let (mut codings, mut lengths) = (values(request, "transfer-encoding"), values(request, "content-length"));
    match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
        (None, _, None, _) => Ok(Behind::Length(0)),
        (None, _, Some(length), None) => length_of(length).map(Behind::Length).ok_or(Refusal::bad("send one length")),
        (Some(coding), None, None, _) if is(coding, "chunked") => Ok(Behind::Chunks),
        (Some(_), _, None, _) => Err(Refusal::coding()),
        _ => Err(Refusal::bad("send one Content-Length or `Transfer-Encoding: chunked`, not both")),
    }
}

fn length_of(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn is(text: &[u8], word: &str) -> bool {
    text.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

fn values<'h, 'b>(request: &'h Request<'h, 'b>, name: &'static str) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
    let named = move |header: &&Header<'b>| header.name.eq_ignore_ascii_case(name);
    request.headers.iter().filter(named).map(|header| header.value.trim_ascii())
}
