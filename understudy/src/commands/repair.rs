//! `repair`: a data folder that its node refuses is set aside, so that the node can join again as a new one.

use std::path::PathBuf;

use clap::Args;
use node::disk::{set_aside, would_set_aside};

use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Which folder.
#[derive(Clone, Debug, Args)]
pub(crate) struct RepairFlags {
    /// The data folder of a node that does not run
    #[arg(long, env = "UNDERSTUDY_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Do it; without this it is only told what would be done
    #[arg(long)]
    yes: bool,
}

/// Moves what the folder holds into a folder beside it, or says that it would.
pub(crate) fn run(flags: &RepairFlags) -> Outcome {
    let failed = |error: node::disk::DiskError| Failure::error(error.to_string());
    if !flags.yes {
        let plan = would_set_aside(&flags.data).map_err(failed)?;
        return Err(Failure::usage(format!(
            "this node would forget who it is and what it knows, and join as a new node. As long as a majority of the other \
             voters lives, nothing is lost. --yes moves {} to {}; nothing is removed",
            plan.names.join(", "),
            plan.to.display()
        )));
    }
    let done = set_aside(&flags.data).map_err(failed)?;
    show::line(&format!("moved {} to {}", done.names.join(", "), done.to.display()))?;
    show::talk(
        "start the node with --join as before: it joins as a new node. The folder that was set aside can be removed when the \
         cluster is whole again",
    );
    Ok(Exit::Ok)
}
