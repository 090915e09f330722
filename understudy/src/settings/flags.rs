//! Flags of `master` and `worker`, each also a variable of the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::{Args, CommandFactory as _};

use super::recodex::RecodexTable;
use super::table::{
    Amount, ChaosTable, ClassTable, ClusterTable, HttpTable, LogsTable, NodeTable, OneOrMany, ShareTable,
    Table, TestTable, WorkerTable,
};

/// How a node shall be. What is not named here comes from the file (`--config`), else is a default.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NodeFlags {
    /// Settings file (TOML)
    #[arg(short, long, env = "UNDERSTUDY_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Name people use [default: the host name]
    #[arg(long, env = "UNDERSTUDY_NAME")]
    pub(crate) name: Option<String>,
    /// Folder that is the node's memory [default: /var/lib/understudy]
    #[arg(long, env = "UNDERSTUDY_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where HTTP listens; the other ports use the same host [default: 127.0.0.1:3002, a worker's 127.0.0.1:3004]
    #[arg(long, env = "UNDERSTUDY_LISTEN", value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Host the others use to reach this node [default: that of --listen; for 0.0.0.0 the host name]
    #[arg(long, env = "UNDERSTUDY_ADVERTISE", value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// HTTP addresses of nodes to ask for the cluster
    #[arg(long, env = "UNDERSTUDY_JOIN", value_name = "HOST:PORT,…", value_delimiter = ',')]
    pub(crate) join: Option<Vec<String>>,
    /// Voters that must have been in sync once before the first write [default: 1]
    #[arg(long, env = "UNDERSTUDY_EXPECT", value_name = "N")]
    pub(crate) expect: Option<usize>,
    /// Voters the cluster aims at: 1, 3 or 5 [default: 3]
    #[arg(long, env = "UNDERSTUDY_VOTERS", value_name = "N")]
    pub(crate) voters: Option<usize>,
    /// A voter silent for so long is replaced by a learner that has caught up [default: 10s]
    #[arg(long, env = "UNDERSTUDY_REPLACE_AFTER", value_name = "DURATION")]
    pub(crate) replace_after: Option<String>,
    /// Port of the broker link [default: 9990]
    #[arg(long, env = "UNDERSTUDY_BROKER_PORT", value_name = "PORT")]
    pub(crate) broker_port: Option<u16>,
    /// Port of the consensus link [default: 9991]
    #[arg(long, env = "UNDERSTUDY_LINK_PORT", value_name = "PORT")]
    pub(crate) link_port: Option<u16>,
    /// Port that tells node information, jobs and agents' messages [default: 9997]
    #[arg(long, env = "UNDERSTUDY_PUB_PORT", value_name = "PORT")]
    pub(crate) pub_port: Option<u16>,
    /// Port for foreign clients (reserved: nothing listens there yet) [default: 9998]
    #[arg(long, env = "UNDERSTUDY_CLIENTS_PORT", value_name = "PORT")]
    pub(crate) clients_port: Option<u16>,
    /// Port for foreign workers (reserved: nothing listens there yet) [default: 9999]
    #[arg(long, env = "UNDERSTUDY_WORKERS_PORT", value_name = "PORT")]
    pub(crate) workers_port: Option<u16>,
    /// Settings file of a ReCodEx broker (YAML), in whose place this node serves its front ends and workers; none: no such service
    /// [default: /etc/recodex/broker/config.yml where that is and nothing else is said]
    #[arg(long, env = "UNDERSTUDY_RECODEX_CONFIG", value_name = "FILE|none")]
    pub(crate) recodex_config: Option<PathBuf>,
    /// Jobs it runs at once [default: twice the cores, at least 4]
    #[arg(long, env = "UNDERSTUDY_SLOTS", value_name = "N")]
    pub(crate) slots: Option<u32>,
    /// Capability it has (repeatable)
    #[arg(long, env = "UNDERSTUDY_HEADER", value_name = "NAME=VALUE", value_parser = pair, value_delimiter = ',')]
    pub(crate) header: Vec<(String, String)>,
    /// Countable thing it has, such as gpu=2 or licence=0.5 (repeatable)
    #[arg(long, env = "UNDERSTUDY_RESOURCE", value_name = "NAME=NUMBER", value_parser = pair, value_delimiter = ',')]
    pub(crate) resource: Vec<(String, String)>,
    /// Script classes it may serve
    #[arg(long, env = "UNDERSTUDY_ALLOW", value_name = "sh,python", value_delimiter = ',')]
    pub(crate) allow: Option<Vec<String>>,
    /// Program that does the jobs of the class named by --class: it reads the payload, exit 0 is success
    #[arg(long, env = "UNDERSTUDY_SCRIPT", value_name = "FILE", requires = "class")]
    pub(crate) script: Option<PathBuf>,
    /// Class the program of --script serves
    #[arg(long, env = "UNDERSTUDY_CLASS", value_name = "CLASS", requires = "script")]
    pub(crate) class: Option<String>,
    /// Kinds of information it tells of itself; the others are withheld [default: common,static,dynamic,state]
    #[arg(long, env = "UNDERSTUDY_SHARE", value_name = "KIND,…", value_delimiter = ',')]
    pub(crate) share: Option<Vec<String>>,
    /// Log store that gets this node's lines (LOGGER_URL counts too)
    #[arg(long, env = "UNDERSTUDY_LOGGER", value_name = "tcp://HOST:PORT")]
    pub(crate) logger: Option<String>,
    /// Log store that this node asks for lines
    #[arg(long, env = "UNDERSTUDY_LOGDB", value_name = "http://HOST:PORT")]
    pub(crate) logdb: Option<String>,
    /// File with the key that seals the links between nodes: 32 bytes, hexadecimal or base64
    #[arg(long, env = "UNDERSTUDY_CLUSTER_KEY_FILE", value_name = "FILE")]
    pub(crate) cluster_key_file: Option<PathBuf>,
    /// The token's file: a flag of every subcommand.
    #[arg(skip)]
    pub(crate) token_file: Option<PathBuf>,
    /// Allow addresses beyond loopback although the cluster key or the token is missing
    #[arg(long, env = "UNDERSTUDY_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) insecure: Option<bool>,
    /// Allow /stop, the soft crash
    #[arg(long, env = "UNDERSTUDY_CHAOS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) chaos: Option<bool>,
    /// For tests: a leader records assignments and does not send them
    #[arg(long, env = "UNDERSTUDY_HOLD_DISPATCH", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) hold_dispatch: Option<bool>,
    /// For tests: ended jobs that the ledger holds; the same on every node
    #[arg(long, env = "UNDERSTUDY_ENDED_JOBS", hide = true)]
    pub(crate) ended_jobs: Option<u64>,
    /// For tests: a snapshot is due after so many bytes of commands
    #[arg(long, env = "UNDERSTUDY_SNAPSHOT_BYTES", hide = true)]
    pub(crate) snapshot_bytes: Option<u64>,
    /// End when standard input ends: `up` holds its nodes by it
    #[arg(long, hide = true)]
    pub(crate) leash: bool,
}

