//! Who may come in by a forward to an HTTP service. Everything on this machine reaches a local port, pages in a browser
//! too: they send requests to it, or have a name of their own lead to it and read the answers (DNS rebinding). The host sets
//! `Host` to what the service is called there, so the service could not tell; the device does:
//!
//! | a request | is |
//! |---|---|
//! | for a name that can be registered on the internet, unless it was allowed | 421 |
//! | with an `Origin` that is not this machine, the name asked for, or one that was allowed | 403 |
//! | anything else: programs, links from other sites, a page's own requests | let through, byte by byte as it is |
//!
//! Every request is looked at: a browser uses a connection for one name only, but for requests of any page to it.

mod head;
mod name;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use httparse::{EMPTY_HEADER, Error, Request, Status, parse_chunk_size};

pub use name::{HostName, NotAName};
pub(crate) use refusal::Refusal;

use head::Behind;

/// The longest head, and the most bytes that are held back.
pub(crate) const MAX_HEAD: usize = 32 * 1024;
/// As many as the host takes.
const MAX_HEADERS: usize = 200;

/// What comes up one connection, and how far it may go.
#[derive(Debug)]
pub(crate) struct Door {
    next: Next,
    allowed: Arc<[HostName]>,
    /// The host has said that it is HTTP.
    sure: bool,
    /// Bytes of an unfinished head that were looked at.
    seen: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Not known yet whether it is HTTP.
    Unknown,
    Head,
    Body(u64),
    ChunkSize,
    /// With the line's end behind it.
    Chunk(u64),
    Trailers,
    /// What is nobody's business here.
    Anything,
}

impl Door {
    /// Lets everything pass.
    pub(crate) fn open() -> Self {
        Self { next: Next::Anything, allowed: Arc::default(), sure: true, seen: 0 }
    }

    /// In front of an HTTP service.
    pub(crate) fn http(allowed: Arc<[HostName]>) -> Self {
        Self { next: Next::Head, allowed, sure: true, seen: 0 }
    }

    /// In front of a service of which the host has not said what it speaks: what comes first is taken for HTTP if it looks
    /// like it. Nothing else is ever held back.
    pub(crate) fn unknown(allowed: Arc<[HostName]>) -> Self {
        Self { next: Next::Unknown, allowed, sure: false, seen: 0 }
    }

    /// The service has said something: where that comes before any request, it is not HTTP.
    pub(crate) const fn hear_service(&mut self) {
        if matches!(self.next, Next::Unknown) {
            self.next = Next::Anything;
        }
    }

    /// How many of these bytes, the ones held back before and new ones, may go on. The rest is to be shown again when there
    /// is more; it is shorter than [`MAX_HEAD`].
    ///
    /// # Errors
    /// Why they may not. Nothing after that may pass.
    pub(crate) fn admit(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut rest = bytes;
        while !rest.is_empty() && !matches!(self.next, Next::Anything) {
            let Some(len) = self.step(rest)? else {
                // Still unfinished.
                return if rest.len() < MAX_HEAD {
                    Ok(bytes.len().saturating_sub(rest.len()))
                } else {
                    Err(Refusal::too_large())
                };
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        Ok(bytes.len())
    }

    /// How many bytes belong together at the front; none where more have to come.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        Ok(match self.next {
            Next::Unknown => {
                self.next = if looks_like_http(bytes) { Next::Head } else { Next::Anything };
                Some(0)
            }
            Next::Head => self.head(bytes)?,
            Next::Body(left) => Some(self.pass(bytes, left, Next::Body, Next::Head)),
            Next::ChunkSize => match parse_chunk_size(bytes) {
                Ok(Status::Complete((len, size))) => {
                    self.next = if size == 0 { Next::Trailers } else { Next::Chunk(size.saturating_add(2)) };
                    Some(len)
                }
                Ok(Status::Partial) => None,
                Err(_) => return Err(Refusal::bad("the body is not in chunks")),
            },
            Next::Chunk(left) => Some(self.pass(bytes, left, Next::Chunk, Next::ChunkSize)),
            Next::Trailers => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    if matches!(bytes.get(..end), Some(b"" | b"\r")) {
                        self.next = Next::Head;
                    }
                    Some(end.saturating_add(1))
                }
                None => None,
            },
            Next::Anything => Some(bytes.len()),
        })
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        // A head that trickles in is not read anew for every byte.
        if self.seen > 0 && !bytes.get(self.seen..).unwrap_or_default().contains(&b'\n') {
            self.seen = bytes.len();
            return Ok(None);
        }
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(Status::Complete(len)) => {
                (self.seen, self.sure) = (0, true);
                self.next = match head::judge(&request, &self.allowed)? {
                    Behind::Length(0) => Next::Head,
                    Behind::Length(len) => Next::Body(len),
                    Behind::Chunks => Next::ChunkSize,
                    Behind::Anything => Next::Anything,
                };
                Ok(Some(len))
            }
            Ok(Status::Partial) => {
                self.seen = bytes.len();
                Ok(None)
            }
            Err(Error::TooManyHeaders) => Err(Refusal::too_large()),
            // A browser's can be read.
            Err(_) if !self.sure => {
                self.next = Next::Anything;
                Ok(Some(0))
            }
            // The host would say the same, if it reads it in the same way.
            Err(_) => Err(Refusal::bad("this is a forward to an HTTP service, and that is no request of HTTP/1.1")),
        }
    }

    /// Lets a part of what is `left` pass.
    fn pass(&mut self, bytes: &[u8], left: u64, more: fn(u64) -> Next, then: Next) -> usize {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left.saturating_sub(u64::try_from(len).unwrap_or(left));
        self.next = if left == 0 { then } else { more(left) };
        len
    }
}

/// Whether these first bytes are a browser's: a method, a space, and a path.
fn looks_like_http(bytes: &[u8]) -> bool {
    const LONGEST: usize = 64;
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let method = bytes.iter().take(LONGEST).take_while(|byte| token(byte)).count();
    // Before it there may be empty lines, but no browser sends them.
    method > 0 && matches!(bytes.get(method..), Some([b' ', b'/' | b'*' | b'h' | b'H', ..]))
}
