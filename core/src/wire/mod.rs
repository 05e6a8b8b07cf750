//! Bytes to values and back: cursors, record headers, frames, padding. No keys, no state.

mod cursor;

mod padding;
mod params;
mod record;

pub use cursor::{Malformed, NoSpace, Reader, Writer};
pub use padding::padme;
pub use params::{PARAMS_LEN, Params};
pub use record::{HEADER_LEN, Header, MAX_PLAINTEXT, MAX_RECORD, RECORD_TYPE, TAG_LEN};
