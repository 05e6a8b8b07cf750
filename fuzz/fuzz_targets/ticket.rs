#![no_main]

use homing_fuzz::bodies::ticket::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));
