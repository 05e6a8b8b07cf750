//! Where sockets stand: `run/` in the data directory, or, where that path is too long for a
//! socket, a private directory elsewhere that the link `run.link` leads to.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use homing_core::crypto::hash;

use super::{ControlError, Role};
use crate::file;

/// What the systems allow for, less the terminating zero: 108 bytes on Linux, 104 elsewhere.
const MAX_PATH: usize = 103;
/// `/device-4294967295.sock`
const MAX_NAME: usize = 23;

/// The file name of `role`'s socket, for process `pid` where there may be several.
pub(super) fn name(role: Role, pid: u32) -> String {
    match role {
        Role::Relay | Role::Host => format!("{role}.sock"),
        Role::Device => format!("{role}-{pid}.sock"),
    }
}

/// What [`name`] made.
pub(super) fn parse_name(name: &str) -> Option<(Role, Option<u32>)> {
    match name.strip_suffix(".sock")? {
        "relay" => Some((Role::Relay, None)),
        "host" => Some((Role::Host, None)),
        other => Some((Role::Device, Some(other.strip_prefix("device-")?.parse().ok()?))),
    }
}

/// The directory of the sockets, where it exists.
pub(super) fn find(data: &Path) -> Result<Option<PathBuf>, ControlError> {
    let data = match fs::canonicalize(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(ControlError::io(data))?,
    };
    let run = data.join("run");
    if fits(&run) {
        return private(run);
    }
    let link = data.join("run.link");
    match fs::read_link(&link) {
        Ok(target) => private(target),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ControlError::io(&link)(error)),
    }
}

/// The directory of the sockets, made where it is missing. The caller holds a lock.
pub(super) fn make(data: &Path) -> Result<PathBuf, ControlError> {
    if let Some(found) = find(data)? {
        return Ok(found);
    }
    let data = fs::canonicalize(data).map_err(ControlError::io(data))?;
    let run = data.join("run");
    if fits(&run) {
        return create(run);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let target = create(elsewhere(runtime, &data))?;
    // What stands there, if anything, leads nowhere: the directory went with the last boot.
    let link = data.join("run.link");
    let _ = fs::remove_file(&link);
    symlink(&target, &link).map_err(ControlError::io(&link))?;
    Ok(target)
}

fn elsewhere(runtime: Option<PathBuf>, data: &Path) -> PathBuf {
    let digest = hash(&[data.as_os_str().as_encoded_bytes()]);
    let id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    let name = format!("homing-{}-{id}", rustix::process::geteuid().as_raw());
    let dir = runtime.map(|dir| dir.join(&name)).filter(|dir| fits(dir));
    dir.unwrap_or_else(|| Path::new("/tmp").join(name))
}

fn create(dir: PathBuf) -> Result<PathBuf, ControlError> {
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(ControlError::io(&dir)(error)),
        _ => {}
    }
    private(dir.clone())?.ok_or(ControlError::NotPrivate { path: dir })
}

/// The directory, provided that it is ours alone: in `/tmp` anyone may have made it first.
fn private(dir: PathBuf) -> Result<Option<PathBuf>, ControlError> {
    let meta = match fs::symlink_metadata(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(ControlError::io(&dir))?,
    };
    let me = rustix::process::geteuid();
    let ours = meta.uid() == me.as_raw() || me.is_root();
    if meta.is_dir() && ours && meta.mode() & 0o077 == 0 {
        Ok(Some(dir))
    } else {
        Err(ControlError::NotPrivate { path: dir })
    }
}

fn fits(dir: &Path) -> bool {
    dir.as_os_str().len() + MAX_NAME <= MAX_PATH
}

/// Guards making the directory and taking over a dead process's socket.
pub(super) fn lock(data: &Path) -> Result<fs::File, ControlError> {
    file::make_dir(data)?;
    Ok(file::lock(&data.join("run"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_fit() {
        for role in [Role::Relay, Role::Host, Role::Device] {
            let name = name(role, u32::MAX);
            assert!(name.len() < MAX_NAME);
            assert_eq!(parse_name(&name).unwrap().0, role);
        }
        for other in ["", ".sock", "host", "device-.sock", "device-x.sock", "web.sock"] {
            assert_eq!(parse_name(other), None);
        }
    }

    #[test]
    fn a_long_runtime_directory_gives_way_to_tmp() {
        let data = Path::new("/d");
        let short = elsewhere(Some("/run/user/1000".into()), data);
        assert!(short.starts_with("/run/user/1000") && fits(&short));
        let long = elsewhere(Some(format!("/{}", "x".repeat(90)).into()), data);
        assert!(long.starts_with("/tmp") && fits(&long));
    }
}
