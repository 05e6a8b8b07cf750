//! The file with the accounts.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError};

use super::key::RelayKey;
use super::record::{AccountEntry, Month, used_in};

/// From an account's name to its [`AccountEntry`], as JSON.
const ACCOUNTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("accounts");
/// From a key's hash to its account and, where another key has replaced it, the end of its time in Unix seconds.
const KEYS: TableDefinition<'_, &[u8; 32], (&str, Option<u64>)> = TableDefinition::new("keys");

/// The longest name of an account, in bytes.
const MAX_NAME: usize = 64;
/// Accounts in one file.
const MAX_ACCOUNTS: u64 = 100_000;

/// Why an account cannot be made, changed or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The name is taken.
    #[error("there is an account {0:?} already; for another key use: homing relay keys rotate {0}")]
    Exists(String),
    /// The name is no name.
    #[error("{0:?} cannot name an account: take 1 to {MAX_NAME} of a-z, 0-9, - . _ @")]
    Name(String),
    /// Nobody has this name.
    #[error("there is no account {0:?}; homing relay keys list shows what there is")]
    Unknown(String),
    /// It was revoked before.
    #[error("the account {0:?} was revoked; make another one with: homing relay keys add NAME")]
    Revoked(String),
    /// The file is full.
    #[error("there are {MAX_ACCOUNTS} accounts already")]
    Full,
    /// Others can read the file.
    #[error("{} can be read by others; make it yours alone: chmod 600 {}", .0.display(), .0.display())]
    Mode(PathBuf),
    /// The file cannot be used.
    #[error("cannot use {}: {error}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The system has no random bytes.
    #[error("no random bytes from the system")]
    Random,
}

/// Why a key lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No account has it, or has it any more.
    Unknown,
    /// Its account was revoked.
    Revoked,
    /// Its account has ended.
    Expired,
}

/// Whom a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entitled {
    /// The account.
    pub name: String,
    /// Its plan's name.
    pub plan: String,
    /// Until when this key lets in, in Unix seconds: the account ends then, or this key does, which another has replaced.
    pub until: Option<u64>,
    used: Option<(Month, u64)>,
}

impl Entitled {
    /// Bytes that the account has used in this month.
    #[must_use]
    pub fn used_in(&self, month: Month) -> u64 {
        used_in(self.used, month)
    }
}

/// The accounts of a relay, in one file that one process has open at a time. Every change is on disk when its call
/// returns.
pub struct Accounts {
    /// None where it could not be opened again after an error of the disk. The next call tries.
    db: RwLock<Option<Database>>,
    path: PathBuf,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Opens the file, or makes it with mode 0600.
    ///
    /// # Errors
    /// [`AccountError::Mode`], [`AccountError::Storage`].
    pub fn open(path: &Path) -> Result<Self, AccountError> {
        let db = RwLock::new(Some(Self::open_database(path)?));
        Ok(Self { db, path: path.into() })
    }

    fn open_database(path: &Path) -> Result<Database, AccountError> {
        let storage = |error: &dyn fmt::Display| AccountError::Storage { path: path.into(), error: error.to_string() };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|error: io::Error| storage(&error))?;
        let mode = file.metadata().map_err(|error| storage(&error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(AccountError::Mode(path.into()));
        }
        let backend = FileBackend::new(file).map_err(|error| storage(&error))?;
        Database::builder().create_with_backend(backend).map_err(|error| storage(&error))
    }

