//! What limits a guest, one caveat behind the other (protocol 11.4). What a caveat says is not looked at here.

use core::fmt;

use super::cursor::{Malformed, NoSpace, Reader, Writer};

/// The most caveats of one guest.
pub const MAX_CAVEATS: usize = 8;
/// The most bytes that they take together, their number and their lengths included.
pub const CAVEATS_MAX: usize = 1536;

/// The caveats of a guest, the oldest first: 1 to [`MAX_CAVEATS`], none of them empty, still in their bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Caveats<'a>(&'a [u8]);

impl<'a> Caveats<'a> {
    /// Reads their number, then each behind its length.
    ///
    /// # Errors
    /// [`Malformed`] for none, too many, an empty one, and too many bytes.
    pub fn parse(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let whole = r.rest();
        let count = usize::from(r.u8()?);
        if count == 0 || count > MAX_CAVEATS {
            return Err(Malformed);
        }
        for _ in 0..count {
            let len = r.u16()?;
            if r.bytes(len.into())?.is_empty() {
                return Err(Malformed);
            }
        }
        let len = whole.len().saturating_sub(r.rest().len());
        if len > CAVEATS_MAX {
            return Err(Malformed);
        }
        Ok(Self(whole.get(..len).unwrap_or_default()))
    }

    /// Reads them where nothing may follow.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`Malformed`] for bytes left over.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let caveats = Self::parse(&mut r)?;
        if r.is_empty() { Ok(caveats) } else { Err(Malformed) }
    }

    /// Writes `older`, where there are such, and one more behind them into `out`.
    ///
    /// # Errors
    /// [`NoSpace`], also where they become too many or too long, or where the new one is empty.
    pub fn add(older: Option<Self>, caveat: &[u8], out: &'a mut [u8]) -> Result<Self, NoSpace> {
        let count = older.map_or(0, |older| older.iter().count()).saturating_add(1);
        if count > MAX_CAVEATS || caveat.is_empty() {
            return Err(NoSpace);
        }
        let most = out.len().min(CAVEATS_MAX);
        let mut w = Writer::new(out.get_mut(..most).unwrap_or_default());
        w.u8(u8::try_from(count).map_err(|_| NoSpace)?)?;
        w.bytes(older.map_or(&[][..], |older| older.0.get(1..).unwrap_or_default()))?;
        w.u16(u16::try_from(caveat.len()).map_err(|_| NoSpace)?)?;
        w.bytes(caveat)?;
        let len = w.len();
        Ok(Self(out.get(..len).unwrap_or_default()))
    }

    /// Writes their number, then each behind its length.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.bytes(self.0)
    }

    /// The bytes that [`from_bytes`](Self::from_bytes) reads.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Each of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut r = Reader::new(self.0.get(1..).unwrap_or_default());
        core::iter::from_fn(move || {
            let len = r.u16().ok()?;
            r.bytes(len.into()).ok()
        })
    }
}

impl fmt::Debug for Caveats<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caveats").field("bytes", &self.0.len()).finish_non_exhaustive()
    }
}
