//! WebSocket frames as a server reads and writes them (RFC 6455 section 5), without I/O.
//!
//! Written for the relay's hot path: messages are parsed and unmasked where the socket's bytes
//! lie, and leave as bytes with their header in front, so that an idle link needs no buffer at all.

use homing_core::hop::MAX_MESSAGE;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The most payload of a ping, pong or close frame.
const MAX_CONTROL: usize = 125;

/// Why a peer's frames end its link; each has a close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Against RFC 6455: unmasked, reserved bits, a fragment out of place.
    Protocol,
    /// A text frame; links are binary.
    Text,
    /// A text, or a reason to close, that is not UTF-8.
    NotUtf8,
    /// Longer than any message of the protocol.
    TooLong,
}

impl Fault {
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Text => 1003,
            Self::NotUtf8 => 1007,
            Self::TooLong => 1009,
        }
    }
}

/// What a frame brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'b> {
    /// A whole binary message.
    Message(&'b mut [u8]),
    /// A whole text; only where the decoder takes any.
    Text(&'b mut [u8]),
    /// A ping, to be answered with the same payload.
    Ping(&'b [u8]),
    /// The peer ends the link; its code, 1005 where it gave none.
    Close(u16),
    /// Nothing to act on: a pong, or a fragment that was put aside.
    Nothing,
}

struct Head {
    opcode: u8,
    fin: bool,
    mask: [u8; 4],
    start: usize,
    end: usize,
}

/// Cuts a byte stream into messages; holds nothing but the fragments of an unfinished one.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The opcode of the unfinished message, and what has come of it.
    fragments: Option<(u8, Vec<u8>)>,
    whole: Vec<u8>,
    takes_texts: bool,
}

impl Decoder {
    /// One that takes texts as well, as every test of the standard does.
    #[allow(dead_code, reason = "links are binary; the echo that is tested for conformance takes both")]
    pub(crate) fn with_texts() -> Self {
        Self { takes_texts: true, ..Self::default() }
    }

    /// Reads the frame that `buf` starts with and says how long it was; `None` where it is not
    /// complete yet. No message may be longer than `limit` bytes.
    pub(crate) fn read<'b>(
        &'b mut self,
        buf: &'b mut [u8],
        limit: usize,
    ) -> Result<Option<(Incoming<'b>, usize)>, Fault> {
        let Some(head) = self.parse_head(buf, limit)? else { return Ok(None) };
        let Some(payload) = buf.get_mut(head.start..head.end) else { return Ok(None) };
        unmask(payload, head.mask);
        let incoming = match head.opcode {
            TEXT | BINARY | CONTINUATION => self.assemble(&head, payload, limit)?,
            PING => Incoming::Ping(payload),
            CLOSE => Incoming::Close(parse_close(payload)?),
            _ => Incoming::Nothing,
        };
        Ok(Some((incoming, head.end)))
    }

    fn assemble<'b>(&'b mut self, head: &Head, payload: &'b mut [u8], limit: usize) -> Result<Incoming<'b>, Fault> {
        match (head.opcode != CONTINUATION, &mut self.fragments) {
            (true, None) if head.fin => return whole(head.opcode, payload),
            (true, None) => self.fragments = Some((head.opcode, payload.to_vec())),
            (false, Some((_, parts))) => {
                if parts.len() + payload.len() > limit {
                    return Err(Fault::TooLong);
                }
                parts.extend_from_slice(payload);
            }
            _ => return Err(Fault::Protocol),
        }
        if !head.fin {
            return Ok(Incoming::Nothing);
        }
        let (opcode, parts) = self.fragments.take().unwrap_or_default();
        self.whole = parts;
        whole(opcode, &mut self.whole)
    }

    /// Reads a frame's header and checks all that can be checked before its payload is there.
    fn parse_head(&self, buf: &[u8], limit: usize) -> Result<Option<Head>, Fault> {
        let [first, second, rest @ ..] = buf else { return Ok(None) };
        let (opcode, fin) = (first & 0x0f, first & FIN != 0);
        if first & RESERVED != 0 || second & MASKED == 0 {
            return Err(Fault::Protocol);
        }
        // A length has one spelling, the shortest, and none has its highest bit set.
        let (len, least, rest) = match (second & !MASKED, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 126, rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 0x1_0000, rest)
            }
            (126 | 127, _) => return Ok(None),
            (short, rest) => (u64::from(short), 0, rest),
        };
        if len < least || len > i64::MAX as u64 {
            return Err(Fault::Protocol);
        }
        let limit = match opcode {
            TEXT if !self.takes_texts => return Err(Fault::Text),
            TEXT | BINARY | CONTINUATION => limit,
            CLOSE | PING | PONG if fin && len <= MAX_CONTROL as u64 => MAX_CONTROL,
            _ => return Err(Fault::Protocol),
        };
        let len = usize::try_from(len).ok().filter(|len| *len <= limit).ok_or(Fault::TooLong)?;
        let [a, b, c, d, rest @ ..] = rest else { return Ok(None) };
        let start = buf.len() - rest.len();
        Ok(Some(Head { opcode, fin, mask: [*a, *b, *c, *d], start, end: start + len }))
    }
}

