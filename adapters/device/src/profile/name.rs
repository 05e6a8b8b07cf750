//! What a host may be called on this device.

/// The longest name of a host, in bytes.
pub(super) const NAME_MAX: usize = 63;

/// A name has to fit into `HOST/SERVICE` and into `http://SERVICE.HOST.homing/`.
pub(super) fn is_name(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    name.len() <= NAME_MAX && name.split('.').all(|label| !label.is_empty() && label.bytes().all(inside))
}

/// The closest name to what a host calls itself.
pub(super) fn to_name(wanted: &str) -> String {
    let mut name = String::new();
    for c in wanted.chars().flat_map(char::to_lowercase) {
        let fits = c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
        let c = if fits { c } else { '-' };
        // One separator at a time, and none in front.
        let separates = |c| matches!(c, '-' | '.');
        if separates(c) && name.chars().last().is_none_or(separates) {
            continue;
        }
        if name.len() < NAME_MAX {
            name.push(c);
        }
    }
    let name = name.trim_end_matches(['-', '.']);
    if name.is_empty() { "host".into() } else { name.into() }
}
