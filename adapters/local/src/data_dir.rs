//! Which directory holds a machine's homing data. Creating it is left to whoever writes there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

/// The environment variable that names the data directory.
pub const VARIABLE: &str = "HOMING_DATA";

/// There is nothing to tell where data should live.
#[derive(Debug, thiserror::Error)]
#[error("no data directory: this user has no home; pass `--data DIR` or set {VARIABLE}")]
pub struct NoDataDir;

/// The data directory as an absolute path: `explicit`, else `HOMING_DATA`, else what systemd set
/// up (`STATE_DIRECTORY`), else `homing` in the user's XDG data directory.
///
/// # Errors
/// [`NoDataDir`] where none of them is known.
pub fn resolve(explicit: Option<&Path>) -> Result<PathBuf, NoDataDir> {
    let home = || etcetera::choose_base_strategy().ok().map(|base| base.data_dir());
    let dir = choose(explicit, |name| std::env::var_os(name), home).ok_or(NoDataDir)?;
    std::path::absolute(dir).map_err(|_| NoDataDir)
}

fn choose(
    explicit: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
    home: impl FnOnce() -> Option<PathBuf>,
) -> Option<PathBuf> {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    explicit
        .map(Path::to_path_buf)
        .or_else(|| variable(VARIABLE).map(PathBuf::from))
        // systemd lists several directories with colons; the first is the unit's own.
        .or_else(|| variable("STATE_DIRECTORY").and_then(|list| std::env::split_paths(&list).next()))
        .or_else(|| home().map(|data| data.join("homing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_beat_variables_and_variables_beat_the_home() {
        let home = || Some(PathBuf::from("/home/me/.local/share"));
        let env = |pairs: &'static [(&'static str, &'static str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let both = &[(VARIABLE, "/mine"), ("STATE_DIRECTORY", "/var/lib/homing:/var/lib/more")];
        assert_eq!(choose(Some(Path::new("/flag")), env(both), home), Some("/flag".into()));
        assert_eq!(choose(None, env(both), home), Some("/mine".into()));
        assert_eq!(choose(None, env(&both[1..]), home), Some("/var/lib/homing".into()));
        assert_eq!(choose(None, env(&[(VARIABLE, "")]), home), Some("/home/me/.local/share/homing".into()));
        assert_eq!(choose(None, env(&[]), || None), None);
    }

    #[test]
    fn relative_paths_become_absolute() {
        assert!(resolve(Some(Path::new("here"))).unwrap().is_absolute());
    }
}
