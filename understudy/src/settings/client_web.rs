//! What client-web is told.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::beside::{Beside, BesideFlags, OwnTable};
use super::check::{log_store, logger};
use super::flags::logger_url;
use super::table::{ChaosTable, HttpTable, LogsTable};
use super::{layered, refuse_unknown_variables, variables};
use crate::exit::Failure;

/// Nodes it relays to where nobody says otherwise: those of `up`.
const SERVERS: [&str; 4] =
    ["http://127.0.0.1:3002", "http://127.0.0.1:3004", "http://127.0.0.1:3005", "http://127.0.0.1:3006"];

/// Flags of `client-web`, each also a variable of the environment.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ClientWebFlags {
    #[command(flatten)]
    pub(crate) beside: BesideFlags,
    /// Nodes to relay to: the next one when one does not answer [default: ports 3002, 3004, 3005 and 3006 of 127.0.0.1]
    #[arg(long, env = "UNDERSTUDY_SERVERS", value_name = "URL,…", value_delimiter = ',')]
    servers: Option<Vec<String>>,
    /// Log store that is asked for lines
    #[arg(long, env = "UNDERSTUDY_LOGDB", value_name = "http://HOST:PORT")]
    logdb: Option<String>,
    /// Log store that gets its own lines (LOGGER_URL counts too)
    #[arg(long, env = "UNDERSTUDY_LOGGER", value_name = "tcp://HOST:PORT")]
    logger: Option<String>,
}

/// Its settings file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    node: OwnTable,
    #[serde(rename = "client-web")]
    client_web: ClientWebTable,
    http: HttpTable,
    logs: LogsTable,
    chaos: ChaosTable,
}

/// What only client-web has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClientWebTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    servers: Option<Vec<String>>,
}

/// How client-web shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientWeb {
    /// Who and where it is.
    pub(crate) beside: Beside,
    /// Nodes to relay to.
    pub(crate) servers: Vec<String>,
    /// Log store that is asked for lines: `http://HOST:PORT`.
    pub(crate) logdb: Option<String>,
    /// Log store that gets its own lines: `tcp://HOST:PORT`.
    pub(crate) logger: Option<String>,
}

impl ClientWebFlags {
    /// The settings, checked.
    pub(crate) fn read(&self) -> Result<ClientWeb, Failure> {
        refuse_unknown_variables(variables())?;
        let defaults = Table {
            node: OwnTable { listen: Some("127.0.0.1:3001".to_string()), ..OwnTable::default() },
            client_web: ClientWebTable { servers: Some(SERVERS.map(String::from).to_vec()) },
            ..Table::default()
        };
        let Table { node, client_web, http, logs, chaos } =
            layered(&defaults, self.beside.config.as_deref(), &self.table())?;
        Ok(ClientWeb {
            beside: Beside::build(node, http, &chaos)?,
            servers: client_web.servers.unwrap_or_default(),
            logdb: logs.store.map(log_store).transpose()?,
            logger: logs.logger.map(logger).transpose()?,
        })
    }

    fn table(&self) -> Table {
        let (node, http, chaos) = self.beside.tables();
        Table {
            node,
            client_web: ClientWebTable { servers: self.servers.clone() },
            http,
            logs: LogsTable { store: self.logdb.clone(), logger: logger_url(self.logger.clone()) },
            chaos,
        }
    }
}
