//! What a program is told: flag, else environment, else file, else default; checked, and made into plain values.
//!
//! ```text
//!   defaults ◀─ file (-c) ◀─ UNDERSTUDY_* ◀─ flags      (the right one wins)
//!      └────────────── Table ──check──▶ node::settings::Settings, ClientWeb, logdb::LogStoreSettings
//! ```

mod beside;
mod check;
mod client_web;
mod flags;
mod logdb;
mod recodex;
mod table;

use std::path::Path;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format as _, Serialized, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::Failure;
use crate::nearest;

pub(crate) use self::check::{host_and_port, host_name, is_loopback};
pub(crate) use self::client_web::{ClientWeb, ClientWebFlags};
pub(crate) use self::logdb::LogdbFlags;
pub(crate) use flags::NodeFlags;
pub(crate) use table::Table;

/// What the node is started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// It may found a cluster.
    Master,
    /// It joins one.
    Worker,
}

/// The settings, checked.
pub(crate) fn read(flags: &NodeFlags, role: Role) -> Result<node::settings::Settings, Failure> {
    refuse_unknown_variables(variables())?;
    let Said { table, warnings } = said(flags, role, Path::new(recodex::USUAL_FILE))?;
    let mut settings = check::build(table, role)?;
    settings
        .recodex
        .iter_mut()
        .for_each(|recodex| recodex.warnings.splice(..0, warnings.iter().cloned()).for_each(drop));
    Ok(settings)
}

/// The settings as one table, before they are checked.
pub(crate) fn table(flags: &NodeFlags, role: Role) -> Result<Table, Failure> {
    said(flags, role, Path::new(recodex::USUAL_FILE)).map(|said| said.table)
}

/// What all layers say together.
struct Said {
    table: Table,
    /// What was odd in a ReCodEx broker's file.
    warnings: Vec<String>,
}

/// `usual` is the place of a ReCodEx broker's file that counts where nobody says anything of ReCodEx.
fn said(flags: &NodeFlags, role: Role, usual: &Path) -> Result<Said, Failure> {
    let (defaults, flags_table) = (Table::defaults(role), flags.table());
    let layers = |defaults: &Table| layered(defaults, flags.config.as_deref(), &flags_table);
    let table = layers(&defaults)?;
    match recodex::file(&table, usual) {
        None => Ok(Said { table, warnings: Vec::new() }),
        Some(file) => {
            let original = recodex::read(&file)?;
            let table = layers(&recodex::over(defaults, &original))?;
            Ok(Said { table, warnings: original.warnings })
        }
    }
}

/// Defaults, the file over them, and over that what flags and environment say. What is missing in one layer comes from the one
/// below.
fn layered<T: Serialize + DeserializeOwned>(
    defaults: &T,
    file: Option<&Path>,
    flags: &T,
) -> Result<T, Failure> {
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if let Some(file) = file {
        // Read here as well, because a missing file must be an error that names it.
        std::fs::metadata(file)
            .map_err(|cause| Failure::usage(format!("reading the settings {}: {cause}", file.display())))?;
        figment = figment.merge(Toml::file_exact(file));
    }
    figment = figment.merge(Serialized::defaults(flags));
    figment.extract().map_err(|errors| {
        let all: Vec<String> = errors.into_iter().map(|error| words_of(&error)).collect();
        Failure::usage(all.join("\n"))
    })
}

/// Names the file, the key and, for an unknown key, the nearest known one.
fn words_of(error: &figment::Error) -> String {
    let source = error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref());
    let place = source.map_or(String::new(), |source| format!("{source}: "));
    match &error.kind {
        Kind::UnknownField(name, known) => {
            let mut path = error.path.clone();
            if path.last() != Some(name) {
                path.push(name.clone());
            }
            let key = path.join(".");
            if table::is_not_yet(&key) {
                return format!("{place}setting {key} is not supported by this version yet");
            }
            format!("{place}setting {key} is unknown: {}", nearest::hint(name, known.iter().copied()))
        }
        kind if error.path.is_empty() => format!("{place}{kind}"),
        kind => format!("{place}setting {}: {kind}", error.path.join(".")),
    }
}

/// Names of all variables of this process.
fn variables() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// A variable that is nearly one of ours is a slip of the pen. Others are left alone: platforms put variables with the
/// service's name into every container.
fn refuse_unknown_variables(names: impl Iterator<Item = String>) -> Result<(), Failure> {
    let known = flags::variables();
    for name in names {
        if !name.starts_with("UNDERSTUDY_") || known.contains(&name) {
            continue;
        }
        if flags::NOT_YET.contains(&name.as_str()) {
            return Err(Failure::usage(format!(
                "environment variable {name} is not supported by this version yet"
            )));
        }
        if let Some(near) = nearest::nearest(&name, known.iter().map(String::as_str)) {
            return Err(Failure::usage(format!(
                "environment variable {name} is unknown: did you mean {near}?"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod beside_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