fn whole(opcode: u8, payload: &mut [u8]) -> Result<Incoming<'_>, Fault> {
    match opcode {
        TEXT if core::str::from_utf8(payload).is_err() => Err(Fault::NotUtf8),
        TEXT => Ok(Incoming::Text(payload)),
        _ => Ok(Incoming::Message(payload)),
    }
}

/// The code of a close frame; 1005 where it has none.
fn parse_close(payload: &[u8]) -> Result<u16, Fault> {
    let [a, b, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(1005) } else { Err(Fault::Protocol) };
    };
    let code = u16::from_be_bytes([*a, *b]);
    // What the standard has given out, what is registered, and what is for private use.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::Protocol);
    }
    if core::str::from_utf8(reason).is_err() {
        return Err(Fault::NotUtf8);
    }
    Ok(code)
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
    // A rest of five to seven bytes is longer than the mask.
    for (byte, key) in rest.iter_mut().skip(4).zip(mask) {
        *byte ^= key;
    }
}

/// The most bytes that [`emit_message`] puts before a message.
pub(crate) const MAX_HEADER: usize = 4;

/// Appends a binary message with its header.
pub(crate) fn emit_message(message: &[u8], out: &mut Vec<u8>) {
    debug_assert!(message.len() <= MAX_MESSAGE, "longer than any message");
    out.reserve(MAX_HEADER + message.len());
    emit_head(BINARY, message.len(), out);
    out.extend_from_slice(message);
}

