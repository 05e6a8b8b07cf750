//! The homing host: pairing, devices, and the way to local services. Nothing here knows a relay's inside.

pub mod service;
