//! Frames inside records.

use super::{File, Made};

pub(super) fn cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for vector in file.list("vectors")? {
        cases.push(vector.case("frame.parse", &["bytes"], &["type", "fields"])?);
        cases.push(vector.case("frame.emit", &["type", "fields"], &["bytes"])?);
    }
    for vector in file.list("emit_only")? {
        cases.push(vector.case("frame.emit", &["type", "fields"], &["bytes"])?);
    }
    for vector in file.list("invalid")? {
        cases.push(vector.refused("frame.parse", &["bytes"])?);
    }
    for vector in file.list("plaintexts")? {
        cases.push(vector.case("frame.split", &["plaintext"], &["frames"])?);
    }
    for vector in file.list("plaintexts_invalid")? {
        cases.push(vector.refused("frame.split", &["plaintext"])?);
    }
    Ok(cases)
}
