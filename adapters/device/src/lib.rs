//! The homing device: profiles, dialling, local listeners. Nothing here knows a relay's inside.

pub mod http_proxy;
