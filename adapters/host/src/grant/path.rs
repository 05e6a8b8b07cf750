//! Whether a path is below a prefix. Services differ in what they make of `..`, `%2f`, `//`, `\`, `;` and of paths that
//! are encoded twice, so a path is below a prefix only where every reading says so: what can be read in two ways is not.

/// The longest prefix, in characters.
const MAX_PREFIX: usize = 256;

/// Whether a prefix can be granted: it is written without percent-encoding.
pub(super) fn is_prefix(prefix: &str) -> bool {
    let Some(rest) = prefix.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let clear = |part: &str| is_plain(part) && !part.contains(['%', '?', '#']);
    prefix.chars().count() <= MAX_PREFIX && (prefix == "/" || rest.split('/').all(clear))
}

/// Whether `path`, as it was sent, is `prefix` or below it.
pub(super) fn is_below(prefix: &str, path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let mut wanted = prefix.split('/').filter(|part| !part.is_empty());
    // Parts below the prefix, once all of it was met.
    let mut depth = None;
    let mut parts = rest.split('/').peekable();
    let mut next = wanted.next();
    if next.is_none() {
        depth = Some(0_usize);
    }
    while let Some(part) = parts.next() {
        let Some(part) = decode(part) else { return false };
        match (depth, next) {
            (Some(below), _) => match part.as_str() {
                // Above the prefix nobody is let, also not to come back.
                ".." if below == 0 => return false,
                ".." => depth = Some(below.saturating_sub(1)),
                "." => {}
                "" if parts.peek().is_none() => {}
                other if is_plain(other) => depth = Some(below.saturating_add(1)),
                _ => return false,
            },
            (None, Some(want)) if part == want => {
                next = wanted.next();
                if next.is_none() {
                    depth = Some(0);
                }
            }
            _ => return false,
        }
    }
    depth.is_some()
}

/// A part that means itself, to everyone: no parameters, nothing that some take for a separator, and more than dots and
/// spaces, which some take away.
fn is_plain(part: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ';');
    !part.contains(odd) && part.contains(|c| !matches!(c, '.' | ' '))
}

/// A part without its percent-encoding; none where it can be read in two ways. Dots are not encoded by anyone who has
/// nothing to hide.
fn decode(part: &str) -> Option<String> {
    let mut bytes = part.bytes();
    let mut decoded = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        let (high, low) = (digit()?, digit()?);
        let byte = high.wrapping_mul(16).wrapping_add(low);
        if matches!(byte, b'.' | b'/' | b'\\' | b';') {
            return None;
        }
        decoded.push(byte);
    }
    let text = String::from_utf8(decoded).ok()?;
    let twice =
        text.as_bytes().windows(3).any(|w| matches!(w, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()));
    (!twice).then_some(text)
}
