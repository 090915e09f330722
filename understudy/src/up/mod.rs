//! `up`: a cluster on this machine. Its nodes are child processes of this very program, and end with it.
//!
//! ```text
//!   up ──spawns──▶ master, worker1 … workerN      each in a process group of its own, output in DIR/NAME/console.log
//!    └── holds the other end of each one's standard input: the end of `up`, even by kill -9, ends that pipe,
//!        and a node started with --leash ends with the pipe
//! ```
//! A child that dies is not started again: `up` says so and prints the command that does it.

mod child;
mod first;
mod plan;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use node::cluster_key::ClusterKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure, Outcome};
use crate::show;
use child::Child;
use plan::Plan;

/// How often the children are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Between TERM and KILL.
const GOODBYE: Duration = Duration::from_secs(12);

/// What kind of cluster.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpFlags {
    /// Folder of the nodes (default: a temporary one, removed at the end)
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Workers beside the master
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=50))]
    pub(crate) workers: u16,
    /// Allow /stop, the soft crash (the default)
    #[arg(long, overrides_with = "no_chaos")]
    pub(crate) chaos: bool,
    /// Do not allow /stop
    #[arg(long)]
    pub(crate) no_chaos: bool,
    /// First port; the others follow it
    #[arg(long, default_value_t = plan::PORT)]
    pub(crate) port: u16,
    /// Jobs each node runs at once [default: twice the cores, at least 4]
    #[arg(long)]
    pub(crate) slots: Option<u32>,
    /// Settings file for all nodes
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The token's file: a flag of every subcommand.
    #[arg(skip)]
    pub(crate) token_file: Option<PathBuf>,
}

/// The folder, and whether it goes away with us.
enum Place {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Place {
    fn of(flags: &UpFlags) -> Result<Self, Failure> {
        let Some(dir) = &flags.dir else {
            let made = tempfile::Builder::new().prefix("understudy-").tempdir();
            return made
                .map(Self::Temporary)
                .map_err(|cause| Failure::error(format!("making a temporary folder: {cause}")));
        };
        let made = std::fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
        made.map(Self::Kept)
            .map_err(|cause| Failure::error(format!("making the folder {}: {cause}", dir.display())))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Starts the cluster, runs the first job, stays until it is told to end.
pub(crate) async fn run(flags: &UpFlags, json: bool) -> Outcome {
    let place = Place::of(flags)?;
    let plan = Plan::of(flags, place.path())?;
    plan.check_ports()?;
    let key = plan::key_file(place.path());
    ClusterKey::keep(&key)
        .map_err(|error| Failure::error(format!("making the cluster key {}: {error}", key.display())))?;
    let mut ending = Ending::listen()?;
    let program = std::env::current_exe()
        .map_err(|cause| Failure::error(format!("finding this program's own file: {cause}")))?;
    let mut children = Vec::new();
    for node in plan.all() {
        children.push(Child::start(&program, node)?);
    }
    let outcome = tokio::select! {
        outcome = live(&plan, &place, flags.token_file.as_deref(), &mut children, json) => outcome,
        () = ending.come() => Ok(Exit::Ok),
    };
    show::talk("stopping all nodes; once more does it at once");
    child::end(children, GOODBYE, ending.come()).await;
    outcome
}

async fn live(
    plan: &Plan,
    place: &Place,
    token_file: Option<&Path>,
    children: &mut [Child],
    json: bool,
) -> Outcome {
    let greeted = tokio::select! {
        greeted = first::greet(plan, place, token_file, json) => greeted,
        failure = first_death(children) => Err(failure),
    };
    greeted?;
    loop {
        tokio::time::sleep(LOOK).await;
        for child in children.iter_mut() {
            if let Some(how) = child.died()? {
                show::talk(&format!(
                    "{} ended ({how}); it is not started again by itself. This starts it:\n  {}",
                    child.name(),
                    child.command_line()
                ));
            }
        }
    }
}

/// A child that dies before the cluster is up is the end of the whole attempt.
async fn first_death(children: &mut [Child]) -> Failure {
    loop {
        for child in children.iter_mut() {
            match child.died() {
                Ok(None) => {}
                Err(failure) => return failure,
                Ok(Some(how)) => {
                    let name = child.name();
                    return Failure::error(format!(
                        "{name} ended ({how}) before the cluster was up:\n{}",
                        child.last_words()
                    ));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The signals that end `up`.
struct Ending(Vec<tokio::signal::unix::Signal>);

impl Ending {
    fn listen() -> Result<Self, Failure> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = kinds.into_iter().map(signal).collect::<Result<_, _>>();
        signals.map(Self).map_err(|cause| Failure::error(format!("listening for signals: {cause}")))
    }

    async fn come(&mut self) {
        let any = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(any).await;
    }
}
