//! The encrypted state file (protocol 13): one JSON document under a key kept in a file beside it.
//! Several processes may change it; none loses what another wrote.

use core::fmt;
use core::marker::PhantomData;
use std::io;
use std::path::{Path, PathBuf};

use homing_core::crypto::Secret;
use homing_core::keystore::{self, HEADER_LEN, Header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::file::{self, FileError, MAX_FILE};
use crate::keys;

const TAG_LEN: usize = keystore::OVERHEAD - HEADER_LEN;

/// Why state was not read or written. The files are left as they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or directory could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is state, and no key to open it.
    #[error("{} is there, but its key file {} is missing; restore the key file from a backup, or move {} away to \
        start afresh (what it holds is then lost)", state.display(), key.display(), state.display())]
    KeyMissing {
        /// The state file.
        state: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// The key file does not hold 32 bytes.
    #[error("{} is not a key file of 32 bytes; restore it from a backup", key.display())]
    KeyDamaged {
        /// The key file.
        key: PathBuf,
    },
    /// The key file is locked, and nobody says with what.
    #[error("{} is locked with a passphrase; put that into a file of mode 0600 and name it in HOMING_PASSPHRASE_FILE",
        key.display())]
    Locked {
        /// The key file.
        key: PathBuf,
    },
    /// The passphrase is another one.
    #[error("the passphrase in the file that HOMING_PASSPHRASE_FILE names does not open {}", key.display())]
    WrongPassphrase {
        /// The key file.
        key: PathBuf,
    },
    /// A file that should hold a passphrase.
    #[error("there is no passphrase in {}; write one line into it, with mode 0600", file.display())]
    Passphrase {
        /// The file.
        file: PathBuf,
    },
    /// The state file was sealed otherwise, or is damaged.
    #[error("cannot open {}; restore it together with its key file {} from a backup, or move it away to start afresh \
        (what it holds is then lost)", state.display(), key.display())]
    Sealed {
        /// The state file.
        state: PathBuf,
        /// The key that was tried.
        key: PathBuf,
        /// What is wrong with it.
        source: keystore::Error,
    },
    /// There already is state where new state was to be created.
    #[error("{} already exists", state.display())]
    Exists {
        /// The state file.
        state: PathBuf,
    },
    /// The state file was there and is gone.
    #[error("{} is gone; restore it from a backup, or start again", state.display())]
    Gone {
        /// The state file.
        state: PathBuf,
    },
    /// Another process wrote since this one read.
    #[error("another process changed {}; read it again", state.display())]
    Changed {
        /// The state file.
        state: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("no random bytes from the system")]
    Random,
}

/// An encrypted state file that holds a `T`. Its methods block: on the disk, and on other
/// processes for as long as these take to write theirs.
pub struct Vault<T> {
    state: PathBuf,
    key_file: PathBuf,
    key: Secret<32>,
    generation: u64,
    holds: PhantomData<fn(T) -> T>,
}

impl<T> fmt::Debug for Vault<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("state", &self.state)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Vault<T> {
    /// Opens the state file `name` in `dir` with the key in `key_name`; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`], never [`Exists`](StoreError::Exists) or [`Changed`](StoreError::Changed).
    pub fn open(dir: &Path, name: &str, key_name: &str) -> Result<Option<(Self, T)>, StoreError> {
        file::check_dir(dir)?;
        let (state, key_file) = (dir.join(name), dir.join(key_name));
        let Some(bytes) = file::read(&state)? else { return Ok(None) };
        let Some(key) = keys::read(&key_file)? else {
            return Err(StoreError::KeyMissing { state, key: key_file });
        };
        let mut vault = Self { state, key_file, key, generation: 0, holds: PhantomData };
        let value = vault.unseal(bytes)?;
        Ok(Some((vault, value)))
    }

    /// Creates the state file, and its key file and directory where these are missing.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is one, or another [`StoreError`].
    pub fn create(dir: &Path, name: &str, key_name: &str, value: &T) -> Result<Self, StoreError> {
        file::make_dir(dir)?;
        let (state, key_file) = (dir.join(name), dir.join(key_name));
        let _lock = file::lock(&state)?;
        if file::read(&state)?.is_some() {
            return Err(StoreError::Exists { state });
        }
        let key = keys::read_or_create(&key_file)?;
        let mut vault = Self { state, key_file, key, generation: 0, holds: PhantomData };
        vault.seal(value)?;
        Ok(vault)
    }

