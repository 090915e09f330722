//! What client-web and logdb, which stand beside the nodes, have in common.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use logdb::door::Token;
use serde::{Deserialize, Serialize};

use super::check::{bad, check_name, host_and_port, host_name, is_loopback};
use super::table::{ChaosTable, HttpTable};
use crate::api::token;
use crate::exit::Failure;

/// Flags of both, each also a variable of the environment.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BesideFlags {
    /// Settings file (TOML)
    #[arg(short, long, env = "UNDERSTUDY_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name people use [default: the host name]
    #[arg(long, env = "UNDERSTUDY_NAME")]
    name: Option<String>,
    /// Where its HTTP listens [default: client-web 127.0.0.1:3001, logdb 127.0.0.1:3003]
    #[arg(long, env = "UNDERSTUDY_LISTEN", value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Allow addresses beyond loopback although nobody is asked who he is
    #[arg(long, env = "UNDERSTUDY_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    insecure: Option<bool>,
    /// Allow /stop, the soft crash
    #[arg(long, env = "UNDERSTUDY_CHAOS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    chaos: Option<bool>,
    /// The token's file: a flag of every subcommand.
    #[arg(skip)]
    pub(crate) token_file: Option<PathBuf>,
    /// End when standard input ends: `up` holds it by that
    #[arg(long, hide = true)]
    pub(crate) leash: bool,
}

/// Who and where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OwnTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listen: Option<String>,
}

/// Who and where it is, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beside {
    /// The name people use.
    pub(crate) name: String,
    /// Host its HTTP binds.
    pub(crate) host: String,
    /// Port of its HTTP.
    pub(crate) port: u16,
    /// `Host` names it answers to, beside IP literals and `localhost`.
    pub(crate) hosts: Vec<String>,
    /// Whether addresses beyond loopback are allowed.
    pub(crate) insecure: bool,
    /// Whether `/stop` works.
    pub(crate) chaos: bool,
    /// The token it asks for, and names to others.
    pub(crate) token: Option<Token>,
}

impl BesideFlags {
    /// The flags as tables in which everything that was not said is missing.
    pub(super) fn tables(&self) -> (OwnTable, HttpTable, ChaosTable) {
        (
            OwnTable { name: self.name.clone(), listen: self.listen.clone() },
            HttpTable {
                insecure: self.insecure,
                token_file: self.token_file.clone(),
                ..HttpTable::default()
            },
            ChaosTable { enabled: self.chaos },
        )
    }
}

impl Beside {
    /// Checks what both are told.
    pub(super) fn build(own: OwnTable, http: HttpTable, chaos: &ChaosTable) -> Result<Self, Failure> {
        let (host, port) = host_and_port("node.listen", own.listen.as_deref().unwrap_or_default())?;
        let insecure = http.insecure.unwrap_or(false);
        let token = http.token_file.as_deref().map(|file| token("http.token_file", file)).transpose()?;
        if token.is_none() {
            let needs = "its HTTP asks nobody who he is (--token-file)";
            refuse_beyond_loopback("node.listen", &host, needs, insecure)?;
        }
        let own_host = host_name().unwrap_or_default();
        let name = own.name.unwrap_or_else(|| own_host.clone());
        check_name(&name)?;
        let mut hosts = vec![name.clone(), own_host, host.clone()];
        hosts.extend(http.allowed_hosts.unwrap_or_default());
        Ok(Self { name, host, port, hosts, insecure, chaos: chaos.enabled.unwrap_or(false), token })
    }
}

/// The whole network may speak to what listens there.
pub(super) fn refuse_beyond_loopback(
    setting: &str,
    host: &str,
    why: &str,
    insecure: bool,
) -> Result<(), Failure> {
    if insecure || is_loopback(host) {
        return Ok(());
    }
    Err(bad(setting, format!("{host} is beyond loopback and {why}; --insecure allows it")))
}
