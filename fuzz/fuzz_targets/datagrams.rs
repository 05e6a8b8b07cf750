#![no_main]

use homing_fuzz::bodies::{
    Steps,
    datagrams::{Step, check},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Steps<Step<'_>>| check(&steps));
