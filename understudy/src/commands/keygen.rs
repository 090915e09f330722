//! `keygen`: a key file for a cluster whose containers have no shell. With one: `head -c 32 /dev/urandom | base64`.

use std::path::PathBuf;

use clap::Args;
use node::cluster_key::ClusterKey;

use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct KeygenFlags {
    /// The key file; one that is there stays as it is
    file: PathBuf,
}

/// Makes the file, unless it is there.
pub(crate) fn run(flags: &KeygenFlags) -> Outcome {
    let file = flags.file.display();
    let failed = |error| Failure::error(format!("making the cluster key {file}: {error}"));
    let made = ClusterKey::keep(&flags.file).map_err(failed)?;
    show::talk(&format!("the cluster key {file} {}", if made { "is made" } else { "is there" }));
    Ok(Exit::Ok)
}
