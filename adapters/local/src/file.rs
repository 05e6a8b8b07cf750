//! Private files, mode 0600: read with a bound, replaced whole, safe from crashes. What they say
//! is the caller's business; encryption is in [`store`](crate::store).

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// No file of ours is longer, in bytes.
pub const MAX_FILE: usize = 16 << 20;

/// A private file or directory could not be used. The file is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of secrets that other users may read or write.
    #[error("other users can get at {path} (mode {mode:03o}); run `chmod 600 {path}`", path = path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory in which other users may replace our files.
    #[error("other users can change files in {path} (mode {mode:03o}); run `chmod 700 {path}`", path = path.display())]
    DirTooOpen {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else stands where a file should.
    #[error("{} is not a regular file; move it away", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// More than [`MAX_FILE`] bytes.
    #[error("{} is larger than {MAX_FILE} bytes, so it is none of ours; move it away", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not the JSON that was expected. The parser's own words are kept back: they may quote secrets.
    #[error("{}, line {line}, column {column}: not what this version of homing reads", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Line of the first mistake, from 1; zero where there is none to name.
        line: usize,
        /// Column of the first mistake.
        column: usize,
    },
    /// A value that JSON cannot hold.
    #[error("cannot write {} as JSON", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_path_buf(), source }
    }

    pub(crate) fn unreadable(path: &Path, error: &serde_json::Error) -> Self {
        Self::Unreadable { path: path.to_path_buf(), line: error.line(), column: error.column() }
    }
}

/// Makes a directory, and those above it, with mode 0700; one that exists is only checked.
///
/// # Errors
/// [`FileError::DirTooOpen`] where other users may write to it, or [`FileError::Io`].
pub fn make_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::io("create", path))?;
    check_dir(path)
}

/// Whether only we may add and replace files in `path`. A missing directory passes.
pub(crate) fn check_dir(path: &Path) -> Result<(), FileError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::io("read", path)(error)),
        Ok(meta) if meta.mode() & 0o022 != 0 => {
            Err(FileError::DirTooOpen { path: path.to_path_buf(), mode: meta.mode() & 0o777 })
        }
        Ok(_) => Ok(()),
    }
}

/// Where systemd lays what it hands to this service, and to nobody else.
#[must_use]
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Whether systemd handed this over. It lets the service's user in by an ACL, whose mask shows as the mode of the group.
fn is_credential(path: &Path) -> bool {
    credentials().is_some_and(|dir| path.parent() == Some(&dir))
}

/// The whole file, wiped on drop; `None` where there is none.
///
/// # Errors
/// [`FileError::TooOpen`], [`FileError::TooLarge`], [`FileError::NotAFile`] or [`FileError::Io`].
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let io = || FileError::io("read", path);
    // Without blocking, should a pipe stand there.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io())?,
    };
    let meta = file.metadata().map_err(io())?;
    if !meta.is_file() {
        return Err(FileError::NotAFile { path: path.to_path_buf() });
    }
    let others = if is_credential(path) { 0o037 } else { 0o077 };
    if meta.mode() & others != 0 {
        return Err(FileError::TooOpen { path: path.to_path_buf(), mode: meta.mode() & 0o777 });
    }
    let too_large = || FileError::TooLarge { path: path.to_path_buf() };
    let len = usize::try_from(meta.len()).ok().filter(|len| *len <= MAX_FILE).ok_or_else(too_large)?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
    file.take(len as u64 + 1).read_to_end(&mut bytes).map_err(io())?;
    Ok(Some(bytes))
}

/// Replaces the whole file, or makes it, in a directory that exists. After a crash it is either
/// the old one or the new one. Waits for other processes that are replacing it.
///
/// # Errors
/// [`FileError::Io`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let _lock = lock(path)?;
    replace(path, bytes)
}

/// A value from a JSON file; `None` where there is no file.
///
/// # Errors
/// As [`read`], and [`FileError::Unreadable`].
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| FileError::unreadable(path, &error))
}

/// Replaces a file by a value's JSON, as [`write()`] does.
///
/// # Errors
/// As [`write()`], and [`FileError::Unwritable`].
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), FileError> {
    let text = serde_json::to_vec_pretty(value).map_err(|_| FileError::Unwritable { path: path.to_path_buf() })?;
    write(path, &Zeroizing::new(text))
}

/// Waits until no other process, nor another holder in this one, holds the lock that guards
/// `path`; it is ours until dropped. The lock is a file of its own, since `path` gets replaced.
pub(crate) fn lock(path: &Path) -> Result<File, FileError> {
    let path = beside(path, "lock");
    let file = open_lock(&path)?;
    file.lock().map_err(FileError::io("lock", &path))?;
    Ok(file)
}

/// As the lock that guards writing `path`, for as long as it is held; none where another holder has it.
///
/// # Errors
/// [`FileError::Io`].
pub fn try_lock(path: &Path) -> Result<Option<File>, FileError> {
    let path = beside(path, "lock");
    let file = open_lock(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(FileError::io("lock", &path)(error)),
    }
}

pub(crate) fn open_lock(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(FileError::io("create", path))
}

/// As [`write`], with the lock held by the caller, which makes the temporary name ours alone.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temp = beside(path, "tmp");
    match fs::remove_file(&temp) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(FileError::io("remove", &temp)(error)),
        _ => {}
    }
    let written = write_new(&temp, bytes)
        .map_err(FileError::io("write", &temp))
        .and_then(|()| fs::rename(&temp, path).map_err(FileError::io("replace", path)));
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
    written?;
    // The rename itself has to reach the disk before anyone relies on it.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(FileError::io("sync", dir))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// `.NAME.EXTENSION` in the same directory.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_private_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
        write_json(&path, &[1, 2, 3]).unwrap();
        write_json(&path, &[4, 5]).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![4, 5]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!beside(&path, "tmp").exists());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
    }

    #[test]
    fn huge_files_and_pipes_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        write(&path, b"x").unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(MAX_FILE as u64 + 1).unwrap();
        assert!(matches!(read(&path), Err(FileError::TooLarge { .. })));
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&fifo).status().unwrap().success());
        assert!(matches!(read(&fifo), Err(FileError::NotAFile { .. })));
    }

    #[test]
    fn a_mistake_in_a_file_is_located_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        write(&path, b"[1,\n\"hunter2\"]").unwrap();
        let error = read_json::<Vec<u8>>(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn directories_are_made_private_and_shared_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        make_dir(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o775)).unwrap();
        assert!(matches!(make_dir(&inner), Err(FileError::DirTooOpen { mode: 0o775, .. })));
    }
}
