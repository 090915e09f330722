//! `logdb`: the log store, which gathers the lines of all containers.

use crate::commands::start;
use crate::exit::{Exit, Failure, Outcome};
use crate::settings::LogdbFlags;
use crate::show;

/// Serves until a signal.
pub(crate) fn run(flags: &LogdbFlags) -> Outcome {
    let (settings, insecure) = flags.read()?;
    if insecure {
        show::talk(
            "understudy: --insecure: anybody who reaches these ports reads all lines and adds his own",
        );
    }
    if flags.beside.leash {
        start::end_with_parent()
            .map_err(|cause| Failure::error(format!("starting the log store: {cause}")))?;
    }
    logdb::log_store::run(settings).map_err(|error| Failure::error(error.to_string()))?;
    Ok(Exit::Ok)
}
