//! The compose file as users start it. Without Docker each test prints `not run: no Docker` and passes; who counts them is
//! `scripts/container-tests`.

mod compose;
mod crashes;
mod faults;
mod lab;
mod memory;
mod queue;
