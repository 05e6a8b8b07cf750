//! The header of a sealed record (protocol 8.1).

use super::cursor::{Malformed, NoSpace, Reader, Writer};

/// First byte of a record.
pub const RECORD_TYPE: u8 = 0x10;
/// Bytes before the ciphertext.
pub const HEADER_LEN: usize = 12;
/// Bytes of the tag behind the ciphertext.
pub const TAG_LEN: usize = 16;
/// The most bytes of plaintext that one record carries.
pub const MAX_PLAINTEXT: usize = 16_384;
/// The longest record, in bytes.
pub const MAX_RECORD: usize = HEADER_LEN + MAX_PLAINTEXT + TAG_LEN;

/// Which record this is: its epoch and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of key changes so far, 24 bits.
    pub epoch: u32,
    /// Number of records sealed in this direction before this one, in all epochs.
    pub counter: u64,
}

impl Header {
    /// Reads the header of a record.
    ///
    /// # Errors
    /// [`Malformed`] where the type or the length is wrong.
    pub fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != RECORD_TYPE {
            return Err(Malformed);
        }
        Ok(Self { epoch: r.u24()?, counter: r.u64()? })
    }

    /// Writes the header.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn emit(self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.bytes(&self.to_bytes())
    }

    /// The header's bytes, which are also the record's associated data.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let e = self.epoch.to_le_bytes();
        let c = self.counter.to_le_bytes();
        [RECORD_TYPE, e[0], e[1], e[2], c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]
    }
}
