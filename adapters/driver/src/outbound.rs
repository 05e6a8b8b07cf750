//! What a stream has to send: its bytes from the first one that the peer has not acknowledged, so
//! that they can be sent again after the link was lost.

use std::collections::VecDeque;
use std::io::IoSlice;

use homing_core::mux::Taken;

/// Bytes of a stream that may wait to be sent.
pub(crate) const SEND_MAX: usize = 64 * 1024;
/// An empty queue larger than this gives its memory back.
pub(crate) const KEEP: usize = 128 * 1024;

#[derive(Default)]
pub(crate) struct Outbound {
    queue: VecDeque<u8>,
    /// Where in the stream the queue begins.
    base: u64,
    /// How far the stream was put into records, at its furthest.
    sent: u64,
    finished: bool,
    finish_sent: bool,
}

impl Outbound {
    /// Bytes that may be added.
    pub(crate) fn room(&self) -> usize {
        SEND_MAX.saturating_sub(self.unsent())
    }

    /// Adds what there is room for, and tells how much.
    pub(crate) fn write(&mut self, bufs: &[IoSlice<'_>]) -> usize {
        let (before, mut room) = (self.queue.len(), self.room());
        for buf in bufs {
            let len = room.min(buf.len());
            self.queue.extend(&buf[..len]);
            room -= len;
        }
        self.queue.len() - before
    }

    /// Nothing follows; tells whether that is news.
    pub(crate) const fn finish(&mut self) -> bool {
        !core::mem::replace(&mut self.finished, true)
    }

    pub(crate) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// The end is there and was put into a record since the link was lost last.
    pub(crate) const fn is_finish_sent(&self) -> bool {
        self.finish_sent
    }

    /// Whether the writer should hear of room: not for every byte.
    pub(crate) fn is_half_free(&self) -> bool {
        self.unsent() <= SEND_MAX / 2
    }

    /// Copies bytes from `offset` of the stream on, of new ones `allowance` at most. Returns how
    /// many of them were new.
    pub(crate) fn read(&mut self, offset: u64, buf: &mut [u8], allowance: usize) -> (Taken, usize) {
        let end = self.end();
        let allowed = end.min(self.sent.saturating_add(allowance as u64));
        // Before the queue, or behind it, is what was taken back: the stream is being reset.
        let Some(skip) = offset.checked_sub(self.base).and_then(|skip| usize::try_from(skip).ok()) else {
            return (Taken::default(), 0);
        };
        let most = usize::try_from(allowed.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let len = self.copy(skip, &mut buf[..most]);
        let reached = offset.saturating_add(len as u64);
        let fresh = reached.saturating_sub(self.sent);
        self.sent = self.sent.max(reached);
        let fin = self.finished && reached == end;
        self.finish_sent |= fin;
        (Taken { len, more: reached < end, fin }, fresh as usize)
    }

    /// The peer has everything before `offset`: returns how many bytes that frees.
    pub(crate) fn acknowledge(&mut self, offset: u64) -> usize {
        let freed = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.held());
        self.base += freed as u64;
        // What was taken back is in the queue no more.
        self.queue.drain(..freed.min(self.queue.len()));
        if self.queue.is_empty() && self.queue.capacity() > KEEP {
            self.queue = VecDeque::new();
        }
        freed
    }

    /// The link was lost: the end has to go out again.
    pub(crate) const fn rewind(&mut self) {
        self.finish_sent = false;
    }

    /// Takes back what was written, and the end, as long as that has not left.
    pub(crate) fn discard(&mut self) {
        if !self.finish_sent {
            self.clear();
            self.finished = false;
        }
    }

    /// Nobody takes any of it any more.
    pub(crate) fn clear(&mut self) {
        self.queue = VecDeque::new();
    }

    /// Bytes that were sent and not acknowledged.
    pub(crate) const fn held(&self) -> usize {
        self.sent.saturating_sub(self.base) as usize
    }

    /// Bytes in memory.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    fn end(&self) -> u64 {
        self.base.saturating_add(self.queue.len() as u64)
    }

    fn unsent(&self) -> usize {
        usize::try_from(self.end().saturating_sub(self.sent)).unwrap_or(usize::MAX)
    }

