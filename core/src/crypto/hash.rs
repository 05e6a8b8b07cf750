//! BLAKE2s, its keyed form, and HKDF over its HMAC (protocol 3.2).

use blake2::digest::array::Array;
use blake2::digest::block_api::{Buffer, UpdateCore, VariableOutputCore};
use blake2::digest::consts::{U16, U32};
use blake2::digest::{FixedOutput, KeyInit, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Blake2sVarCore, Digest};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::key::Secret;
use crate::wire::Writer;

/// The protocol's name, first part of every label.
pub const PROTO: &[u8] = b"homing-1";

/// 16 bytes that prove knowledge of a key.
pub type Mac = [u8; 16];

const BLOCK: usize = 64;
const IPAD: u8 = 0x36;
const OPAD: u8 = 0x5c;
const LABEL_MAX: usize = 96;

/// BLAKE2s-256 of the concatenated parts.
#[must_use]
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut h = Blake2s256::new();
    for part in parts {
        Digest::update(&mut h, part);
    }
    h.finalize_fixed().into()
}

/// Keyed BLAKE2s with a 16-byte output.
#[must_use]
pub fn mac16(key: &[u8; 32], parts: &[&[u8]]) -> Mac {
    let mut m = Blake2sMac::<U16>::new(key.into());
    for part in parts {
        m.update(part);
    }
    m.finalize_fixed().into()
}

/// Keyed BLAKE2s with a 32-byte output.
#[must_use]
pub fn mac32(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut m = Blake2sMac::<U32>::new(key.into());
    for part in parts {
        m.update(part);
    }
    m.finalize_fixed().into()
}

/// Whether two byte strings are equal, in time that depends on their lengths only.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// HMAC-BLAKE2s (RFC 2104) of `parts`, once.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Secret<32> {
    let mut block = key_block(key);
    let mut inner = Blake2s256::new();
    Digest::update(&mut inner, block.map(|b| b ^ IPAD));
    for part in parts {
        Digest::update(&mut inner, part);
    }
    let mut outer = Blake2s256::new();
    Digest::update(&mut outer, block.map(|b| b ^ OPAD));
    block.zeroize();
    Digest::update(&mut outer, inner.finalize_fixed());
    Secret::new(outer.finalize_fixed().into())
}

fn key_block(key: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    if let Some(head) = block.get_mut(..key.len()) {
        head.copy_from_slice(key);
    } else if let Some(head) = block.first_chunk_mut::<32>() {
        *head = hash(&[key]);
    }
    block
}

/// The key of HKDF-Expand (RFC 5869), absorbed: each block costs two compressions, not four.
///
/// BLAKE2s treats the last block of a message differently, so the padded key can be absorbed ahead
/// only because something follows it; here that is at least the number of the output block.
pub(crate) struct Prk {
    inner: Blake2sVarCore,
    outer: Blake2sVarCore,
}

impl Prk {
    pub(crate) fn new(prk: &Secret<32>) -> Self {
        let mut block = key_block(prk.expose());
        let mut absorbed = |pad| {
            for byte in &mut block {
                *byte ^= pad;
            }
            let mut core = Blake2sVarCore::new_with_params(&[], &[], 0, 32);
            core.update_blocks(core::slice::from_ref((&block).into()));
            core
        };
        let (inner, outer) = (absorbed(IPAD), absorbed(IPAD ^ OPAD));
        block.zeroize();
        Self { inner, outer }
    }

    /// Output block `number` where `parts` are what comes before that number.
    pub(super) fn block(&self, parts: &[&[u8]], number: u8) -> Secret<32> {
        let (mut inner, mut rest) = (self.inner.clone(), Buffer::<Blake2sVarCore>::default());
        for part in parts.iter().copied().chain([&[number][..]]) {
            rest.digest_blocks(part, |blocks| inner.update_blocks(blocks));
        }
        let mut digest = Array::default();
        inner.finalize_variable_core(&mut rest, &mut digest);
        let mut outer = self.outer.clone();
        let mut rest = Buffer::<Blake2sVarCore>::new(&digest);
        outer.finalize_variable_core(&mut rest, &mut digest);
        Secret::new(digest.into())
    }

    /// As [`expand_into`].
    pub(crate) fn expand<const N: usize>(&self, label: &str, context: &[u8]) -> Secret<N> {
        const { assert!(N <= 32, "one block of HKDF output") };
        let mut info = [0; LABEL_MAX];
        let len = emit_info(N, label, context, &mut info);
        let block = self.block(&[info.get(..len).unwrap_or_default()], 1);
        let mut out = [0; N];
        out.copy_from_slice(block.expose().get(..N).unwrap_or_default());
        Secret::new(out)
    }
}

/// HKDF-Extract (RFC 5869): HMAC-BLAKE2s of `parts` under `salt`.
#[must_use]
pub fn extract(salt: &[u8], parts: &[&[u8]]) -> Secret<32> {
    hmac(salt, parts)
}

/// HKDF-Expand (RFC 5869) to 32 bytes, under the label and context of protocol 3.2.
#[must_use]
pub fn expand(prk: &Secret<32>, label: &str, context: &[u8]) -> Secret<32> {
    expand_into(prk, label, context)
}

/// HKDF-Expand to `N` bytes, at most 32: one block is all that the protocol needs.
#[must_use]
pub fn expand_into<const N: usize>(prk: &Secret<32>, label: &str, context: &[u8]) -> Secret<N> {
    Prk::new(prk).expand(label, context)
}

/// Writes HKDF's `info`. Labels and contexts are constants of the protocol, all far below the limit.
fn emit_info(n: usize, label: &str, context: &[u8], out: &mut [u8]) -> usize {
    let mut w = Writer::new(out);
    let name_len = PROTO.len().saturating_add(1).saturating_add(label.len());
    let done = w
        .u16(u16::try_from(n).unwrap_or(0))
        .and_then(|()| w.u8(u8::try_from(name_len).unwrap_or(0)))
        .and_then(|()| w.bytes(PROTO))
        .and_then(|()| w.bytes(b" "))
        .and_then(|()| w.bytes(label.as_bytes()))
        .and_then(|()| w.u8(u8::try_from(context.len()).unwrap_or(0)))
        .and_then(|()| w.bytes(context));
    debug_assert!(done.is_ok(), "label and context fit");
    w.len()
}
