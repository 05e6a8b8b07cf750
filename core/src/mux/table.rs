//! The fixed table of streams.

use heapless::Vec;

use super::stream::Stream;
use crate::wire::StreamId;

/// At most `N` streams, dense, in no particular order.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    streams: Vec<Stream, N, u16>,
    /// Where the stream asked for last stands: most frames follow one of the same stream.
    hint: u16,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new() -> Self {
        Self { streams: Vec::new(), hint: 0 }
    }

    pub(super) fn insert(&mut self, stream: Stream) -> Option<()> {
        self.streams.push(stream).ok()
    }

    pub(super) fn find(&mut self, id: StreamId) -> Option<&mut Stream> {
        if self.streams.get(usize::from(self.hint)).is_none_or(|stream| stream.id != id) {
            let place = self.streams.iter().position(|stream| stream.id == id)?;
            self.hint = u16::try_from(place).ok()?; // always fits: so does the table's length
        }
        self.streams.get_mut(usize::from(self.hint))
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        if let Some(place) = self.streams.iter().position(|stream| stream.id == id) {
            self.streams.swap_remove(place);
        }
    }

    pub(super) fn at(&mut self, place: usize) -> Option<&mut Stream> {
        self.streams.get_mut(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter()
    }

    pub(super) fn each(&mut self, apply: impl FnMut(&mut Stream)) {
        self.streams.iter_mut().for_each(apply);
    }

    pub(super) fn count_of(&self, opener: u32) -> usize {
        self.streams.iter().filter(|stream| stream.is_of(opener)).count()
    }

    /// The first place at or after `from`, going round, that `is_ready` holds for.
    pub(super) fn next_from(&self, from: usize, is_ready: impl Fn(&Stream) -> bool) -> Option<usize> {
        let from = if from < self.streams.len() { from } else { 0 };
        let (before, after) = self.streams.split_at_checked(from)?;
        after
            .iter()
            .position(&is_ready)
            .map(|place| place.saturating_add(from))
            .or_else(|| before.iter().position(&is_ready))
    }
}
