//! The sealed state file (protocol 13): header, key commitment, one AEAD message. What the text
//! says, where the key comes from and how the file reaches a disk is the caller's business.

use core::fmt;

use crate::crypto::{Forged, Mac, Secret, expand, expand_into, extract, open_detached, same, seal_detached};
use crate::wire::{NoSpace, Reader, TAG_LEN, Writer};

/// Length of the header, in bytes; the sealed text follows it.
pub const HEADER_LEN: usize = 80;

/// What a file is longer than its padded text, in bytes.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// Texts are padded to multiples of this many bytes, so that a file's length says little.
pub const BLOCK_LEN: usize = 1024;

/// Key source 1: the file's key is 32 random bytes kept elsewhere.
pub const SOURCE_RAW: u8 = 1;

/// Key source 2: the file's key comes from a passphrase by Argon2id.
pub const SOURCE_PASSPHRASE: u8 = 2;

const MAGIC: &[u8; 4] = b"HMNK";
const VERSION: u8 = 1;
const EXTRACT_SALT: &[u8] = b"homing-1 keystore";

/// Why a file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It does not start as these files do.
    NotAKeystore,
    /// It is of another version of the format.
    UnknownVersion(u8),
    /// Its key comes from a source that this version cannot use.
    UnknownKeySource(u8),
    /// It was sealed with another key, or its salt or commitment were changed.
    WrongKey,
    /// The key is right and the bytes are not.
    Damaged,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKeystore => f.write_str("not a sealed state file"),
            Self::UnknownVersion(version) => write!(f, "sealed in format version {version}, newer than this program"),
            Self::UnknownKeySource(SOURCE_PASSPHRASE) => {
                f.write_str("needs a passphrase, which this version does not support")
            }
            Self::UnknownKeySource(source) => write!(f, "its key comes from source {source}, unknown to this version"),
            Self::WrongKey => f.write_str("sealed with another key"),
            Self::Damaged => f.write_str("damaged"),
        }
    }
}

impl core::error::Error for Error {}

/// What stands in front of the sealed text, in the clear but authenticated by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the key comes from: [`SOURCE_RAW`] or [`SOURCE_PASSPHRASE`].
    pub source: u8,
    /// Argon2id's passes; zero for a raw key.
    pub passes: u8,
    /// Argon2id's lanes; zero for a raw key.
    pub lanes: u8,
    /// Argon2id's memory in KiB; zero for a raw key.
    pub memory_kib: u32,
    /// Fresh on every write; separates the keys of any two files.
    pub salt: [u8; 16],
    /// Fresh on every write.
    pub nonce: [u8; 24],
    /// Counts writes; a lower one than remembered is a rollback.
    pub generation: u64,
    /// Bytes of ciphertext and tag.
    pub sealed_len: u32,
    /// Binds the file to one key, so that a wrong key is told from damage.
    pub commitment: Mac,
}

impl Header {
    /// Reads the header off the front of a file.
    ///
    /// # Errors
    /// [`Error::NotAKeystore`], [`Error::UnknownVersion`], or [`Error::Damaged`] where the file
    /// ends too early.
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        let rest = file.strip_prefix(MAGIC).ok_or(Error::NotAKeystore)?;
        let (version, rest) = rest.split_first().ok_or(Error::Damaged)?;
        if *version != VERSION {
            return Err(Error::UnknownVersion(*version));
        }
        let mut r = Reader::new(rest);
        let mut fields = || {
            Ok(Self {
                source: r.u8()?,
                passes: r.u8()?,
                lanes: r.u8()?,
                memory_kib: r.u32()?,
                salt: *r.array()?,
                nonce: *r.array()?,
                generation: r.u64()?,
                sealed_len: r.u32()?,
                commitment: *r.array()?,
            })
        };
        fields().map_err(|_: crate::wire::Malformed| Error::Damaged)
    }

    /// Writes the header.
    ///
    /// # Errors
    /// [`NoSpace`] where fewer than [`HEADER_LEN`] bytes are left.
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.bytes(MAGIC)?;
        w.bytes(&[VERSION, self.source, self.passes, self.lanes])?;
        w.u32(self.memory_kib)?;
        w.bytes(&self.salt)?;
        w.bytes(&self.nonce)?;
        w.u64(self.generation)?;
        w.u32(self.sealed_len)?;
        w.bytes(&self.commitment)
    }
}

