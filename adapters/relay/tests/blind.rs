//! The relay cannot read what it forwards: its code has not even the words for it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

#[test]
fn the_relay_names_nothing_of_the_layers_that_hold_keys() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    let mut dirs = vec![here.join("src"), here.join("../../core/src/relay")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            files += 1;
            for layer in ["handshake", "session", "mux", "channel", "keystore"] {
                for root in ["homing_core", "crate"] {
                    let name = format!("{root}::{layer}::");
                    assert!(!text.contains(&name), "{} names {name}", path.display());
                }
            }
        }
    }
    assert!(files > 10, "only {files} files looked at");
}
