//! Other systems, driven by the same loop: a replicated key-value store (`etcd`) and a queue (`rabbit`). What an
//! acknowledgement means is as near to ours as they offer: synced on a majority of three.

pub mod etcd;
pub mod failover;
pub mod rabbit;

/// Where a system runs: started and ended by whoever calls this.
#[derive(Clone, Debug)]
pub struct Peer {
    /// `HOST:PORT` of its nodes.
    pub addresses: Vec<String>,
    /// Process of each node, in the same order.
    pub processes: Vec<u32>,
}