/// Appends the answer to a ping.
pub(crate) fn emit_pong(payload: &[u8], out: &mut Vec<u8>) {
    emit_head(PONG, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a close frame.
pub(crate) fn emit_close(code: u16, out: &mut Vec<u8>) {
    emit_close_saying(code, "", out);
}

/// The same with a reason in words, of 123 bytes at most.
pub(crate) fn emit_close_saying(code: u16, reason: &str, out: &mut Vec<u8>) {
    emit_head(CLOSE, 2 + reason.len(), out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

fn emit_head(opcode: u8, len: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 70_000;

    fn client(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..126 => frame.push(MASKED | n as u8),
            n @ 126..65_536 => {
                frame.push(MASKED | 126);
                frame.extend((n as u16).to_be_bytes());
            }
            n => {
                frame.push(MASKED | 127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
        frame
    }

    #[test]
    fn messages_of_every_length_class_come_out_whole() {
        for len in [0, 1, 3, 4, 5, 6, 7, 8, 9, 15, 125, 126, 16_417, 65_535, 65_536] {
            let text: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut frame = client(FIN | BINARY, &text);
            let whole = frame.len();
            for cut in [0, 1, 2, 5, whole / 2, whole - 1] {
                let mut part = frame[..cut].to_vec();
                assert_eq!(Decoder::default().read(&mut part, LIMIT), Ok(None), "{len} cut at {cut}");
            }
            frame.extend(b"next");
            let mut expected = text.clone();
            let read =
                Decoder::default().read(&mut frame, LIMIT).unwrap() == Some((Incoming::Message(&mut expected), whole));
            assert!(read, "{len}");
        }
    }

    #[test]
    fn fragments_are_joined_and_counted() {
        let mut decoder = Decoder::default();
        let step = |decoder: &mut Decoder, first, text: &[u8]| {
            let mut frame = client(first, text);
            decoder.read(&mut frame, 8).map(|read| match read {
                Some((Incoming::Message(m), _)) => Some(m.to_vec()),
                _ => None,
            })
        };
        assert_eq!(step(&mut decoder, BINARY, b"ab"), Ok(None));
        assert_eq!(step(&mut decoder, FIN | PING, b"?"), Ok(None), "control frames come between");
        assert_eq!(step(&mut decoder, CONTINUATION, b"cd"), Ok(None));
        assert_eq!(step(&mut decoder, FIN | CONTINUATION, b"ef"), Ok(Some(b"abcdef".to_vec())));
        assert_eq!(step(&mut decoder, FIN | CONTINUATION, b"x"), Err(Fault::Protocol));
        assert_eq!(step(&mut decoder, BINARY, b"12345"), Ok(None));
        assert_eq!(step(&mut decoder, CONTINUATION, b"6789"), Err(Fault::TooLong));
        assert_eq!(step(&mut decoder, FIN | BINARY, b"x"), Err(Fault::Protocol), "inside a message");
    }

    #[test]
    fn faults_are_seen_before_the_payload_arrives() {
        let fault = |bytes: &[u8]| Decoder::default().read(&mut bytes.to_vec(), 100).unwrap_err();
        assert_eq!(fault(&[FIN | TEXT, MASKED]), Fault::Text);
        assert_eq!(fault(&[FIN | BINARY, 5]), Fault::Protocol, "unmasked");
        assert_eq!(fault(&[FIN | BINARY | 0x40, MASKED]), Fault::Protocol, "compressed");
        assert_eq!(fault(&[FIN | 3, MASKED]), Fault::Protocol, "unknown opcode");
        assert_eq!(fault(&[PING, MASKED]), Fault::Protocol, "a ping in fragments");
        assert_eq!(fault(&[FIN | PING, MASKED | 126, 0, 126]), Fault::Protocol);
        assert_eq!(fault(&[FIN | BINARY, MASKED | 101]), Fault::TooLong);
        assert_eq!(fault(&[FIN | BINARY, MASKED | 127, 127, 0, 0, 0, 0, 0, 0, 0]), Fault::TooLong);
        assert_eq!(fault(&[FIN | BINARY, MASKED | 127, 255, 0, 0, 0, 0, 0, 0, 0]), Fault::Protocol, "the highest bit");
        assert_eq!(fault(&[FIN | BINARY, MASKED | 126, 0, 125]), Fault::Protocol, "a length spelled too long");
        assert_eq!(fault(&[FIN | BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0, 255, 255]), Fault::Protocol);
        assert_eq!(fault(&client(FIN | CLOSE, &[3])), Fault::Protocol);
    }

    #[test]
    fn texts_are_taken_where_they_are_wanted_and_are_utf8() {
        let mut decoder = Decoder::with_texts();
        let mut step = |first, payload: &[u8]| match decoder.read(&mut client(first, payload), 100) {
            Ok(Some((Incoming::Text(text), _))) => Ok(Some(text.to_vec())),
            Ok(_) => Ok(None),
            Err(fault) => Err(fault),
        };
        assert_eq!(step(FIN | TEXT, b"h\xc3\xa4"), Ok(Some(b"h\xc3\xa4".to_vec())));
        assert_eq!(step(FIN | TEXT, b"h\xe4"), Err(Fault::NotUtf8));
        assert_eq!(step(TEXT, b"\xc3"), Ok(None));
        assert_eq!(step(FIN | CONTINUATION, b"\xa4"), Ok(Some(b"\xc3\xa4".to_vec())), "a letter in two fragments");
    }

    #[test]
    fn close_gives_its_code() {
        let code = |payload: &[u8]| match Decoder::default().read(&mut client(FIN | CLOSE, payload), 9) {
            Ok(Some((Incoming::Close(code), _))) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(&[]), 1005);
        assert_eq!(code(&[3, 232, b'b', b'y', b'e']), 1000);
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535_u16] {
            assert_eq!(parse_close(&code.to_be_bytes()), Err(Fault::Protocol), "{code} is never sent");
        }
        assert_eq!(parse_close(&[3, 232, 0xff]), Err(Fault::NotUtf8));
    }
}