/// The log store's port: the flag or its variable, else seed 000's variable. Empty means none.
pub(super) fn logger_url(said: Option<String>) -> Option<String> {
    said.or_else(|| std::env::var("LOGGER_URL").ok()).filter(|url| !url.is_empty())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.trim().to_string(), value.trim().to_string()))
}

/// Variables of the public surface that this version does not do yet; setting one is an error, never silence.
pub(super) const NOT_YET: [&str; 1] = ["UNDERSTUDY_SOURCES"];

/// Every variable this program understands.
pub(super) fn variables() -> Vec<String> {
    // The last three are set by a node for the jobs it runs, of which one may start a node again.
    let mut all = [
        "UNDERSTUDY_SERVER",
        "UNDERSTUDY_TOKEN_FILE",
        "UNDERSTUDY_JOB",
        "UNDERSTUDY_ATTEMPT",
        "UNDERSTUDY_DIR",
    ]
    .map(String::from)
    .to_vec();
    let words = crate::words::Words::command();
    for command in words.get_subcommands() {
        let variables = command.get_arguments().filter_map(|flag| flag.get_env());
        all.extend(variables.filter_map(|name| name.to_str()).map(String::from));
    }
    all
}

impl NodeFlags {
    /// The flags as a table in which everything that was not said is missing.
    pub(super) fn table(&self) -> Table {
        let mut headers = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in &self.header {
            headers.entry(name.clone()).or_default().push(value.clone());
        }
        let headers = headers.into_iter().map(|(name, values)| (name, OneOrMany::Many(values))).collect();
        let class = self.class.clone().zip(self.script.as_deref().map(command_of)).into_iter().collect();
        let resource = |(name, number): &(String, String)| (name.clone(), Amount::Text(number.clone()));
        let resources = self.resource.iter().map(resource).collect();
        Table {
            class,
            node: NodeTable {
                name: self.name.clone(),
                data: self.data.clone(),
                listen: self.listen.clone(),
                advertise: self.advertise.clone(),
                broker_port: self.broker_port,
                link_port: self.link_port,
                pub_port: self.pub_port,
                clients_port: self.clients_port,
                workers_port: self.workers_port,
            },
            cluster: ClusterTable {
                join: self.join.clone(),
                expect: self.expect,
                voters: self.voters,
                replace_after: self.replace_after.clone(),
                key_file: self.cluster_key_file.clone(),
            },
            http: HttpTable {
                insecure: self.insecure,
                token_file: self.token_file.clone(),
                ..HttpTable::default()
            },
            worker: WorkerTable {
                slots: self.slots,
                headers,
                allow: self.allow.clone(),
                resources,
                ..WorkerTable::default()
            },
            recodex: self.recodex_config.clone().map(RecodexTable::of_file),
            share: ShareTable { kinds: self.share.clone() },
            logs: LogsTable { store: self.logdb.clone(), logger: logger_url(self.logger.clone()) },
            chaos: ChaosTable { enabled: self.chaos },
            test: TestTable {
                snapshot_bytes: self.snapshot_bytes,
                hold_dispatch: self.hold_dispatch,
                ended_jobs: self.ended_jobs,
            },
            ..Table::default()
        }
    }
}

/// A program as a class has it: jobs run in folders of their own, so its path is made whole.
fn command_of(script: &Path) -> ClassTable {
    let script = std::path::absolute(script).unwrap_or_else(|_| script.to_path_buf());
    ClassTable { command: vec![script.to_string_lossy().into_owned()], ..ClassTable::default() }
}
