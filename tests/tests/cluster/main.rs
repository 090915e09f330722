//! Clusters of real processes: what a user is promised, seen from where a user stands.

mod bad_input;
mod door;
mod failover;
mod history;
mod holes;
mod lines;
mod patterns;
mod placement;
mod restart;
mod stop;
mod story;
mod views;