    /// Makes an account and its key.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn add(&self, name: &str, plan: &str, expires_at: Option<u64>, now: u64) -> Result<RelayKey, AccountError> {
        let key = RelayKey::generate().map_err(|_| AccountError::Random)?;
        self.add_hash(name, plan, expires_at, now, &key.hash())?;
        Ok(key)
    }

    /// The same for a key that somebody has already, by its [hash](homing_core::hop::operator_hash).
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn add_hash(
        &self,
        name: &str,
        plan: &str,
        expires_at: Option<u64>,
        now: u64,
        hash: &[u8; 32],
    ) -> Result<(), AccountError> {
        if !is_name(name) {
            return Err(AccountError::Name(name.into()));
        }
        self.change(|change| {
            if change.accounts.get(name)?.is_some() {
                return Ok(Err(AccountError::Exists(name.into())));
            }
            if change.accounts.len()? >= MAX_ACCOUNTS {
                return Ok(Err(AccountError::Full));
            }
            change.keys.insert(hash, (name, None))?;
            let entry = AccountEntry {
                plan: plan.into(),
                created_at: now,
                expires_at,
                revoked_at: None,
                key_made_at: now,
                old_key_until: None,
                used: None,
            };
            change.put(name, &entry).map(Ok)
        })
    }

    /// Every account by its name.
    ///
    /// # Errors
    /// [`AccountError::Storage`].
    pub fn list(&self) -> Result<BTreeMap<String, AccountEntry>, AccountError> {
        self.look(|tables| {
            let Some((accounts, _)) = tables else { return Ok(BTreeMap::new()) };
            accounts
                .iter()?
                .map(|entry| {
                    entry.map_err(redb::Error::from).and_then(|(k, v)| Ok((k.value().into(), parse(v.value())?)))
                })
                .collect()
        })
    }

    /// Makes another key for an account. The one before it lets in for `overlap` more, and one before that no longer.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Revoked`], [`AccountError::Storage`].
    pub fn rotate(&self, name: &str, overlap: Duration, now: u64) -> Result<RelayKey, AccountError> {
        let key = RelayKey::generate().map_err(|_| AccountError::Random)?;
        self.change(|change| {
            let Some(mut entry) = change.find(name)? else { return Ok(Err(AccountError::Unknown(name.into()))) };
            if entry.revoked_at.is_some() {
                return Ok(Err(AccountError::Revoked(name.into())));
            }
            let until = now.saturating_add(overlap.as_secs());
            for (hash, replaced) in change.keys_of(name)? {
                if replaced || overlap.is_zero() {
                    change.keys.remove(&hash)?;
                } else {
                    change.keys.insert(&hash, (name, Some(until)))?;
                }
            }
            change.keys.insert(&key.hash(), (name, None))?;
            entry.key_made_at = now;
            entry.old_key_until = (!overlap.is_zero()).then_some(until);
            change.put(name, &entry).map(Ok)
        })?;
        Ok(key)
    }

    /// Ends an account: none of its keys lets in any more. It stays in the list.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Revoked`], [`AccountError::Storage`].
    pub fn revoke(&self, name: &str, now: u64) -> Result<(), AccountError> {
        self.change(|change| {
            let Some(mut entry) = change.find(name)? else { return Ok(Err(AccountError::Unknown(name.into()))) };
            if entry.revoked_at.is_some() {
                return Ok(Err(AccountError::Revoked(name.into())));
            }
            entry.revoked_at = Some(now);
            entry.old_key_until = None;
            change.put(name, &entry).map(Ok)
        })
    }

    /// Adds bytes that accounts have used. Those of accounts that are gone are nobody's.
    ///
    /// # Errors
    /// [`AccountError::Storage`].
    pub fn charge(&self, used: &BTreeMap<Arc<str>, u64>, month: Month) -> Result<(), AccountError> {
        self.change(|change| {
            for (name, bytes) in used {
                if let Some(mut entry) = change.find(name)? {
                    entry.use_more(*bytes, month);
                    change.put(name, &entry)?;
                }
            }
            Ok(Ok(()))
        })
    }

    /// Whom a key lets in, by its hash.
    ///
    /// # Errors
    /// [`AccountError::Storage`].
    pub fn admit(&self, hash: &[u8; 32], now: u64) -> Result<Result<Entitled, Denial>, AccountError> {
        self.look(|tables| {
            let Some((accounts, keys)) = tables else { return Ok(Err(Denial::Unknown)) };
            let Some(key) = keys.get(hash)? else { return Ok(Err(Denial::Unknown)) };
            let (name, key_until) = key.value();
            let Some(entry) = accounts.get(name)? else { return Ok(Err(Denial::Unknown)) };
            let entry = parse(entry.value())?;
            if entry.revoked_at.is_some() {
                return Ok(Err(Denial::Revoked));
            }
            if entry.expires_at.is_some_and(|end| end <= now) {
                return Ok(Err(Denial::Expired));
            }
            if key_until.is_some_and(|end| end <= now) {
                return Ok(Err(Denial::Unknown));
            }
            let until = [entry.expires_at, key_until].into_iter().flatten().min();
            Ok(Ok(Entitled { name: name.into(), plan: entry.plan, until, used: entry.used }))
        })
    }

    fn look<R>(
        &self,
        look: impl FnOnce(Option<(AccountsTable, KeysTable)>) -> Result<R, redb::Error>,
    ) -> Result<R, AccountError> {
        self.with(|db| {
            let transaction = db.begin_read()?;
            let tables = match (transaction.open_table(ACCOUNTS), transaction.open_table(KEYS)) {
                (Ok(accounts), Ok(keys)) => Some((accounts, keys)),
                (Err(TableError::TableDoesNotExist(_)), _) | (_, Err(TableError::TableDoesNotExist(_))) => None,
                (Err(error), _) | (_, Err(error)) => return Err(error.into()),
            };
            look(tables)
        })
    }

    fn change<R>(
        &self,
        change: impl FnOnce(&mut Change<'_>) -> Result<Result<R, AccountError>, redb::Error>,
    ) -> Result<R, AccountError> {
        self.with(|db| {
            let transaction = db.begin_write()?;
            let result = {
                let (accounts, keys) = (transaction.open_table(ACCOUNTS)?, transaction.open_table(KEYS)?);
                change(&mut Change { accounts, keys })?
            };
            if result.is_ok() {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(result)
        })?
    }

    /// Uses the file. After an error of the disk, such as that it is full, an open one is of no use any more: it is opened
    /// again, as it was before the call that failed.
    fn with<R>(&self, using: impl FnOnce(&Database) -> Result<R, redb::Error>) -> Result<R, AccountError> {
        if self.db.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.open_again()?;
        }
        let used = self.db.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(using);
        let closed = || AccountError::Storage { path: self.path.clone(), error: "it is being opened".to_owned() };
        used.ok_or_else(closed)?.map_err(|error| {
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
                // Where that fails, the next call tries again, and says why.
                let _ = self.open_again();
            }
            AccountError::Storage { path: self.path.clone(), error: error.to_string() }
        })
    }

    fn open_again(&self) -> Result<(), AccountError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        *db = None; // first: it has the file's lock
        *db = Some(Self::open_database(&self.path)?);
        Ok(())
    }
}

