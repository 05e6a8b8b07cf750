//! RFC 4648 Base32 without padding: upper case out, either case in.

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The text of `bytes`, a letter at a time.
pub(super) fn encode(bytes: &[u8]) -> impl Iterator<Item = char> {
    let letters = bytes.len().saturating_mul(8).div_ceil(5);
    (0..letters).map(move |i| {
        let bit = i.saturating_mul(5);
        let byte = |k: usize| u16::from(bytes.get(k).copied().unwrap_or(0));
        let pair = (byte(bit / 8) << 8) | byte((bit / 8).saturating_add(1));
        let shift = 11usize.saturating_sub(bit % 8);
        let index = usize::from((pair >> shift) & 31);
        char::from(ALPHABET.get(index).copied().unwrap_or(b'?'))
    })
}

/// Why a text is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// A letter that is not of the alphabet.
    Letter,
    /// Cut off within a byte, or too much text.
    Length,
}

/// The bytes of `text` in `out`, and how many.
pub(super) fn decode(text: &str, out: &mut [u8]) -> Result<usize, DecodeError> {
    let (mut acc, mut bits, mut len) = (0u16, 0u32, 0usize);
    for letter in text.bytes() {
        let value = match letter.to_ascii_uppercase() {
            c @ b'A'..=b'Z' => c.wrapping_sub(b'A'),
            c @ b'2'..=b'7' => c.wrapping_sub(b'2').wrapping_add(26),
            _ => return Err(DecodeError::Letter),
        };
        acc = (acc << 5) | u16::from(value);
        bits = bits.saturating_add(5);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            let [byte, _] = (acc >> bits).to_le_bytes();
            *out.get_mut(len).ok_or(DecodeError::Length)? = byte;
            len = len.saturating_add(1);
            acc &= (1 << bits) - 1;
        }
    }
    if acc == 0 && bits < 5 { Ok(len) } else { Err(DecodeError::Length) }
}
