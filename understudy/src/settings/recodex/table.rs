//! `[recodex]`: the keys of the original's file, with `_` for `-`, and durations and sizes as everywhere here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The original broker's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecodexTable {
    /// The original's own file, whose values come below these; `none`: nothing of ReCodEx is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clients: Option<PlaceTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<WorkersTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) monitor: Option<PlaceTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) notifier: Option<NotifierTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logger: Option<LoggerTable>,
}

/// An address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlaceTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
}

/// Where workers connect, and when one is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkersTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_liveness: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ping_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_request_failures: Option<u32>,
}

/// The front end's HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NotifierTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
}

/// The rotating log file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoggerTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rotations: Option<u32>,
}

impl RecodexTable {
    /// One that only names the original's file.
    pub(in crate::settings) fn of_file(file: PathBuf) -> Self {
        Self { config: Some(file), ..Self::default() }
    }

    /// Whether it says that nothing of ReCodEx is served.
    pub(in crate::settings) fn is_off(&self) -> bool {
        self.config.as_ref().is_some_and(|file| file.as_os_str() == "none")
    }

    /// For people: the password is not shown.
    pub(in crate::settings) fn hide(&mut self) {
        let password = self.notifier.as_mut().and_then(|notifier| notifier.password.as_mut());
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            *password = "(not shown)".to_string();
        }
    }
}
