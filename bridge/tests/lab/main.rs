//! Bridges between brokers as the lab has them, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a peer of a test that cannot go on has failed it"
)]

mod broker;
mod loops;
mod outages;
mod peers;
mod worcli;
