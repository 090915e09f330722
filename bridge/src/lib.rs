//! Bridges: what joins a cluster to programs that know nothing of it.
//!
//! ```text
//!   broker 1 ──job──▶ lab (worker here, client there) ──request──▶ broker 2          either may be a node or the lab's own
//!   ventilator ──PUSH──▶ pattern ──api (HTTP)──▶ any node … its job's end ──PUSH──▶ sink
//!   one peer ◀══PAIR══▶ pattern
//!   AMQP queue ──delivery──▶ amqp ──api (HTTP)──▶ any node … its job's end ──acknowledgement──▶ queue
//! ```
//!
//! **Decides:** when a request is passed on, asked again, refused as a loop or given up; how many are under way; in which
//! order answers leave.
//! **May not touch:** the inside of a cluster: it sees ZeroMQ frames, AMQP messages and the HTTP API, as any stranger does.
//! **Driven by:** [`lab::run`], [`pattern::run`] and [`amqp::run`] until a [`Stop`] is given; [`api`] and [`job`] by the command line too.
//! **Leaves out:** keeping anything on disk: what a killed bridge held is asked again by whoever
//! waits for it, or gone where nobody does (`docs/bridges.md`).

pub mod address;
pub mod amqp;
pub mod api;
mod errand;
pub mod job;
pub mod lab;
pub mod limits;
mod monitor;
pub mod pattern;
mod stop;
pub mod text;

pub use errand::Say;
pub use stop::Stop;
