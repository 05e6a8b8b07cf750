//! Frames of the channel's own that wait for the next record.

use heapless::Vec;
use zeroize::Zeroize;

use crate::wire::{Frame, NoSpace, Writer};

/// AUTH has 74 bytes, CLOSE 69, PAIR_FINISH 67, AUTH_OK with a CAP behind it 64.
pub(super) const LEN: usize = 80;

/// Wiped when flushed, since tokens pass through.
#[derive(Default)]
pub(super) struct Outbox(Vec<u8, LEN, u8>);

impl Outbox {
    /// Appends a frame.
    pub(super) fn push(&mut self, frame: &Frame<'_>) -> Result<(), NoSpace> {
        let mut bytes = [0; LEN];
        let mut w = Writer::new(&mut bytes);
        let emitted = frame.emit(&mut w);
        let len = w.len();
        let pushed =
            emitted.and_then(|()| self.0.extend_from_slice(bytes.get(..len).unwrap_or_default()).map_err(|_| NoSpace));
        bytes.zeroize();
        pushed
    }

    /// Puts a frame into the empty outbox, where every frame that goes this way fits.
    pub(super) fn push_first(&mut self, frame: &Frame<'_>) {
        let pushed = self.push(frame);
        debug_assert_eq!(pushed, Ok(()), "an empty outbox takes any frame that goes this way");
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves everything into a record, unless that is too short.
    pub(super) fn flush(&mut self, w: &mut Writer<'_>) -> bool {
        let fits = self.is_empty() || w.bytes(&self.0).is_ok();
        if fits {
            self.clear();
        }
        fits
    }

    pub(super) fn clear(&mut self) {
        self.0.as_mut_slice().zeroize();
        self.0.clear();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.clear();
    }
}
