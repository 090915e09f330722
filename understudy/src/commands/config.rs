//! `config show|check`: what a node would be started with.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure, Outcome};
use crate::settings::{self, NodeFlags, Role};
use crate::show;

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings a node would have, as TOML
    Show(ConfigFlags),
    /// Say whether the settings are good
    Check(ConfigFlags),
}

/// Of which node.
#[derive(Debug, Args)]
pub(crate) struct ConfigFlags {
    /// What the node would be started as
    #[arg(value_enum, default_value_t = Role::Master)]
    role: Role,
    #[command(flatten)]
    flags: NodeFlags,
}

impl ConfigCommand {
    /// The flag for the token is one that every subcommand has.
    pub(crate) fn name_token_file(&mut self, file: Option<PathBuf>) {
        let (Self::Show(words) | Self::Check(words)) = self;
        words.flags.token_file = file;
    }
}

/// Shows or checks.
pub(crate) fn run(command: &ConfigCommand, json: bool) -> Outcome {
    match command {
        ConfigCommand::Check(words) => {
            let settings = settings::read(&words.flags, words.role)?;
            for warning in settings.recodex.iter().flat_map(|recodex| &recodex.warnings) {
                show::talk(&format!("understudy: {warning}"));
            }
            show::talk("the settings are good");
        }
        ConfigCommand::Show(words) => {
            settings::read(&words.flags, words.role)?;
            let table = settings::table(&words.flags, words.role)?.shown();
            if json {
                let value = serde_json::to_value(&table);
                show::json(
                    &value.map_err(|cause| Failure::error(format!("writing the settings: {cause}")))?,
                )?;
            } else {
                let text = toml::to_string(&table);
                show::line(
                    text.map_err(|cause| Failure::error(format!("writing the settings: {cause}")))?
                        .trim_end(),
                )?;
            }
        }
    }
    Ok(Exit::Ok)
}
