//! How programs of ReCodEx are served: from `[recodex]` and the original broker's own file to plain values.
//!
//! ```text
//!   defaults ◀─ original's file (YAML) ◀─ [recodex] in the settings file ◀─ flags      (the right one wins)
//! ```

mod check;
mod original;
mod table;
mod yaml;

use std::path::{Path, PathBuf};

pub(super) use self::original::{Original, read};
pub(crate) use self::table::RecodexTable;
use super::Table;

/// Where the original's own package puts its file.
pub(super) const USUAL_FILE: &str = "/etc/recodex/broker/config.yml";

/// The original's file that counts: the one that was named; `usual`, where it is there and nobody says anything of ReCodEx.
pub(super) fn file(table: &Table, usual: &Path) -> Option<PathBuf> {
    match &table.recodex {
        Some(recodex) if recodex.is_off() => None,
        Some(recodex) => recodex.config.clone(),
        None => usual.exists().then(|| usual.to_path_buf()),
    }
}

/// What the original's file says comes just above the defaults.
pub(super) fn over(mut defaults: Table, original: &Original) -> Table {
    defaults.recodex = Some(original.table.clone());
    if let Some(policy) = &original.policy {
        defaults.queue.policy = Some(policy.clone());
    }
    defaults
}

#[cfg(test)]
mod tests;
