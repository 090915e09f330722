//! Clusters of real processes: what a user is promised, seen from where a user stands.

mod bad_input;
mod bench;
mod disks;
mod door;
mod drain;
mod failover;
mod files;
mod following;
mod history;
mod holes;
mod lines;
mod membership;
mod order;
mod patterns;
mod placement;
mod programs;
mod recover;
mod restart;
mod retries;
mod rolling;
mod sealed;
mod snapshots;
mod stop;
mod story;
mod tokens;
mod views;
