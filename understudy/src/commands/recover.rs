//! `recover`: the cluster goes on from one surviving node's disk when a majority of its voters is lost for good.

use std::path::{Path, PathBuf};

use clap::Args;
use node::recovery::{Plan, RecoverError, Survivor, recover, would_recover};

use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Which folder.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecoverFlags {
    /// The data folder of the surviving node that the cluster is to go on from; the node does not run
    #[arg(long, visible_alias = "data", env = "UNDERSTUDY_DATA", value_name = "DIR")]
    from: PathBuf,
    /// Do it; without this it is only told what would be done
    #[arg(long)]
    yes: bool,
}

/// Gives the folder a memory in which its node is the only voter, or says that it would.
pub(crate) fn run(flags: &RecoverFlags) -> Outcome {
    let data = &flags.from;
    let failed = |error: RecoverError| Failure::error(error.to_string());
    let plan = would_recover(data).map_err(failed)?;
    if !flags.yes {
        return Err(Failure::usage(told(data, &plan)));
    }
    if let Plan::Begin(survivor) = &plan {
        show::talk(&held(data, survivor));
    }
    let done = recover(data).map_err(failed)?;
    show::line(&format!(
        "recovered: node {} is the only voter of cluster {}, epoch {}; the old memory is in {}",
        done.identity.node,
        done.identity.cluster,
        done.epoch,
        done.aside.display()
    ))?;
    show::talk(
        "start the node as before: it leads alone. Then start new nodes with --join, under any name that no live node bears; nodes \
         that come back with their old folder are refused until `understudy repair` has set it aside",
    );
    Ok(Exit::Ok)
}

/// What `--yes` would do.
fn told(data: &Path, plan: &Plan) -> String {
    let Plan::Begin(survivor) = plan else {
        return format!("a recovery of {} was begun and has not ended; --yes ends it", data.display());
    };
    format!(
        "{}\nThe cluster would go on from this disk alone, as epoch {}: its node would be the only voter, under a new cluster id, and \
         all that its log holds would count, also what nobody knows to be agreed on. Lost is whatever was acknowledged by a majority \
         without this disk. Do this only when a majority of the voters is lost for good, and only once: from the folder with the \
         highest (last term, last index) of all that are left. --yes does it; nothing is removed",
        held(data, survivor),
        survivor.epoch
    )
}

/// Whose folder it is, and how far it goes.
fn held(data: &Path, survivor: &Survivor) -> String {
    let Survivor { identity, name, members, last_term, last_index, commit, cut, open_jobs, .. } = survivor;
    let torn = cut.map_or_else(String::new, |cut| {
        format!("; a last write of {} bytes was torn by a crash and is left out", cut.bytes)
    });
    format!(
        "{}: node {name} ({}) of cluster {}, which knows the members {}.\nIts log ends at (last term, last index) = ({last_term}, \
         {last_index}), agreed on for certain up to {commit}; {open_jobs} jobs in it have not ended{torn}.",
        data.display(),
        identity.node,
        identity.cluster,
        members.join(", "),
    )
}
