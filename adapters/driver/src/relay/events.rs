//! A waiting link's bytes: outer frames as events of a `text/event-stream` (protocol 12.7), written by relays and read
//! by hosts.

use core::time::Duration;

use crate::retry;

/// The path that a relay serves waiting links under.
pub const EVENTS_PATH: &str = "/homing/1/events";

/// Says that the relay is there, and nothing else.
pub const BEAT: &[u8] = b":\n\n";

/// Bytes of a waiting link's secret name.
pub const LINK_ID_LEN: usize = 16;

/// The longest line; the longest event that hosts are sent takes less than half of it.
const MAX_LINE: usize = 1024;

/// Appends the event that names the link.
pub fn emit_link(id: &[u8; LINK_ID_LEN], out: &mut Vec<u8>) {
    emit("link", id, out);
}

/// Appends an outer frame.
pub fn emit_frame(frame: &[u8], out: &mut Vec<u8>) {
    emit("frame", frame, out);
}

fn emit(name: &str, data: &[u8], out: &mut Vec<u8>) {
    for part in ["event: ", name, "\ndata: ", &base64url(data), "\n\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Something that a relay said.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// The link's secret name, as its `Authorization` has it.
    Link(Box<str>),
    /// An outer frame.
    Frame(Vec<u8>),
}

// The name of a link lets whoever has it speak for the host.
impl core::fmt::Debug for Event {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Link(_) => "Link(..)",
            Self::Frame(_) => "Frame(..)",
        })
    }
}

/// The stream is none of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay's events make no sense; is something in between that changes them?")]
pub struct BadEvents;

/// Cuts a stream of bytes into events. Holds one line and one event at most.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
    retry: Option<Duration>,
}

impl EventReader {
    /// Takes from `bytes` until an event is whole; `None` where all were taken before.
    ///
    /// # Errors
    /// [`BadEvents`]: hang up.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, BadEvents> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if byte != b'\n' {
                if self.line.len() >= MAX_LINE {
                    return Err(BadEvents);
                }
                self.line.push(byte);
                continue;
            }
            let mut line = core::mem::take(&mut self.line);
            line.pop_if(|last| *last == b'\r');
            if line.is_empty() {
                if let Some(event) = self.finish()? {
                    return Ok(Some(event));
                }
            } else {
                self.hear(&line)?;
            }
        }
        Ok(None)
    }

    /// How long there is no use in coming back once the stream has ended, where the relay said so: no more than
    /// [`LONGEST_TOLD`](homing_core::backoff::LONGEST_TOLD).
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry
    }

    fn hear(&mut self, line: &[u8]) -> Result<(), BadEvents> {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(at);
        let value = value.strip_prefix(b":").unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            // Nothing that a relay says has two lines.
            b"data" if self.data.replace(value.to_vec()).is_some() => return Err(BadEvents),
            b"retry" => self.retry = retry::event(value).or(self.retry),
            // Comments, and fields to come.
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Event>, BadEvents> {
        let (name, data) = (core::mem::take(&mut self.name), self.data.take().unwrap_or_default());
        match &name[..] {
            b"link" => {
                let id = String::from_utf8(data).map_err(|_| BadEvents)?;
                let is_name = parse_base64url(id.as_bytes()).is_some_and(|id| id.len() >= LINK_ID_LEN);
                if is_name { Ok(Some(Event::Link(id.into()))) } else { Err(BadEvents) }
            }
            b"frame" => parse_base64url(&data).map(|frame| Some(Event::Frame(frame))).ok_or(BadEvents),
            // Nothing, or something to come.
            _ => Ok(None),
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..=group.len() {
            let place = (bits >> (18 - 6 * digit)) & 63;
            text.push(ALPHABET.get(place as usize).copied().unwrap_or_default().into());
        }
    }
    text
}

/// The bytes of a text without padding; `None` where it is not as `base64url` writes it.
#[must_use]
pub fn parse_base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        if group.len() == 1 {
            return None;
        }
        let mut bits = 0u32;
        for (at, digit) in group.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == digit)?;
            bits |= u32::try_from(value).ok()? << (18 - 6 * at);
        }
        let [_, whole @ ..] = bits.to_be_bytes();
        let (taken, left) = whole.split_at_checked(group.len() - 1)?;
        // One text for each value.
        if left.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(taken);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(stream: &[u8], step: usize) -> Result<Vec<Event>, BadEvents> {
        let (mut reader, mut events) = (EventReader::default(), Vec::new());
        for mut bytes in stream.chunks(step) {
            while let Some(event) = reader.read(&mut bytes)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let frames: Vec<Vec<u8>> = (0..200usize).map(|len| (0..len).map(|n| (n * 37 + len) as u8).collect()).collect();
        let mut stream = Vec::new();
        emit_link(&[0xfb; LINK_ID_LEN], &mut stream);
        for frame in &frames {
            emit_frame(frame, &mut stream);
            stream.extend_from_slice(BEAT);
        }
        let link = Event::Link("-_v7-_v7-_v7-_v7-_v7-w".into());
        let expected: Vec<_> = core::iter::once(link).chain(frames.into_iter().map(Event::Frame)).collect();
        for step in [1, 2, 7, stream.len()] {
            assert_eq!(read_all(&stream, step).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn the_bytes_are_as_the_specification_has_them() {
        let mut out = Vec::new();
        emit_frame(&[0x91, 0, 0, 0, 0], &mut out);
        assert_eq!(out, b"event: frame\ndata: kQAAAAA\n\n");
    }

    #[test]
    fn other_ways_to_write_it_are_understood() {
        let stream = b"retry: 5\r\nid: 1\r\nevent:frame\r\ndata:kQAAAAA\r\n\r\nevent: news\ndata: !\n\n\n\n: beat\n\n";
        assert_eq!(read_all(stream, 3), Ok(vec![Event::Frame(vec![0x91, 0, 0, 0, 0])]));
    }

    #[test]
    fn what_is_said_of_coming_back_is_heard() {
        for (stream, told) in [
            (&b"retry: 5000\n\n"[..], Some(5000)),
            (b":\n\nretry:99999999999999\r\n\r\n", Some(300_000)),
            (b"retry: 7000\n\nretry: soon\n\n", Some(7000)),
            (b"retry\n\nretry: -1\n\n", None),
        ] {
            let mut reader = EventReader::default();
            assert_eq!(reader.read(&mut &*stream), Ok(None));
            assert_eq!(reader.retry_after(), told.map(Duration::from_millis));
        }
    }

    #[test]
    fn nonsense_ends_the_link_and_takes_no_room() {
        let long = [&b"data: "[..], &[b'A'; MAX_LINE]].concat();
        for stream in [
            &b"event: frame\ndata: kQAAAAB\n\n"[..],
            b"event: frame\ndata: kQAAA\n\n",
            b"event: frame\ndata: kQAAAAA=\n\n",
            b"event: frame\ndata: kQ\ndata: kQ\n\n",
            b"event: link\ndata: kQAAAAA\n\n",
            b"event: link\n\n",
            &long,
        ] {
            assert_eq!(read_all(stream, 5), Err(BadEvents), "{}", String::from_utf8_lossy(stream));
        }
    }
}