type AccountsTable = redb::ReadOnlyTable<&'static str, &'static [u8]>;
type KeysTable = redb::ReadOnlyTable<&'static [u8; 32], (&'static str, Option<u64>)>;

struct Change<'t> {
    accounts: redb::Table<'t, &'static str, &'static [u8]>,
    keys: redb::Table<'t, &'static [u8; 32], (&'static str, Option<u64>)>,
}

impl Change<'_> {
    fn find(&self, name: &str) -> Result<Option<AccountEntry>, redb::Error> {
        self.accounts.get(name)?.map(|entry| parse(entry.value())).transpose()
    }

    fn put(&mut self, name: &str, entry: &AccountEntry) -> Result<(), redb::Error> {
        let bytes = serde_json::to_vec(entry).map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        self.accounts.insert(name, bytes.as_slice())?;
        Ok(())
    }

    /// The hashes of an account's keys, and which of them has been replaced.
    fn keys_of(&self, name: &str) -> Result<BTreeMap<[u8; 32], bool>, redb::Error> {
        let mut keys = BTreeMap::new();
        for entry in self.keys.iter()? {
            let (hash, value) = entry?;
            let (owner, until) = value.value();
            if owner == name {
                keys.insert(*hash.value(), until.is_some());
            }
        }
        Ok(keys)
    }
}

fn parse(bytes: &[u8]) -> Result<AccountEntry, redb::Error> {
    serde_json::from_slice(bytes).map_err(|error| redb::Error::Corrupted(error.to_string()))
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._@".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(known)
}
