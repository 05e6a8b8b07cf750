//! Answers to requests that may not pass.

use super::name::HostName;

/// Why a request may not pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: &'static str,
    text: String,
}

impl Refusal {
    fn new(status: &'static str, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// The client does not speak as it should.
    pub(super) fn bad(text: &str) -> Self {
        Self::new("400 Bad Request", text)
    }

    /// A name that anybody can have lead here.
    pub(super) fn misdirected(asked: Option<&HostName>) -> Self {
        let text = match asked {
            None => "this forward is asked for by the address that it listens on, not by what is in Host".into(),
            Some(name) => format!(
                "{name} is no name of this forward: ask for it by the address that it listens on, or start it with \
                 --allow-host {name}"
            ),
        };
        Self::new("421 Misdirected Request", text)
    }

    /// A page of another site.
    pub(super) fn foreign(page: Option<&HostName>) -> Self {
        let text = match page {
            None => "pages that do not say where they are from may not use this forward".into(),
            Some(name) => {
                format!("pages from {name} may not use this forward; start it with --allow-host {name} if they should")
            }
        };
        Self::new("403 Forbidden", text)
    }

    /// A body whose end cannot be found.
    pub(super) fn coding() -> Self {
        Self::new("501 Not Implemented", "send no Transfer-Encoding other than chunked")
    }

    /// A head that does not end.
    pub(super) fn too_large() -> Self {
        Self::new(
            "431 Request Header Fields Too Large",
            "the head of a request has at most 32 KiB and 200 headers here",
        )
    }

    /// For the log.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The whole answer, after which the connection ends.
    pub(crate) fn answer(&self) -> Vec<u8> {
        let Self { status, text } = self;
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{text}\n",
            text.len().saturating_add(1)
        )
        .into_bytes()
    }
}
