//! What both programs bring: the suite, and something in the place of randomness.

use core::ptr;

use homing_core::handshake::Suite;

/// Known when it is compiled: the classic one links no ML-KEM.
pub(crate) const SUITE: Suite = if cfg!(feature = "hybrid") { Suite::Hybrid } else { Suite::Classic };

/// Not random: a program takes its chip's generator.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    static mut STATE: u32 = 0x9e37_79b9;
    for place in 0..len {
        // SAFETY: the caller's buffer has `len` bytes, and there is one thread.
        unsafe {
            STATE ^= STATE << 13;
            STATE ^= STATE >> 17;
            STATE ^= STATE << 5;
            ptr::write(dest.add(place), STATE.to_le_bytes()[0]);
        }
    }
    Ok(())
}
