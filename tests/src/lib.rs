//! The upper levels of the test pyramid, and the tools they stand on.
//!
//! ```text
//!   tests/tidy.rs        the house rules: arrows between rooms, sizes, forbidden names, documents
//!   tests/cluster/       real processes of the real program on loopback, real disks, real signals
//!   tests/lab/           the same, seen by ZeroMQ programs of examples/lab that know nothing of it
//!   tests/queue/         the same, fed by a queue of a real RabbitMQ
//!   tests/recodex/       the same, between ReCodEx's front ends, workers, monitor and notifier
//!   tests/containers/    the compose file as users start it: containers killed, paused, cut off, moved
//!        │ drives
//!        ▼
//!   Cluster ── starts, kills, pauses, stops ──▶ `understudy master | worker`  (one process a node)
//!   Client  ── keys, repeats, other nodes ────▶ their HTTP
//!   Bridge  ── starts, ends ──────────────────▶ `understudy bridge`
//!   Rabbit  ── starts, kills ─────────────────▶ RabbitMQ of Debian's packages ── AMQP ──▶ `understudy bridge amqp`
//!   Backend ── is heard and spoken to by ──────▶ front ends, workers, a monitor, a notifier of ReCodEx: threads of the test
//!   Marathon ─ pretends ──────────────────────▶ where a queue runs
//!   Lab     ── starts, kills, pauses ─────────▶ client.py, worker.py …  ── ZeroMQ ──▶ their lab ports
//! ```
//!
//! Levels below live with what they test: units in each room, histories of whole clusters in `simulator`.
//!
//! **Decides:** nothing about the product. **May not touch:** the inside of any room; a cluster test knows what a user
//! knows: flags, HTTP, files, signals. **Driven by:** `cargo test -p tests` or `scripts/test`.
//! **Leaves out:** the browser (`tests/browser`, in Python). Where there is no Docker the container tests print `not run: no Docker`.

pub mod bridge;
pub mod client;
pub mod cluster;
pub mod containers;
pub mod lab;
pub mod lab_containers;
pub mod load;
pub mod loop_disk;
pub mod marathon;
pub mod ports;
pub mod process;
pub mod queue_components;
pub mod queue_compose;
pub mod rabbit;
pub mod recodex;
pub mod source;
pub mod store;
pub mod tap;
pub mod wait;

pub use bridge::Bridge;
pub use client::{Client, Told};
pub use cluster::{Cluster, Plan};
pub use containers::Containers;
pub use lab::Lab;
pub use load::Load;
pub use loop_disk::LoopDisk;
pub use marathon::Marathon;
pub use process::{Ended, Node, understudy};
pub use store::LogStore;
pub use tap::Tap;
pub use wait::{eventually, until};
