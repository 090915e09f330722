//! Open gates with the real libzmq on both sides, and raw sockets where a peer must misbehave.

#[cfg(test)]
mod backpressure;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod publish;
#[cfg(test)]
mod slow;
