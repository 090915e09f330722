//! A load generator: what a cluster does in a second, beside something that keeps nothing.
//!
//! ```text
//!   one DEALER, N in flight ══▶ broker ══▶ workers (REQ, reply at once) ══▶ broker ══▶ DEALER
//!                               ours, or a bare ROUTER-ROUTER one of libzmq, in turn
//! ```
//! **Decides:** how much is asked at once, for how long, and what is counted: answers a second, each checked for its question.
//! **May not touch:** the inside of a cluster; it drives what any program could.
//! **Driven by:** [`lab::measure`], in rounds; quote the ratio of one sitting, never a figure alone.
//! **Leaves out:** HTTP, batches, memory (later versions); any verdict.

pub mod bare;
pub mod lab;
pub mod limits;
