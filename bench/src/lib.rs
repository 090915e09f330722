//! A load generator: what a cluster does in a second, beside something that keeps nothing and beside other systems.
//!
//! ```text
//!   one DEALER, N in flight ══▶ broker ══▶ workers (REQ, reply at once) ══▶ broker ══▶ DEALER
//!                               ours, or a bare ROUTER-ROUTER one of libzmq, in turn
//!
//!   a DEALER a node, N evaluations open ══▶ broker ══▶ 1,000 workers that ping (few threads) ══▶ broker
//!                                           ours, or a bare one again
//!
//!   N slots, one thing in flight each ──HTTP/1.1 or 2──▶ three nodes, child processes in a scratch folder (or yours)
//! ```
//! **Decides:** how much is asked at once, for how long, and what is counted.
//! **May not touch:** the inside of a cluster; it drives what any program could.
//! **Driven by:** [`lab::measure`], [`recodex::measure`] and [`works::all`]; quote the ratio of one sitting, never a figure alone.
//! **Leaves out:** any verdict. Drivers of other systems are behind the feature `peers`: the shipped program has none.

pub mod bare;
pub mod cluster;
pub mod lab;
pub mod limits;
pub mod line;
pub mod load;
pub mod machine;
#[cfg(feature = "peers")]
pub mod peers;
pub mod recodex;
pub mod report;
pub mod shared;
pub mod works;
