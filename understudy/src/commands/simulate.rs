//! `simulate`: whole clusters of the real minds in virtual time, with faults, from a seed.

use clap::Args;

use crate::exit::{Failure, Outcome};

/// Which histories.
#[derive(Debug, Args)]
pub(crate) struct SimulateFlags {
    /// Seed of the (first) history
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after another
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Nodes of the cluster (default: 3 to 5, by the seed)
    #[arg(long)]
    nodes: Option<usize>,
    /// Length of a history in minutes of virtual time
    #[arg(long)]
    minutes: Option<u64>,
    /// Tell the whole history
    #[arg(long)]
    verbose: bool,
}

/// Runs the histories; a broken invariant is an error that names the command which replays it.
pub(crate) fn run(flags: &SimulateFlags, _json: bool) -> Outcome {
    let _ = (flags.seed, flags.seeds, flags.nodes, flags.minutes, flags.verbose);
    Err(Failure::error("the simulator is not mounted yet"))
}
