//! The words of the command line: plain values here, meaning in the subcommands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{bench, bridge, config, keygen, listen, paper, recover, repair, simulate};
use crate::settings::{ClientWebFlags, LogdbFlags, NodeFlags};
use crate::up::UpFlags;

/// A job cluster in one program: any node can step in for the master.
#[derive(Debug, Parser)]
#[command(
    name = "understudy",
    version,
    after_help = "Exit codes: 0 ok, 1 error, 2 usage, 3 the job failed or was cancelled (run: its own code), \
                  4 time over, 5 no quorum, 130 interrupted.\nTry: understudy up"
)]
pub(crate) struct Words {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every subcommand understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Nodes to ask, in this order: the next one when one does not answer
    #[arg(
        long,
        global = true,
        env = "UNDERSTUDY_SERVER",
        value_name = "URL[,URL…]",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:3002,http://127.0.0.1:3004,http://127.0.0.1:3005,http://127.0.0.1:3006"
    )]
    pub(crate) server: Vec<String>,
    /// File with the token: clients name it, and what serves HTTP asks for it ([http] token_file)
    #[arg(long, global = true, env = "UNDERSTUDY_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster on this machine: a master and workers, and a first job
    Up(UpFlags),
    /// Start a node that may found a cluster
    Master(NodeFlags),
    /// Start a node that joins a cluster
    Worker(NodeFlags),
    /// Serve the pages and the API on one port, relayed to whichever node answers
    ClientWeb(ClientWebFlags),
    /// Keep the log lines of all containers
    Logdb(LogdbFlags),
    /// Hear what nodes tell of themselves, show it over HTTP, tell it again
    Listen(listen::ListenFlags),
    /// Join the cluster to programs that know nothing of it
    #[command(subcommand)]
    Bridge(bridge::BridgeCommand),
    #[command(flatten)]
    Client(ClientCommand),
    /// Measure a cluster beside something that keeps nothing
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Run whole clusters in virtual time, with faults, from a seed
    Simulate(simulate::SimulateFlags),
    /// Show or check the settings of a node
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Set aside the data folder of a node that refuses it, so that the node joins again as a new one
    Repair(repair::RepairFlags),
    /// Let the cluster go on from one surviving node's data folder when a majority of its voters is lost for good
    Recover(recover::RecoverFlags),
    /// Print a completion script for a shell
    Completions(paper::CompletionFlags),
    /// Print the manual page
    Man,
    /// Make a cluster key, unless the file is there (for containers without a shell)
    #[command(hide = true)]
    Keygen(keygen::KeygenFlags),
    #[command(hide = true)]
    Keeper,
}

/// What is asked of a running cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Run a job: submit it, wait for its end, print its output, exit with its code
    Run(crate::commands::submit::JobWords),
    /// Submit a job and print its id
    Submit(crate::commands::submit::JobWords),
    /// List jobs, newest first
    Jobs(crate::commands::jobs::JobsFlags),
    /// Show one job
    Job(JobName),
    /// Wait until a job has ended
    Wait(crate::commands::job::WaitFlags),
    /// Cancel a job, or all open jobs that fit (--class sh --label k=v)
    Cancel(crate::commands::jobs::Which),
    /// Run a job that failed or was cancelled again, as a new job, or all of them that fit (--state failed --class sh)
    Retry(crate::commands::jobs::Which),
    /// Say why a job runs where it runs, or why it waits
    Why(JobName),
    /// Print the output of a job
    Output(crate::commands::job::OutputFlags),
    /// Show the cluster: who leads, how the nodes are, how many jobs there are
    Status(StatusFlags),
    /// List the nodes
    Nodes,
    /// Show a node's own log
    Logs(crate::commands::logs::LogsFlags),
    /// Soft crash of a node: it falls silent and forgets what it had not on disk (needs --chaos there)
    Stop(NodeName),
    /// End a soft crash
    Resume(NodeName),
    /// Give a node no new attempts; what runs there goes on. Holds until undrain, over restarts too
    Drain(NodeName),
    /// Give a drained node attempts again
    Undrain(NodeName),
    /// Hand the lead over
    Transfer(crate::commands::nodes::TransferFlags),
    /// Say something to whoever listens to the node
    Say(crate::commands::say::SayWords),
    /// Exit 0 when the node is ready (for container health checks)
    Health,
}

/// Names a job.
#[derive(Debug, Args)]
pub(crate) struct JobName {
    /// The job's id
    pub(crate) id: protocol::JobId,
}

/// How closely the cluster is looked at.
#[derive(Debug, Args)]
pub(crate) struct StatusFlags {
    /// Compare the nodes' ledgers at one index; exit 1 when they differ or a node cannot be asked
    #[arg(long)]
    pub(crate) verify: bool,
}

/// Names a node.
#[derive(Debug, Args)]
pub(crate) struct NodeName {
    /// The node's name; `self` is the node that is asked
    pub(crate) node: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_words_are_consistent() {
        Words::command().debug_assert();
    }

    #[test]
    fn a_payload_and_a_server_list_are_understood_anywhere() {
        let words = Words::try_parse_from([
            "understudy",
            "run",
            "sh",
            "read a b; echo $((a*b))",
            "--server",
            "http://a:1,http://b:2",
            "--json",
        ]);
        let words = words.unwrap();
        assert_eq!(words.common.server, ["http://a:1", "http://b:2"]);
        assert!(words.common.json);
        assert!(matches!(words.command, Command::Client(ClientCommand::Run(_))));
        let of = |words: &[&str]| Words::try_parse_from([&["understudy", "retry"], words].concat()).is_ok();
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert!(of(&[id]) && of(&["--state", "failed", "--label", "a=b", "--label", "c=d"]));
        assert!(!of(&[]) && !of(&[id, "--state", "failed"]), "one job or a filter");
        assert_eq!(Words::try_parse_from(["understudy", "job", "not-an-id"]).unwrap_err().exit_code(), 2);
    }
}
