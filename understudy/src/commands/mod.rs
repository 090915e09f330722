//! One file a subcommand (or a few that are one thought).

pub(crate) mod bench;
pub(crate) mod bridge;
pub(crate) mod client_web;
pub(crate) mod config;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod keygen;
pub(crate) mod listen;
pub(crate) mod logdb;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod paper;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod run;
pub(crate) mod say;
pub(crate) mod simulate;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod submit;
mod verify;

use std::path::PathBuf;

use crate::api::{self, Api};
use crate::exit::Outcome;
use crate::words::{ClientCommand, Common};

/// What a client subcommand works with.
pub(crate) struct Client {
    pub(crate) api: Api,
    pub(crate) json: bool,
    /// The file of the token that `api` names.
    pub(crate) token_file: Option<PathBuf>,
}

/// Asks a running cluster.
pub(crate) async fn client(command: ClientCommand, common: Common) -> Outcome {
    let client = Client {
        api: api::of(common.server, common.token_file.as_deref())?,
        json: common.json,
        token_file: common.token_file,
    };
    match command {
        ClientCommand::Run(words) => run::run(&client, &words).await,
        ClientCommand::Submit(words) => submit::run(&client, &words).await,
        ClientCommand::Jobs(flags) => jobs::run(&client, &flags).await,
        ClientCommand::Job(name) => job::show(&client, name.id).await,
        ClientCommand::Wait(flags) => job::wait(&client, &flags).await,
        ClientCommand::Cancel(which) => jobs::cancel(&client, &which).await,
        ClientCommand::Retry(which) => jobs::retry(&client, &which).await,
        ClientCommand::Why(name) => job::why(&client, name.id).await,
        ClientCommand::Output(flags) => job::output(&client, &flags).await,
        ClientCommand::Status(flags) if flags.verify => verify::run(&client).await,
        ClientCommand::Status(_) => status::run(&client).await,
        ClientCommand::Nodes => nodes::list(&client).await,
        ClientCommand::Logs(flags) => logs::run(&client, &flags).await,
        ClientCommand::Stop(name) => nodes::stop(&client, &name.node).await,
        ClientCommand::Resume(name) => nodes::resume(&client, &name.node).await,
        ClientCommand::Drain(name) => nodes::drain(&client, &name.node).await,
        ClientCommand::Undrain(name) => nodes::undrain(&client, &name.node).await,
        ClientCommand::Transfer(flags) => nodes::transfer(&client, &flags).await,
        ClientCommand::Say(words) => say::run(&client, &words).await,
        ClientCommand::Health => nodes::health(&client).await,
    }
}