/// The length of a file whose text is `text_len` bytes before padding.
#[must_use]
pub const fn file_len(text_len: usize) -> usize {
    text_len.div_ceil(BLOCK_LEN).saturating_mul(BLOCK_LEN).saturating_add(OVERHEAD)
}

/// Seals `file` in place with a raw key: the text, padded by the caller, stands between
/// [`HEADER_LEN`] bytes for the header and [`TAG_LEN`] for the tag. `salt` and `nonce` are fresh
/// random bytes on every write.
///
/// # Errors
/// [`NoSpace`] where `file` is shorter than [`OVERHEAD`] or its text of 4 GiB and more.
pub fn seal(
    kek: &Secret<32>,
    generation: u64,
    salt: [u8; 16],
    nonce: [u8; 24],
    file: &mut [u8],
) -> Result<(), NoSpace> {
    let (head, sealed) = file.split_first_chunk_mut::<HEADER_LEN>().ok_or(NoSpace)?;
    let sealed_len = u32::try_from(sealed.len()).map_err(|_| NoSpace)?;
    let (text, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(NoSpace)?;
    let (commitment, key) = derive(kek, &salt);
    let header = Header {
        source: SOURCE_RAW,
        passes: 0,
        lanes: 0,
        memory_kib: 0,
        salt,
        nonce,
        generation,
        sealed_len,
        commitment: *commitment.expose(),
    };
    header.emit(&mut Writer::new(head))?;
    *tag = seal_detached(&key, &nonce, head, text);
    Ok(())
}

/// Opens a whole file in place with a raw key; returns its generation and its padded text.
///
/// # Errors
/// [`Error`]; after [`Error::Damaged`] the contents of `file` are of no use.
pub fn open<'f>(kek: &Secret<32>, file: &'f mut [u8]) -> Result<(u64, &'f mut [u8]), Error> {
    let header = Header::parse(file)?;
    if header.source != SOURCE_RAW {
        return Err(Error::UnknownKeySource(header.source));
    }
    let (commitment, key) = derive(kek, &header.salt);
    if !same(commitment.expose(), &header.commitment) {
        return Err(Error::WrongKey);
    }
    let (head, sealed) = file.split_first_chunk_mut::<HEADER_LEN>().ok_or(Error::Damaged)?;
    if u32::try_from(sealed.len()) != Ok(header.sealed_len) {
        return Err(Error::Damaged);
    }
    open_detached(&key, &header.nonce, head, sealed).map_err(|Forged| Error::Damaged)?;
    let (text, _tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(Error::Damaged)?;
    Ok((header.generation, text))
}

fn derive(kek: &Secret<32>, salt: &[u8; 16]) -> (Secret<16>, Secret<32>) {
    let prk = extract(EXTRACT_SALT, &[kek.expose()]);
    (expand_into(&prk, "commit", salt), expand(&prk, "key", salt))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    // 4 magic, 1 version, 1 source, 1 passes, 1 lanes, 4 memory, 16 salt, 24 nonce, 8 generation,
    // 4 length, 16 commitment, then 100 bytes of ciphertext and 16 of tag.
    const VECTOR: &str = "484d4e4b0101000000000000b8faf4f093ea0e8cd26f6176b2db8e350e0d2b6693ff3a688ecbc52c098a9c40\
        26e934d327bb9b2507000000000000007400000007f10a4bcdfd387246b9b6475a8902e285a82762fd105d71e3e4db6ca9ecfc2d9dee\
        50fcea28f2d3c1f4e753488598c59ec4aff6ff42ac1168ee3605d060a541893e05df561b9bd1d86d3fc97990387cf7a47eb7550bae8f\
        d3d6a7a284679d8dfa12ba55d4807becb6daf2cccffb404270943e990b503072b4239a944437e3f4ebd8ac13";

    #[test]
    fn the_vectors_header_parses_and_emits_to_the_same_bytes() {
        let mut file = unhex(VECTOR);
        let header = Header::parse(&file).unwrap();
        assert_eq!((header.source, header.passes, header.lanes, header.memory_kib), (SOURCE_RAW, 0, 0, 0));
        assert_eq!(header.salt.as_slice(), unhex("b8faf4f093ea0e8cd26f6176b2db8e35"));
        assert_eq!(header.nonce.as_slice(), unhex("0e0d2b6693ff3a688ecbc52c098a9c4026e934d327bb9b25"));
        assert_eq!(header.generation, 7);
        assert_eq!(header.sealed_len as usize, file.len() - HEADER_LEN);
        assert_eq!(header.commitment.as_slice(), unhex("07f10a4bcdfd387246b9b6475a8902e2"));
        let mut out = [0; HEADER_LEN];
        header.emit(&mut Writer::new(&mut out)).unwrap();
        assert_eq!(out, file[..HEADER_LEN]);
        assert_eq!(open(&Secret::new([0; 32]), &mut file), Err(Error::WrongKey));
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_only() {
        let (kek, file) = sealed();
        assert_eq!(file.len(), file_len(1024));
        let mut copy = file.clone();
        let (generation, text) = open(&kek, &mut copy).unwrap();
        assert_eq!(generation, 41);
        assert!(text.iter().all(|&b| b == 0x5a) && text.len() == 1024);
        assert_eq!(open(&Secret::new([8; 32]), &mut file.clone()), Err(Error::WrongKey));
    }

    #[test]
    fn a_flip_of_any_byte_is_refused_and_named() {
        let (kek, file) = sealed();
        for at in 0..file.len() {
            let mut copy = file.clone();
            copy[at] ^= 1;
            let expected = match at {
                0..4 => Error::NotAKeystore,
                4 => Error::UnknownVersion(0),
                5 => Error::UnknownKeySource(0),
                12..28 | 64..80 => Error::WrongKey,
                _ => Error::Damaged,
            };
            assert_eq!(open(&kek, &mut copy), Err(expected), "byte {at}");
        }
    }

    #[test]
    fn a_file_cut_at_any_length_is_refused() {
        let (kek, file) = sealed();
        for len in 0..file.len() {
            assert!(open(&kek, &mut file[..len].to_vec()).is_err(), "{len} bytes");
        }
        let mut longer = file;
        longer.push(0);
        assert_eq!(open(&kek, &mut longer), Err(Error::Damaged));
    }

    #[test]
    fn a_passphrase_file_says_what_it_needs() {
        let (kek, mut file) = sealed();
        file[5] = SOURCE_PASSPHRASE;
        let error = open(&kek, &mut file).unwrap_err();
        assert!(error.to_string().contains("passphrase"), "{error}");
    }

    #[test]
    fn lengths_are_padded_to_whole_blocks() {
        for (text, blocks) in [(0, 0), (1, 1), (1024, 1), (1025, 2)] {
            assert_eq!(file_len(text), blocks * BLOCK_LEN + OVERHEAD);
        }
        assert_eq!(seal(&Secret::new([7; 32]), 1, [0; 16], [0; 24], &mut [0; OVERHEAD - 1]), Err(NoSpace));
    }

    fn sealed() -> (Secret<32>, Vec<u8>) {
        let kek = Secret::new([7; 32]);
        let mut file = std::vec![0x5a; file_len(1000)];
        seal(&kek, 41, [1; 16], [2; 24], &mut file).unwrap();
        (kek, file)
    }

    fn unhex(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
