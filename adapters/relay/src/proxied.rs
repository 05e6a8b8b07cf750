//! The PROXY protocol, versions 1 and 2: what a proxy in front says before a connection's first byte about whom it speaks
//! for. Read byte by byte where that is needed: what follows the header belongs to somebody else, such as TLS.

use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::io;

/// What version 2 begins with; no text protocol does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const MAX_LINE: usize = 107;
/// Bytes behind the fixed part of version 2: more than addresses and all that proxies are known to add.
const MAX_REST: usize = 2048;
/// Bytes of version 2 before what depends on the kind of address.
const FIXED: usize = 16;

/// A stream that a header is read from.
pub(crate) trait Source {
    /// Reads what is there, at most what `into` holds; 0 at the end.
    fn read(&mut self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// The same without taking it away.
    fn peek(&mut self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

/// Reads the header. The address that the proxy speaks for; none where it speaks for itself, or does not tell.
pub(crate) async fn read(from: &mut impl Source) -> io::Result<Option<IpAddr>> {
    let mut start = [0; SIGNATURE.len()];
    exact(from, &mut start).await?;
    if start == SIGNATURE {
        let mut rest = [0; FIXED - SIGNATURE.len()];
        exact(from, &mut rest).await?;
        let [command, family, high, low] = rest;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > MAX_REST {
            return Err(malformed());
        }
        let mut addresses = vec![0; len];
        exact(from, &mut addresses).await?;
        return parse_binary(command, family, &addresses).ok_or_else(malformed);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(malformed());
    }
    let mut line = start.to_vec();
    // What is there is looked at first, so that nothing behind the line's end is taken.
    while !line.ends_with(b"\n") {
        let mut ahead = [0; MAX_LINE];
        let room = ahead.get_mut(..MAX_LINE.saturating_sub(line.len())).unwrap_or_default();
        let seen = if room.is_empty() { 0 } else { from.peek(room).await? };
        let seen = room.get(..seen).unwrap_or_default();
        let take = seen.iter().position(|byte| *byte == b'\n').map_or(seen.len(), |at| at + 1);
        if take == 0 {
            return Err(malformed());
        }
        exact(from, ahead.get_mut(..take).unwrap_or_default()).await?;
        line.extend_from_slice(ahead.get(..take).unwrap_or_default());
    }
    parse_line(&line).ok_or_else(malformed)
}

async fn exact(from: &mut impl Source, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        let len = from.read(into).await?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into = into.get_mut(len..).unwrap_or_default();
    }
    Ok(())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

/// `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and anything.
fn parse_line(line: &[u8]) -> Option<Option<IpAddr>> {
    let line = core::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let (family, is_known) = match words.next()? {
        "UNKNOWN" => return Some(None),
        "TCP4" => ("TCP4", true),
        "TCP6" => ("TCP6", true),
        _ => ("", false),
    };
    let source: IpAddr = words.next()?.parse().ok()?;
    let destination: IpAddr = words.next()?.parse().ok()?;
    let (_, _): (u16, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let fits = |address: IpAddr| address.is_ipv4() == (family == "TCP4");
    let whole = is_known && words.next().is_none() && fits(source) && fits(destination);
    whole.then_some(Some(source.to_canonical()))
}

/// What follows the signature of version 2: command, family and transport, addresses and more.
fn parse_binary(command: u8, family: u8, rest: &[u8]) -> Option<Option<IpAddr>> {
    match command {
        0x20 => return Some(None), // of the proxy itself, such as to see whether the relay is there
        0x21 => {}
        _ => return None,
    }
    match family {
        0x11 => {
            let (source, _) = rest.split_first_chunk::<4>().filter(|_| rest.len() >= 12)?;
            Some(Some(Ipv4Addr::from(*source).into()))
        }
        0x21 => {
            let (source, _) = rest.split_first_chunk::<16>().filter(|_| rest.len() >= 36)?;
            Some(Some(IpAddr::from(Ipv6Addr::from(*source)).to_canonical()))
        }
        // Unspecified, and Unix sockets: nobody that could be told from others.
        0x00 => Some(None),
        0x31 => (rest.len() >= 216).then_some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Bytes(Vec<u8>, usize);

    impl Source for Bytes {
        async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = self.peek(into).await?;
            self.0.drain(..len);
            Ok(len)
        }

        async fn peek(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(into.len()).min(self.0.len());
            into[..len].copy_from_slice(&self.0[..len]);
            Ok(len)
        }
    }

    /// What comes of these bytes, in pieces of any size; and what is left of them.
    fn heard(bytes: &[u8]) -> Result<(Option<String>, Vec<u8>), io::ErrorKind> {
        let all = [1, 2, 3, 7, 16, 4096].map(|piece| {
            let mut source = Bytes(bytes.to_vec(), piece);
            let said = {
                let read = core::pin::pin!(read(&mut source));
                let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
                let core::task::Poll::Ready(said) = read.poll(&mut cx) else { panic!("it waits for nothing") };
                said
            };
            said.map(|said| (said.map(|said| said.to_string()), source.0)).map_err(|error| error.kind())
        });
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        all[0].clone()
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    fn from(bytes: &[u8]) -> Option<String> {
        let (said, left) = heard(&[bytes, b"GET / HTTP/1.1\r\n"].concat()).unwrap();
        assert_eq!(left, b"GET / HTTP/1.1\r\n", "what follows belongs to somebody else");
        said
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 1, 187];

    #[test]
    fn a_line_tells_the_address() {
        assert_eq!(from(b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n").unwrap(), "192.0.2.7");
        assert_eq!(from(b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n").unwrap(), "2001:db8::7");
        assert_eq!(from(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 56324 443\r\n").unwrap(), "192.0.2.7");
        assert_eq!(from(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(from(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), None);
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 16));
        assert_eq!((longest.len(), from(longest.as_bytes())), (MAX_LINE, None));
    }

    #[test]
    fn bytes_tell_the_address() {
        assert_eq!(from(&binary(0x21, 0x11, &V4)).unwrap(), "192.0.2.7");
        assert_eq!(from(&binary(0x21, 0x11, &[&V4[..], &[4; 700]].concat())).unwrap(), "192.0.2.7", "with more behind");
        let v6 = [&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets()[..], &[0; 20]].concat();
        assert_eq!(from(&binary(0x21, 0x21, &v6)).unwrap(), "2001:db8::7");
        let mapped = [&Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets()[..], &[0; 20]].concat();
        assert_eq!(from(&binary(0x21, 0x21, &mapped)).unwrap(), "192.0.2.7");
        assert_eq!(from(&binary(0x20, 0x11, &V4)), None, "the proxy's own");
        assert_eq!(from(&binary(0x20, 0x00, &[])), None);
        assert_eq!(from(&binary(0x21, 0x00, &[])), None);
        assert_eq!(from(&binary(0x21, 0x31, &[0; 216])), None);
    }

    #[test]
    fn anything_else_is_refused() {
        let short_v6 = binary(0x21, 0x21, &[0; 35]);
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 15));
        let lines: [&[u8]; 22] = [
            b"GET /homing/1 HTTP/1.1\r\n\r\n",
            b"PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 -2\r\n",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 relay.example ::1 1 2\r\n",
            b"PROXY \xff\xfe\xfd\xfc\xfb\xfa\r\n",
            b"proxy tcp4 192.0.2.7 10.0.0.1 1 2\r\n",
            long.as_bytes(),
            &binary(0x22, 0x11, &V4),
            &binary(0x11, 0x11, &V4),
            &binary(0x21, 0x12, &V4),
            &binary(0x21, 0x11, &V4[..11]),
            &short_v6,
            &binary(0x21, 0x31, &[0; 215]),
            &binary(0x21, 0x11, &[0; MAX_REST + 1]),
        ];
        for line in lines {
            let shown = String::from_utf8_lossy(line);
            assert_eq!(heard(line).map(|heard| heard.0), Err(io::ErrorKind::InvalidData), "{shown}");
        }
        for whole in [&b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"[..], &binary(0x21, 0x11, &V4)] {
            for len in 0..whole.len() {
                assert!(heard(&whole[..len]).is_err(), "{len} bytes of {whole:?}");
            }
        }
    }
}
