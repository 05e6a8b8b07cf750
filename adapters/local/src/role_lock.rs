//! One process per role and data directory. The lock goes with the process, however it ends.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::file::{self, FileError};

/// Why a role may not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleLockError {
    /// Another process has the role.
    #[error("a {role} already runs with this data directory{}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Running {
        /// The role's name.
        role: &'static str,
        /// The other process, where it has said.
        pid: Option<u32>,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Held for as long as this process has a role.
#[derive(Debug)]
pub struct RoleLock {
    file: File,
}

impl RoleLock {
    /// Takes the role `role`, which names the lock file (`host.lock`), in the data directory.
    ///
    /// # Errors
    /// [`RoleLockError::Running`] where another process, or this one, already has it.
    pub fn acquire(data: &Path, role: &'static str) -> Result<Self, RoleLockError> {
        file::make_dir(data)?;
        let path = data.join(format!("{role}.lock"));
        let mut file = file::open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RoleLockError::Running { role, pid: read_pid(&mut file) }),
            Err(TryLockError::Error(error)) => return Err(FileError::io("lock", &path)(error).into()),
        }
        let said = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        said.map_err(FileError::io("write", &path))?;
        Ok(Self { file })
    }
}

impl Drop for RoleLock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files of one name.
        let _ = self.file.set_len(0);
        // A child that is just being started holds a copy of the file, hence not by closing alone.
        let _ = self.file.unlock();
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_taken_once_and_free_again_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let held = RoleLock::acquire(dir.path(), "host").unwrap();
        let refused = RoleLock::acquire(dir.path(), "host").unwrap_err().to_string();
        assert_eq!(refused, format!("a host already runs with this data directory (pid {})", std::process::id()));
        RoleLock::acquire(dir.path(), "relay").unwrap();
        drop(held);
        RoleLock::acquire(dir.path(), "host").unwrap();
    }
}
