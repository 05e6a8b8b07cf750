//! The key of a state file: where it comes from, and how a passphrase locks it (protocol 13).
//!
//! | where | what it holds |
//! |---|---|
//! | `$CREDENTIALS_DIRECTORY/NAME`, as systemd gives it | 32 bytes; comes first |
//! | the key file | 32 bytes, or these sealed under a passphrase |
//!
//! The passphrase is in the file that `HOMING_PASSPHRASE_FILE` names. A key that is made while that is set is locked at
//! once.

use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use homing_core::crypto::{Secret, open_detached, seal_detached};
use zeroize::Zeroizing;

use crate::file;
use crate::store::StoreError;

/// Names the file with the passphrase.
pub const PASSPHRASE_FILE: &str = "HOMING_PASSPHRASE_FILE";

const MAGIC: &[u8; 8] = b"HMNKEY\0\x01";
const HEADER_LEN: usize = 8 + 12 + 16 + 24;
const LOCKED_LEN: usize = HEADER_LEN + 32 + 16;
/// RFC 9106, the second recommended choice, but for one lane: 64 MiB, three passes.
const COST: [u32; 3] = [64 << 10, 3, 1];
/// What a damaged or hostile file may cost at most: 1 GiB, 16 passes, 16 lanes.
const MAX_COST: [u32; 3] = [1 << 20, 16, 16];

/// The key, where there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Secret<32>>, StoreError> {
    if let Some(given) = credential(path)
        && let Some(bytes) = file::read(&given)?
    {
        return plain(&given, &bytes).map(Some);
    }
    let Some(bytes) = file::read(path)? else { return Ok(None) };
    if is_locked(&bytes) {
        let passphrase = passphrase()?.ok_or_else(|| StoreError::Locked { key: path.to_path_buf() })?;
        return unlock(path, &bytes, &passphrase).map(Some);
    }
    plain(path, &bytes).map(Some)
}

/// The key, made where there is none.
pub(crate) fn read_or_create(path: &Path) -> Result<Secret<32>, StoreError> {
    // Two state files may share a key file, so it has a lock of its own.
    let _lock = file::lock(path)?;
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let key = Secret::new(random()?);
    write(path, &key, passphrase()?.as_ref())?;
    Ok(key)
}

/// Locks a key file with the passphrase, or with another one where it is locked already; with none, unlocks it.
///
/// # Errors
/// [`StoreError::Locked`] where the key cannot be read, or another [`StoreError`]; the file is as it was then.
pub fn relock(path: &Path, passphrase: Option<&Zeroizing<Vec<u8>>>) -> Result<bool, StoreError> {
    let _lock = file::lock(path)?;
    let Some(bytes) = file::read(path)? else { return Ok(false) };
    let key = if is_locked(&bytes) {
        let old = self::passphrase()?.ok_or_else(|| StoreError::Locked { key: path.to_path_buf() })?;
        unlock(path, &bytes, &old)?
    } else {
        plain(path, &bytes)?
    };
    write(path, &key, passphrase)?;
    Ok(true)
}

/// The passphrase in a file, without the end of its line.
///
/// # Errors
/// [`StoreError::Passphrase`] where there is none in it, or [`StoreError::File`].
pub fn read_passphrase(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let none = || StoreError::Passphrase { file: path.to_path_buf() };
    let mut bytes = file::read(path)?.ok_or_else(none)?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() { Err(none()) } else { Ok(bytes) }
}

fn passphrase() -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let file = std::env::var_os(PASSPHRASE_FILE).filter(|file| !file.is_empty());
    file.map(|file| read_passphrase(Path::new(&file))).transpose()
}

fn credential(path: &Path) -> Option<PathBuf> {
    Some(file::credentials()?.join(path.file_name()?))
}

fn plain(path: &Path, bytes: &[u8]) -> Result<Secret<32>, StoreError> {
    bytes.try_into().map(Secret::new).map_err(|_| StoreError::KeyDamaged { key: path.to_path_buf() })
}

fn is_locked(bytes: &[u8]) -> bool {
    bytes.len() == LOCKED_LEN && bytes.starts_with(MAGIC)
}

