//! Bytes to values and back: cursors, record headers, frames, padding. No keys, no state.

mod caveats;
mod control;
mod cursor;
mod frame;
mod padding;
mod params;
mod record;

pub use caveats::{CAVEATS_MAX, Caveats, MAX_CAVEATS};
pub use control::{Auth, AuthOk, CAPABILITY_LEN, Close, MAX_NAME, PairAccept, PairFinish, Scope, TOKEN_LEN};
pub use cursor::{Malformed, NoSpace, Reader, Writer};
pub(crate) use frame::{ENTRY_LEN, STATE_HEADER_LEN};
pub use frame::{Frame, RESUME_ENTRIES, ResumeEntries, ResumeEntry, ResumeState, STREAM_HEADER_LEN, StreamId};
pub use padding::padme;
pub use params::{PARAMS_LEN, Params};
pub use record::{HEADER_LEN, Header, MAX_PLAINTEXT, MAX_RECORD, RECORD_TYPE, TAG_LEN};
