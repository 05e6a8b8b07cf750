#![no_main]

use homing_fuzz::bodies::mux::{Input, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: Input<'_>| check(&input));
