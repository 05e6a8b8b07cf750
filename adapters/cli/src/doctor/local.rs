//! What can be seen without a network: the data directory, the clock, limits.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use homing_local::clock::{rfc3339, unix_now};
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::failure::Exit;

/// 2026-01-01, before which no homing was built.
const BUILT_AFTER: u64 = 1_767_225_600;
/// What a busy relay or host needs at least.
const FEW_FILES: u64 = 1024;

pub(super) fn check(data: &Path) -> Vec<Finding> {
    let mut findings = directory(data);
    findings.push(clock());
    findings.push(files());
    findings
}

fn directory(data: &Path) -> Vec<Finding> {
    let shown = data.display();
    let meta = match fs::metadata(data) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return vec![Finding::ok("data", format!("{shown} is not there yet; it is made when something is stored"))];
        }
        Err(error) => {
            let advice = "run this as the user that owns it, or pass --data DIR";
            return vec![Finding::fail(Exit::Failed, "data", format!("cannot look at {shown}: {error}"), advice)];
        }
    };
    let mut findings = Vec::new();
    let mode = meta.mode() & 0o777;
    findings.push(if mode & 0o022 != 0 {
        let detail = format!("other users can change files in {shown} (mode {mode:03o})");
        Finding::fail(Exit::Failed, "data", detail, format!("run `chmod 700 {shown}`"))
    } else {
        Finding::ok("data", format!("{shown} (mode {mode:03o})"))
    });
    let secret =
        |path: &Path| path.extension().is_some_and(|kind| kind == "key" || kind == "enc" || kind == "key-hash");
    let entries = fs::read_dir(data).into_iter().flatten().filter_map(Result::ok);
    for path in entries.map(|entry| entry.path()).filter(|path| secret(path)) {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            let detail = format!("other users can get at {path} (mode {mode:03o})");
            findings.push(Finding::fail(Exit::Failed, "secrets", detail, format!("run `chmod 600 {path}`")));
        }
    }
    findings
}

fn clock() -> Finding {
    let now = unix_now();
    if now < BUILT_AFTER {
        let advice = "set the clock, best by NTP: links and certificates look expired, or not valid yet";
        return Finding::fail(Exit::Failed, "clock", format!("it is {} here", rfc3339(now)), advice);
    }
    Finding::ok("clock", rfc3339(now))
}

fn files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FEW_FILES => Finding::warn(
            "open files",
            format!("at most {limit}"),
            format!("raise the limit, such as by `ulimit -n {FEW_FILES}`: every connection takes one"),
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit}")),
        None => Finding::ok("open files", "no limit"),
    }
}