    fn copy(&self, skip: usize, buf: &mut [u8]) -> usize {
        let (front, back) = self.queue.as_slices();
        let (head, tail) = match front.get(skip..) {
            Some(head) => (head, back),
            None => (&[][..], back.get(skip - front.len()..).unwrap_or_default()),
        };
        let first = head.len().min(buf.len());
        buf[..first].copy_from_slice(&head[..first]);
        let second = tail.len().min(buf.len() - first);
        buf[first..first + second].copy_from_slice(&tail[..second]);
        first + second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = usize::MAX;

    fn filled(len: usize) -> (Outbound, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let mut outbound = Outbound::default();
        assert_eq!(outbound.write(&[IoSlice::new(&bytes)]), len);
        (outbound, bytes)
    }

    #[test]
    fn what_was_sent_is_there_until_it_is_acknowledged() {
        let (mut outbound, bytes) = filled(1000);
        let mut buf = [0; 600];
        assert_eq!(outbound.read(0, &mut buf, MANY), (Taken { len: 600, more: true, fin: false }, 600));
        assert_eq!(outbound.acknowledge(100), 100);
        assert_eq!(outbound.read(100, &mut buf, MANY), (Taken { len: 600, more: true, fin: false }, 100));
        assert_eq!(buf[..], bytes[100..700]);
        assert!(outbound.finish() && !outbound.finish());
        assert_eq!(outbound.read(700, &mut buf, MANY), (Taken { len: 300, more: false, fin: true }, 300));
        assert_eq!(outbound.held(), 900);
        outbound.rewind();
        assert_eq!(outbound.read(999, &mut buf, MANY), (Taken { len: 1, more: false, fin: true }, 0));
        assert_eq!(outbound.read(1000, &mut buf, MANY), (Taken { len: 0, more: false, fin: true }, 0));
        assert_eq!((outbound.acknowledge(1000), outbound.held(), outbound.len()), (900, 0, 0));
    }

    #[test]
    fn bytes_keep_their_places_however_the_queue_wraps() {
        let (mut outbound, mut all) = (Outbound::default(), Vec::new());
        let (mut sent, mut acknowledged, mut step) = (0_usize, 0_usize, 7_usize);
        while all.len() < 2_000_000 {
            step = (step * 31 + 17) % 9973;
            let bytes: Vec<u8> = (all.len()..all.len() + step).map(|i| (i / 7 % 256) as u8).collect();
            let len = outbound.write(&[IoSlice::new(&bytes[..step / 3]), IoSlice::new(&bytes[step / 3..])]);
            all.extend(&bytes[..len]);
            let mut buf = vec![0; 1 + step * 5 % 16_384];
            let (taken, fresh) = outbound.read(sent as u64, &mut buf, MANY);
            assert_eq!((buf[..taken.len] == all[sent..sent + taken.len], fresh), (true, taken.len));
            sent += taken.len;
            assert_eq!(taken.more, sent < all.len());
            if step % 5 == 0 {
                let middle = acknowledged + (sent - acknowledged) / 2;
                assert_eq!(outbound.acknowledge(middle as u64), middle - acknowledged);
                acknowledged = middle;
            }
            let (again, fresh) = outbound.read(acknowledged as u64, &mut buf, MANY);
            assert_eq!(
                (buf[..again.len] == all[acknowledged..acknowledged + again.len], fresh),
                (true, again.len.saturating_sub(sent - acknowledged))
            );
            sent = sent.max(acknowledged + again.len);
        }
    }

    #[test]
    fn only_what_was_never_sent_counts_against_the_writer() {
        let (mut outbound, _) = filled(SEND_MAX);
        assert_eq!((outbound.room(), outbound.write(&[IoSlice::new(b"x")])), (0, 0));
        let mut buf = [0; 1000];
        outbound.read(0, &mut buf, MANY);
        assert_eq!(outbound.room(), 1000);
        outbound.read(500, &mut buf, MANY);
        outbound.acknowledge(1200);
        assert_eq!(outbound.room(), 1500);
    }

    #[test]
    fn an_allowance_holds_new_bytes_back_and_no_others() {
        let (mut outbound, _) = filled(1000);
        let mut buf = [0; 400];
        assert_eq!(outbound.read(0, &mut buf, 300), (Taken { len: 300, more: true, fin: false }, 300));
        assert_eq!(outbound.read(300, &mut buf, 0), (Taken { len: 0, more: true, fin: false }, 0));
        assert_eq!(outbound.read(100, &mut buf, 0), (Taken { len: 200, more: true, fin: false }, 0));
    }

    #[test]
    fn what_is_taken_back_is_asked_for_in_vain() {
        let (mut outbound, _) = filled(1000);
        let mut buf = [0; 400];
        outbound.read(0, &mut buf, MANY);
        outbound.finish();
        outbound.discard();
        assert_eq!(outbound.read(200, &mut buf, MANY), (Taken::default(), 0));
        assert!(!outbound.read(400, &mut buf, MANY).0.fin);
        assert_eq!(outbound.acknowledge(400), 400);
        assert!(!outbound.is_finished());
    }
}
