#![no_main]

use homing_fuzz::bodies::wire::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));
