//! Hashing for fuzzing only: equal input, equal output, and other input, other output, except by intent.

use core::marker::PhantomData;

use digest::array::ArraySize;
use digest::block_api::{Block, BlockSizeUser, Buffer, BufferKindUser, Lazy, TruncSide, UpdateCore, VariableOutputCore};
use digest::common::{Key, KeyInit, KeySizeUser, Output, OutputSizeUser};
use digest::consts::{U32, U64};
use digest::{FixedOutput, HashMarker, InvalidOutputSize, MacMarker, Update};

pub use digest::{self, Digest};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A running sum. Bytes are taken by eights, whatever pieces they come in.
#[derive(Clone, Copy)]
struct Sum {
    lanes: [u64; 4],
    tail: u64,
    len: u64,
}

impl Default for Sum {
    fn default() -> Self {
        Self { lanes: [STEP, !STEP, STEP << 9, STEP >> 9], tail: 0, len: 0 }
    }
}

impl Sum {
    fn word(&mut self, word: u64) {
        let [a, b, c, d] = self.lanes;
        let mixed = (a ^ word).wrapping_mul(STEP);
        self.lanes = [b ^ mixed >> 29, c.wrapping_add(mixed), d ^ mixed.rotate_left(17), mixed];
    }

    fn absorb(&mut self, mut bytes: &[u8]) {
        while self.len % 8 != 0 {
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.byte(*byte);
            bytes = rest;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        self.len = self.len.wrapping_add(words.len() as u64 * 8);
        for byte in rest {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.tail |= u64::from(byte) << (self.len % 8 * 8);
        self.len = self.len.wrapping_add(1);
        if self.len % 8 == 0 {
            let word = core::mem::take(&mut self.tail);
            self.word(word);
        }
    }

    fn finish(mut self, out: &mut [u8]) {
        let (tail, len) = (self.tail, self.len);
        self.word(tail);
        self.word(len);
        for piece in out.chunks_mut(8) {
            for _ in 0..4 {
                self.word(STEP);
            }
            piece.copy_from_slice(&self.lanes[0].to_le_bytes()[..piece.len()]);
        }
    }
}

#[derive(Clone, Default)]
pub struct Blake2s256(Sum);

impl HashMarker for Blake2s256 {}

impl OutputSizeUser for Blake2s256 {
    type OutputSize = U32;
}

impl Update for Blake2s256 {
    fn update(&mut self, data: &[u8]) {
        self.0.absorb(data);
    }
}

impl FixedOutput for Blake2s256 {
    fn finalize_into(self, out: &mut Output<Self>) {
        self.0.finish(out);
    }
}

#[derive(Clone)]
pub struct Blake2sMac<N>(Sum, PhantomData<N>);

impl<N> MacMarker for Blake2sMac<N> {}

impl<N> KeySizeUser for Blake2sMac<N> {
    type KeySize = U32;
}

impl<N: ArraySize> KeyInit for Blake2sMac<N> {
    fn new(key: &Key<Self>) -> Self {
        let mut sum = Sum::default();
        sum.absorb(key);
        sum.absorb(&(N::USIZE as u64).to_le_bytes());
        Self(sum, PhantomData)
    }
}

impl<N: ArraySize> OutputSizeUser for Blake2sMac<N> {
    type OutputSize = N;
}

impl<N> Update for Blake2sMac<N> {
    fn update(&mut self, data: &[u8]) {
        self.0.absorb(data);
    }
}

impl<N: ArraySize> FixedOutput for Blake2sMac<N> {
    fn finalize_into(self, out: &mut Output<Self>) {
        self.0.finish(out);
    }
}

#[derive(Clone)]
pub struct Blake2sVarCore(Sum);

impl Blake2sVarCore {
    #[must_use]
    pub fn new_with_params(_salt: &[u8], _persona: &[u8], _key: usize, _output: usize) -> Self {
        Self(Sum::default())
    }
}

impl HashMarker for Blake2sVarCore {}

impl BlockSizeUser for Blake2sVarCore {
    type BlockSize = U64;
}

impl BufferKindUser for Blake2sVarCore {
    type BufferKind = Lazy;
}

impl OutputSizeUser for Blake2sVarCore {
    type OutputSize = U32;
}

impl UpdateCore for Blake2sVarCore {
    fn update_blocks(&mut self, blocks: &[Block<Self>]) {
        for block in blocks {
            self.0.absorb(block);
        }
    }
}

impl VariableOutputCore for Blake2sVarCore {
    const TRUNC_SIDE: TruncSide = TruncSide::Left;

    fn new(_output: usize) -> Result<Self, InvalidOutputSize> {
        Ok(Self(Sum::default()))
    }

    fn finalize_variable_core(&mut self, buffer: &mut Buffer<Self>, out: &mut Output<Self>) {
        self.0.absorb(buffer.get_data());
        self.0.finish(out);
    }
}
