//! What the log store is told.

use std::path::PathBuf;

use clap::Args;
use logdb::LogStoreSettings;
use serde::{Deserialize, Serialize};

use super::beside::{Beside, BesideFlags, OwnTable, refuse_beyond_loopback};
use super::check::{bad, host_and_port};
use super::table::{ChaosTable, HttpTable};
use super::{layered, refuse_unknown_variables, variables};
use crate::exit::Failure;

/// Flags of `logdb`, each also a variable of the environment.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LogdbFlags {
    #[command(flatten)]
    pub(crate) beside: BesideFlags,
    /// Where lines come in (ZeroMQ PULL) [default: tcp://127.0.0.1:9995]
    #[arg(long, env = "UNDERSTUDY_PULL", value_name = "tcp://HOST:PORT")]
    pull: Option<String>,
    /// Where lines are kept [default: sqlite:/var/lib/understudy/logs.sqlite]
    #[arg(long, env = "UNDERSTUDY_DATABASE", value_name = "sqlite:PATH")]
    database: Option<String>,
    /// File that gets every line as text [default: $LOGGER_DIR/logs when that is set]
    #[arg(long, env = "UNDERSTUDY_FILE", value_name = "PATH")]
    file: Option<PathBuf>,
}

/// Its settings file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    node: OwnTable,
    logdb: LogdbTable,
    http: HttpTable,
    chaos: ChaosTable,
}

/// What only the log store has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogdbTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pull: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl LogdbFlags {
    /// The settings, checked, and whether they allow addresses beyond loopback.
    pub(crate) fn read(&self) -> Result<(LogStoreSettings, bool), Failure> {
        refuse_unknown_variables(variables())?;
        self.read_with(std::env::var_os("LOGGER_DIR").map(PathBuf::from))
    }

    /// The same; `logger_dir` is seed 000's variable, which counts where neither flag nor our own variable names a file.
    pub(super) fn read_with(&self, logger_dir: Option<PathBuf>) -> Result<(LogStoreSettings, bool), Failure> {
        let defaults = Table {
            node: OwnTable { listen: Some("127.0.0.1:3003".to_string()), ..OwnTable::default() },
            logdb: LogdbTable {
                pull: Some("tcp://127.0.0.1:9995".to_string()),
                database: Some("sqlite:/var/lib/understudy/logs.sqlite".to_string()),
                file: None,
            },
            ..Table::default()
        };
        let Table { node, logdb, http, chaos } =
            layered(&defaults, self.beside.config.as_deref(), &self.table(logger_dir))?;
        let Beside { name, host, port, hosts, insecure, chaos, token } = Beside::build(node, http, &chaos)?;
        let settings = LogStoreSettings {
            name,
            listen_host: host,
            http_port: port,
            pull: pull(logdb.pull.unwrap_or_default(), insecure)?,
            database: database(&logdb.database.unwrap_or_default())?,
            file: logdb.file,
            chaos,
            allowed_hosts: hosts,
            token,
        };
        Ok((settings, insecure))
    }

    fn table(&self, logger_dir: Option<PathBuf>) -> Table {
        let (node, http, chaos) = self.beside.tables();
        let file = self.file.clone().or_else(|| logger_dir.map(|folder| folder.join("logs")));
        let logdb = LogdbTable { pull: self.pull.clone(), database: self.database.clone(), file };
        Table { node, logdb, http, chaos }
    }
}

fn pull(endpoint: String, insecure: bool) -> Result<String, Failure> {
    let Some(address) = endpoint.strip_prefix("tcp://") else {
        return Err(bad("logdb.pull", format!("must be tcp://HOST:PORT, this is {endpoint:?}")));
    };
    let (host, _) = host_and_port("logdb.pull", address)?;
    let why = "lines come in there in clear and from anybody";
    refuse_beyond_loopback("logdb.pull", &host, why, insecure)?;
    Ok(endpoint)
}

/// The file behind `sqlite:PATH`.
fn database(url: &str) -> Result<PathBuf, Failure> {
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path {
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(PathBuf::from(path)),
        _ if url.starts_with("postgres") => {
            Err(bad("logdb.database", "PostgreSQL is not supported by this version yet"))
        }
        _ => Err(bad("logdb.database", format!("must be sqlite:PATH, this is {url:?}"))),
    }
}
