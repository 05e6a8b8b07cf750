//! The programs of this test, installed once from the lists beside it: versions that do not move.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// A directory with the programs of `requirements.txt`; `HOMING_APPS_PYTHON` names one that is there already.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let given = std::env::var_os("HOMING_APPS_PYTHON");
    given.map_or_else(|| once("apps-python", &["requirements.txt"], venv), PathBuf::from)
});

/// A directory with the programs of `package-lock.json`; `HOMING_APPS_NODE` names one that is there already.
static NODE: LazyLock<PathBuf> = LazyLock::new(|| {
    let given = std::env::var_os("HOMING_APPS_NODE");
    given.map_or_else(|| once("apps-node", &["package.json", "package-lock.json"], npm), PathBuf::from)
});

/// Where `jupyter-server` and the other programs of Python are.
pub(crate) async fn python() -> &'static Path {
    tokio::task::spawn_blocking(|| PYTHON.as_path()).await.expect("see above for what is missing")
}

/// Where `node-red` is.
pub(crate) async fn node() -> &'static Path {
    tokio::task::spawn_blocking(|| NODE.as_path()).await.expect("see above for what is missing")
}

/// What lies beside this file.
pub(crate) fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e_apps").join(name)
}

/// Installs what the lists name, unless these very lists were installed before. Gives where the programs are.
fn once(name: &str, lists: &[&str], install: fn(&Path) -> PathBuf) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (done, place) = (dir.join("installed"), dir.join("place"));
    let wanted: Vec<u8> = lists.iter().flat_map(|list| std::fs::read(beside(list)).expect("a list")).collect();
    if std::fs::read(&done).ok().as_ref() != Some(&wanted) {
        let _ = std::fs::remove_dir_all(&dir); // one of another list, or none
        std::fs::create_dir_all(&dir).unwrap();
        let programs = install(&dir);
        std::fs::write(&place, programs.to_str().unwrap()).unwrap();
        std::fs::write(&done, &wanted).unwrap();
    }
    std::fs::read_to_string(&place).unwrap().into()
}

fn venv(dir: &Path) -> PathBuf {
    let (python, help) = (dir.join("bin/python"), "python3 with venv and pip, and an index, or HOMING_APPS_PYTHON");
    must_run(Command::new("python3").args(["-m", "venv"]).arg(dir), help);
    let wanted = beside("requirements.txt");
    must_run(Command::new(python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(wanted), help);
    dir.join("bin")
}

fn npm(dir: &Path) -> PathBuf {
    for list in ["package.json", "package-lock.json"] {
        std::fs::copy(beside(list), dir.join(list)).unwrap();
    }
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]).current_dir(dir);
    must_run(&mut command, "nodejs with npm, and a registry, or HOMING_APPS_NODE");
    dir.join("node_modules/.bin")
}

fn must_run(command: &mut Command, help: &str) {
    let output = command.stdin(Stdio::null()).output();
    let output =
        output.unwrap_or_else(|error| panic!("{:?} does not start ({error}): this test needs {help}", command));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: this test needs {help}\n{said}");
}