    /// Opens the state file, or creates it with what `initial` gives.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_or_create(
        dir: &Path,
        name: &str,
        key_name: &str,
        initial: impl FnOnce() -> T,
    ) -> Result<(Self, T), StoreError> {
        if let Some(opened) = Self::open(dir, name, key_name)? {
            return Ok(opened);
        }
        let value = initial();
        match Self::create(dir, name, key_name, &value) {
            Ok(vault) => Ok((vault, value)),
            // Another process was faster; its value counts.
            Err(StoreError::Exists { state }) => Self::open(dir, name, key_name)?.ok_or(StoreError::Gone { state }),
            Err(error) => Err(error),
        }
    }

    /// Reads the state again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(&mut self) -> Result<T, StoreError> {
        let bytes = file::read(&self.state)?.ok_or_else(|| StoreError::Gone { state: self.state.clone() })?;
        self.unseal(bytes)
    }

    /// Replaces the state by `value`, provided that nobody else wrote since this vault last read or
    /// wrote. Prefer [`update`](Self::update), which cannot meet that.
    ///
    /// # Errors
    /// [`StoreError::Changed`], or another [`StoreError`].
    pub fn save(&mut self, value: &T) -> Result<(), StoreError> {
        let _lock = file::lock(&self.state)?;
        let bytes = file::read(&self.state)?.ok_or_else(|| StoreError::Gone { state: self.state.clone() })?;
        let header = Header::parse(&bytes).map_err(|source| self.sealed(source))?;
        if header.generation != self.generation {
            return Err(StoreError::Changed { state: self.state.clone() });
        }
        self.seal(value)
    }

    /// Reads the state, lets `change` work on it, writes it, and returns it with what `change`
    /// gave. No other process comes in between; `change` should be short and must not update the
    /// same file again.
    ///
    /// # Errors
    /// [`StoreError`]; the state is then as it was before.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Result<(R, T), StoreError> {
        self.try_update(|value| Ok(change(value)))
    }

    /// As [`update`](Self::update), except that nothing is written where `change` fails.
    ///
    /// # Errors
    /// What `change` returns, or [`StoreError`].
    pub fn try_update<R, E: From<StoreError>>(
        &mut self,
        change: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<(R, T), E> {
        let _lock = file::lock(&self.state).map_err(StoreError::from)?;
        let mut value = self.read()?;
        let given = change(&mut value)?;
        self.seal(&value)?;
        Ok((given, value))
    }

    /// Where the state is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.state
    }

    /// How often the state has been written, as of the last read or write here.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    fn unseal(&mut self, mut bytes: Zeroizing<Vec<u8>>) -> Result<T, StoreError> {
        let (generation, text) = keystore::open(&self.key, &mut bytes).map_err(|source| self.sealed(source))?;
        if generation < self.generation {
            tracing::warn!(
                state = %self.state.display(), generation, seen = self.generation,
                "the state file was rolled back: devices revoked since then are known again",
            );
        }
        self.generation = generation;
        Ok(serde_json::from_slice(text).map_err(|error| FileError::unreadable(&self.state, &error))?)
    }

    /// Writes `value` as the next generation; the caller holds the lock.
    fn seal(&mut self, value: &T) -> Result<(), StoreError> {
        let unwritable = || FileError::Unwritable { path: self.state.clone() };
        // Measured before it is written: a buffer that grows leaves copies of secrets behind.
        let mut count = Count(0);
        serde_json::to_writer(&mut count, value).map_err(|_| unwritable())?;
        if keystore::file_len(count.0) > MAX_FILE {
            return Err(FileError::TooLarge { path: self.state.clone() }.into());
        }
        // What is left of the text's room stays blank, which JSON allows.
        let mut bytes = Zeroizing::new(vec![b' '; keystore::file_len(count.0)]);
        let end = bytes.len() - TAG_LEN;
        let room = bytes.get_mut(HEADER_LEN..end).unwrap_or_default();
        serde_json::to_writer(room, value).map_err(|_| unwritable())?;
        let generation = self.generation.saturating_add(1);
        keystore::seal(&self.key, generation, random()?, random()?, &mut bytes).map_err(|_| unwritable())?;
        file::replace(&self.state, &bytes)?;
        self.generation = generation;
        Ok(())
    }

    fn sealed(&self, source: keystore::Error) -> StoreError {
        StoreError::Sealed { state: self.state.clone(), key: self.key_file.clone(), source }
    }
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::Random)?;
    Ok(bytes)
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
