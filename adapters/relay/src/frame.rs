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
    /// Longer than any message of the protocol.
    TooLong,
}

impl Fault {
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Text => 1003,
            Self::TooLong => 1009,
        }
    }
}

/// What a frame brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'b> {
    /// A whole binary message.
    Message(&'b mut [u8]),
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
    fragments: Option<Vec<u8>>,
    whole: Vec<u8>,
}

impl Decoder {
    /// Reads the frame that `buf` starts with and says how long it was; `None` where it is not
    /// complete yet. No message may be longer than `limit` bytes.
    pub(crate) fn read<'b>(
        &'b mut self,
        buf: &'b mut [u8],
        limit: usize,
    ) -> Result<Option<(Incoming<'b>, usize)>, Fault> {
        let Some(head) = parse_head(buf, limit)? else { return Ok(None) };
        let Some(payload) = buf.get_mut(head.start..head.end) else { return Ok(None) };
        unmask(payload, head.mask);
        let incoming = match head.opcode {
            BINARY | CONTINUATION => self.assemble(&head, payload, limit)?,
            PING => Incoming::Ping(payload),
            CLOSE => Incoming::Close(match *payload {
                [] => 1005,
                [a, b, ..] => u16::from_be_bytes([a, b]),
                [_] => return Err(Fault::Protocol),
            }),
            _ => Incoming::Nothing,
        };
        Ok(Some((incoming, head.end)))
    }

    fn assemble<'b>(&'b mut self, head: &Head, payload: &'b mut [u8], limit: usize) -> Result<Incoming<'b>, Fault> {
        match (head.opcode == BINARY, self.fragments.is_some()) {
            (true, false) if head.fin => return Ok(Incoming::Message(payload)),
            (true, false) => self.fragments = Some(payload.to_vec()),
            (false, true) => {
                let parts = self.fragments.get_or_insert_default();
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
        self.whole = self.fragments.take().unwrap_or_default();
        Ok(Incoming::Message(&mut self.whole))
    }
}

/// Reads a frame's header and checks all that can be checked before its payload is there.
fn parse_head(buf: &[u8], limit: usize) -> Result<Option<Head>, Fault> {
    let [first, second, rest @ ..] = buf else { return Ok(None) };
    let (opcode, fin) = (first & 0x0f, first & FIN != 0);
    if first & RESERVED != 0 || second & MASKED == 0 {
        return Err(Fault::Protocol);
    }
    let (len, rest) = match (second & !MASKED, rest) {
        (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
        (127, [a, b, c, d, e, f, g, h, rest @ ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest),
        (126 | 127, _) => return Ok(None),
        (short, rest) => (u64::from(short), rest),
    };
    let limit = match opcode {
        TEXT => return Err(Fault::Text),
        BINARY | CONTINUATION => limit,
        CLOSE | PING | PONG if fin && len <= MAX_CONTROL as u64 => MAX_CONTROL,
        _ => return Err(Fault::Protocol),
    };
    let len = usize::try_from(len).ok().filter(|len| *len <= limit).ok_or(Fault::TooLong)?;
    let [a, b, c, d, rest @ ..] = rest else { return Ok(None) };
    let start = buf.len() - rest.len();
    Ok(Some(Head { opcode, fin, mask: [*a, *b, *c, *d], start, end: start + len }))
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
    emit_head(CLOSE, 2, out);
    out.extend_from_slice(&code.to_be_bytes());
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
        assert_eq!(fault(&[FIN | BINARY, MASKED | 127, 255, 0, 0, 0, 0, 0, 0, 0]), Fault::TooLong);
        assert_eq!(fault(&client(FIN | CLOSE, &[3])), Fault::Protocol);
    }

    #[test]
    fn close_gives_its_code() {
        let code = |payload: &[u8]| match Decoder::default().read(&mut client(FIN | CLOSE, payload), 9) {
            Ok(Some((Incoming::Close(code), _))) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(&[]), 1005);
        assert_eq!(code(&[3, 232, b'b', b'y', b'e']), 1000);
    }
}
