//! Reading from and writing to byte slices, little-endian, without panics.

use core::fmt;

/// The bytes do not form what was expected of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed bytes")
    }
}

impl core::error::Error for Malformed {}

/// The output buffer is too small; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSpace;

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("output buffer too small")
    }
}

impl core::error::Error for NoSpace {}

/// Takes values off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Malformed`] where fewer are left, here and in all that follow.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`] where fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`Malformed`] where none is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(*self.array()?))
    }

    /// A 16-bit integer.
    ///
    /// # Errors
    /// [`Malformed`] where fewer than 2 bytes are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(*self.array()?))
    }

    /// A 24-bit integer.
    ///
    /// # Errors
    /// [`Malformed`] where fewer than 3 bytes are left.
    pub fn u24(&mut self) -> Result<u32, Malformed> {
        let [a, b, c] = *self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// [`Malformed`] where fewer than 4 bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// [`Malformed`] where fewer than 8 bytes are left.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(*self.array()?))
    }

    /// A length byte of at most `max`, then so many bytes of UTF-8.
    ///
    /// # Errors
    /// [`Malformed`] where the length is out of range or the text is not UTF-8.
    pub fn text(&mut self, max: usize) -> Result<&'a str, Malformed> {
        let len = usize::from(self.u8()?);
        if len > max {
            return Err(Malformed);
        }
        core::str::from_utf8(self.bytes(len)?).map_err(|_| Malformed)
    }
}

/// Appends values to a slice. A value is written whole or not at all.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.out.len().saturating_sub(self.len)
    }

    /// The part of the output that nothing has been written to.
    #[must_use]
    pub fn spare(&mut self) -> &mut [u8] {
        self.out.get_mut(self.len..).unwrap_or_default()
    }

    /// Counts `len` bytes of [`spare`](Self::spare), which the caller filled, as written.
    ///
    /// # Errors
    /// [`NoSpace`] where there are fewer.
    pub fn advance(&mut self, len: usize) -> Result<(), NoSpace> {
        if len > self.room() {
            return Err(NoSpace);
        }
        self.len = self.len.saturating_add(len);
        Ok(())
    }

    /// Takes back everything after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// [`NoSpace`] where they do not fit, here and in all that follow.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        let spare = self.spare().get_mut(..bytes.len()).ok_or(NoSpace)?;
        spare.copy_from_slice(bytes);
        self.advance(bytes.len())
    }

    /// A byte.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn u8(&mut self, value: u8) -> Result<(), NoSpace> {
        self.bytes(&[value])
    }

    /// A 16-bit integer.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn u16(&mut self, value: u16) -> Result<(), NoSpace> {
        self.bytes(&value.to_le_bytes())
    }

    /// A 24-bit integer; higher bits are lost.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn u24(&mut self, value: u32) -> Result<(), NoSpace> {
        let [a, b, c, _] = value.to_le_bytes();
        self.bytes(&[a, b, c])
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn u32(&mut self, value: u32) -> Result<(), NoSpace> {
        self.bytes(&value.to_le_bytes())
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn u64(&mut self, value: u64) -> Result<(), NoSpace> {
        self.bytes(&value.to_le_bytes())
    }

    /// A length byte and the text.
    ///
    /// # Errors
    /// [`NoSpace`], also where the text is longer than 255 bytes.
    pub fn text(&mut self, text: &str) -> Result<(), NoSpace> {
        self.u8(u8::try_from(text.len()).map_err(|_| NoSpace)?)?;
        self.bytes(text.as_bytes())
    }
}