fn write(path: &Path, key: &Secret<32>, passphrase: Option<&Zeroizing<Vec<u8>>>) -> Result<(), StoreError> {
    match passphrase {
        None => Ok(file::replace(path, key.expose())?),
        Some(passphrase) => Ok(file::replace(path, &lock(path, key, passphrase)?)?),
    }
}

/// Magic, memory in KiB, passes and lanes as u32 each, salt, nonce, then the sealed key; all before it is its AD.
fn lock(path: &Path, key: &Secret<32>, passphrase: &[u8]) -> Result<Vec<u8>, StoreError> {
    let (salt, nonce): ([u8; 16], [u8; 24]) = (random()?, random()?);
    let mut locked = Vec::with_capacity(LOCKED_LEN);
    locked.extend_from_slice(MAGIC);
    locked.extend(COST.iter().flat_map(|cost| cost.to_le_bytes()));
    locked.extend_from_slice(&salt);
    locked.extend_from_slice(&nonce);
    let lock = stretch(path, passphrase, COST, &salt)?;
    let mut sealed = Zeroizing::new(*key.expose());
    let tag = seal_detached(&lock, &nonce, &locked, sealed.as_mut_slice());
    locked.extend_from_slice(sealed.as_slice());
    locked.extend_from_slice(&tag);
    Ok(locked)
}

fn unlock(path: &Path, bytes: &[u8], passphrase: &[u8]) -> Result<Secret<32>, StoreError> {
    let damaged = || StoreError::KeyDamaged { key: path.to_path_buf() };
    let (header, sealed) = bytes.split_at_checked(HEADER_LEN).ok_or_else(damaged)?;
    let field = |from: usize| header.get(from..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_le_bytes);
    let cost = [field(8), field(12), field(16)].map(Option::unwrap_or_default);
    let salt = header.get(20..36).and_then(|salt| salt.try_into().ok()).ok_or_else(damaged)?;
    let nonce = header.get(36..).and_then(|nonce| nonce.try_into().ok()).ok_or_else(damaged)?;
    if cost.iter().zip(MAX_COST).any(|(cost, most)| *cost == 0 || *cost > most) {
        return Err(damaged());
    }
    let lock = stretch(path, passphrase, cost, salt)?;
    let mut opened = Zeroizing::new(sealed.to_vec());
    let wrong = |_| StoreError::WrongPassphrase { key: path.to_path_buf() };
    open_detached(&lock, nonce, header, &mut opened).map_err(wrong)?;
    opened.get(..32).ok_or_else(damaged).and_then(|key| plain(path, key))
}

fn stretch(path: &Path, passphrase: &[u8], cost: [u32; 3], salt: &[u8; 16]) -> Result<Secret<32>, StoreError> {
    let damaged = |_| StoreError::KeyDamaged { key: path.to_path_buf() };
    let [memory, passes, lanes] = cost;
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(damaged)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(damaged)?;
    Ok(Secret::new(*key))
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_key_opens_with_its_passphrase_alone() {
        let (path, key) = (Path::new("relay.key"), Secret::new([7; 32]));
        let locked = lock(path, &key, b"correct horse").unwrap();
        assert!(is_locked(&locked) && !locked.windows(8).any(|part| part == [7; 8]));
        assert_eq!(unlock(path, &locked, b"correct horse").unwrap().expose(), key.expose());
        let wrong = unlock(path, &locked, b"correct hors").unwrap_err();
        assert!(matches!(wrong, StoreError::WrongPassphrase { .. }), "{wrong}");
        for (place, mask) in [(20, 1), (40, 1), (61, 1), (LOCKED_LEN - 1, 1)] {
            let mut damaged = locked.clone();
            damaged[place] ^= mask;
            assert!(unlock(path, &damaged, b"correct horse").is_err(), "byte {place}");
        }
        // A file that would take all memory is refused before any is taken.
        let mut costly = locked.clone();
        costly[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(unlock(path, &costly, b"correct horse"), Err(StoreError::KeyDamaged { .. })));
    }
}
