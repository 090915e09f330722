//! `master` and `worker`: one node, until it is told to end.

use std::io::Read as _;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;

use crate::exit::{Exit, Failure, Outcome};
use crate::settings::{self, NodeFlags, Role};
use crate::show;

/// Between the end of the parent and an end without good-byes.
const GOODBYE: Duration = Duration::from_secs(5);

/// Runs the node.
pub(crate) fn run(flags: &NodeFlags, role: Role) -> Outcome {
    let settings = settings::read(flags, role)?;
    for missing in settings.missing_beyond_loopback() {
        show::talk(&format!("understudy: --insecure: {missing}"));
    }
    if flags.leash {
        end_with_parent().map_err(|cause| Failure::error(format!("starting the node: {cause}")))?;
    }
    node::run(settings, client_web::router).map_err(|error| Failure::error(error.to_string()))?;
    Ok(Exit::Ok)
}

/// The parent holds the other end of standard input and never writes: its end, however it came about, ends this node.
pub(crate) fn end_with_parent() -> std::io::Result<()> {
    let watch = move || {
        // Whatever comes is of no interest; an error is an end too.
        let _ = std::io::copy(&mut std::io::stdin().lock().take(u64::MAX), &mut std::io::sink());
        let _ = kill(getpid(), Signal::SIGTERM);
        std::thread::sleep(GOODBYE);
        let _ = kill(getpid(), Signal::SIGKILL);
    };
    std::thread::Builder::new().name("leash".to_string()).spawn(watch).map(drop)
}
