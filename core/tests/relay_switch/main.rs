//! The relay's switch from outside: scripted meetings of hosts and devices, and random events
//! against a model.

mod admission;
mod meetings;
mod model;
mod rng;
mod world;
