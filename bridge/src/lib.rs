//! Bridges: what joins a cluster to programs that know nothing of it.
//!
//! ```text
//!   broker 1 ──job──▶ lab (worker here, client there) ──request──▶ broker 2          either may be a node or the lab's own
//!   ventilator ──PUSH──▶ pattern ──api (HTTP)──▶ any node … its job's end ──PUSH──▶ sink
//!   one peer ◀══PAIR══▶ pattern
//! ```
//!
//! **Decides:** when a request is passed on, asked again, refused as a loop or given up; how many are under way; in which
//! order answers leave.
//! **May not touch:** the inside of a cluster: it sees ZeroMQ frames and the HTTP API, as any stranger does.
//! **Driven by:** [`lab::run`] and [`pattern::run`] until a [`Stop`] is given; [`api`] and [`job`] by the command line too.
//! **Leaves out:** AMQP (a later version); keeping anything on disk: what a killed bridge held is asked again by whoever
//! waits for it, or gone where nobody does (`docs/bridges.md`).

pub mod address;
pub mod api;
pub mod job;
pub mod lab;
pub mod limits;
mod monitor;
pub mod pattern;
mod stop;
pub mod text;

pub use stop::Stop;
