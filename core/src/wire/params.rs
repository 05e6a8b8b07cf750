//! What each side of a handshake accepts (protocol 6.3).

use super::cursor::{Malformed, NoSpace, Reader, Writer};
use super::record::MAX_PLAINTEXT;

/// Bytes of [`Params`].
pub const PARAMS_LEN: usize = 16;

/// Limits that an endpoint announces in its handshake message; each states what *it* accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Optional features, 24 bits; none are defined for ordered transports.
    pub features: u32,
    /// The most plaintext in a record it opens, in bytes: 1,024 to 16,384.
    pub max_record: u16,
    /// Streams that the peer may have open at once: 1 to 4,096.
    pub max_streams: u16,
    /// Bytes it takes over all streams before it grants more: 16 KiB to 16 MiB.
    pub session_window: u32,
    /// Bytes it takes on one stream before it grants more: 4 KiB to `session_window`.
    pub stream_window: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            features: 0,
            max_record: MAX_PLAINTEXT as u16,
            max_streams: 256,
            session_window: 128 * 1024,
            stream_window: 64 * 1024,
        }
    }
}

impl Params {
    const MINOR: u8 = 1;

    /// Reads and checks the parameters.
    ///
    /// # Errors
    /// [`Malformed`] where a value is out of the bounds of protocol 15.3.
    pub fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        // A higher minor version may only add feature bits; this side announces none.
        if r.u8()? < Self::MINOR {
            return Err(Malformed);
        }
        let params = Self {
            features: r.u24()?,
            max_record: r.u16()?,
            max_streams: r.u16()?,
            session_window: r.u32()?,
            stream_window: r.u32()?,
        };
        if params.is_valid() { Ok(params) } else { Err(Malformed) }
    }

    /// Writes the parameters.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.bytes(&self.to_bytes())
    }

    /// The parameters' bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PARAMS_LEN] {
        let [f0, f1, f2, _] = self.features.to_le_bytes();
        let [r0, r1] = self.max_record.to_le_bytes();
        let [s0, s1] = self.max_streams.to_le_bytes();
        let [a, b, c, d] = self.session_window.to_le_bytes();
        let [e, f, g, h] = self.stream_window.to_le_bytes();
        [Self::MINOR, f0, f1, f2, r0, r1, s0, s1, a, b, c, d, e, f, g, h]
    }

    /// Whether every value is within the bounds of protocol 15.3.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (1024..=16_384).contains(&self.max_record)
            && (1..=4096).contains(&self.max_streams)
            && (16 * 1024..=16 << 20).contains(&self.session_window)
            && (4 * 1024..=self.session_window).contains(&self.stream_window)
    }
}
