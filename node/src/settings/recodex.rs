//! How programs of ReCodEx are served, where they are.

use std::fmt;
use std::path::PathBuf;

/// The port of its front ends, where none is said.
pub const CLIENTS_PORT: u16 = 9658;
/// The port of its workers, where none is said.
pub const WORKERS_PORT: u16 = 9657;
/// The port of its monitor, where none is said.
pub const MONITOR_PORT: u16 = 7894;

/// What the original broker is told, and this node in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecodexSettings {
    /// Host and port to bind for front ends. The host is one that can be bound: what `*` means here is decided already.
    pub clients: (String, u16),
    /// Host and port to bind for workers, likewise.
    pub workers: (String, u16),
    /// Pings that a worker may miss until it counts as lost.
    pub max_liveness: u32,
    /// Time between two pings of a worker.
    pub ping_interval_ms: u64,
    /// Failures, of the job or of workers that had it, after which it is given up.
    pub max_request_failures: u32,
    /// Host and port where the monitor listens.
    pub monitor: Option<(String, u16)>,
    /// Who is told over HTTP how jobs ended.
    pub notifier: Option<Notifier>,
    /// The log file beside the log store.
    pub logger: Option<LogFile>,
    /// What was odd in what it was told, as sentences for the log.
    pub warnings: Vec<String>,
}

impl RecodexSettings {
    /// Silence after which a worker counts as lost.
    #[must_use]
    pub fn guests_live_ms(&self) -> u64 {
        u64::from(self.max_liveness).saturating_mul(self.ping_interval_ms)
    }
}

/// The front end's HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notifier {
    /// Host and perhaps a path, with or without `http://` in front.
    pub address: String,
    /// Port; 0: the scheme's.
    pub port: u16,
    /// User of the Basic authorization, which is sent when this or the password is set.
    pub username: String,
    /// Its password.
    pub password: Password,
}

/// A password, which nobody sees by accident.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps one.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// For whoever must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A log file that is put aside when it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its path without the suffix: `broker` is `broker.log`, and older ones `broker.1.log`, `broker.2.log` …
    pub file: PathBuf,
    /// What is worth a line in it.
    pub level: FileLevel,
    /// Bytes after which a new one is begun.
    pub max_bytes: u64,
    /// Older ones that are kept.
    pub rotations: u32,
}

/// The original's levels: a line is written when it is at least as grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileLevel {
    /// No line at all.
    Off,
    /// The system is unusable.
    Emerg,
    /// Somebody must act at once.
    Alert,
    /// Something does not work at all.
    Critical,
    /// Errors.
    Err,
    /// Warnings.
    Warn,
    /// What is normal and yet worth a note.
    Notice,
    /// The story.
    Info,
    /// For whoever looks for a fault in the program.
    Debug,
    /// Everything: what any other word means.
    Trace,
}

impl FileLevel {
    /// The levels that have a word.
    const WORDS: [(&'static str, Self); 9] = [
        ("off", Self::Off),
        ("emerg", Self::Emerg),
        ("alert", Self::Alert),
        ("critical", Self::Critical),
        ("err", Self::Err),
        ("warn", Self::Warn),
        ("notice", Self::Notice),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    /// The level of that word; any other word is everything, as with the original.
    #[must_use]
    pub fn named(word: &str) -> Self {
        Self::WORDS.iter().find(|(name, _)| *name == word).map_or(Self::Trace, |(_, level)| *level)
    }

    /// The least grave of a node's lines that it asks for; none: it asks for none of them.
    #[must_use]
    pub fn least(self) -> Option<logdb::Level> {
        match self {
            Self::Off | Self::Emerg | Self::Alert | Self::Critical => None,
            Self::Err => Some(logdb::Level::Error),
            Self::Warn | Self::Notice => Some(logdb::Level::Warn),
            Self::Info => Some(logdb::Level::Info),
            Self::Debug | Self::Trace => Some(logdb::Level::Debug),
        }
    }

    /// The words there are.
    #[must_use]
    pub fn words() -> [&'static str; 9] {
        Self::WORDS.map(|(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_its_word_and_any_other_word_is_everything() {
        for word in FileLevel::words() {
            let level = FileLevel::named(word);
            assert_eq!(format!("{level:?}").to_lowercase(), word);
            assert!(level < FileLevel::Trace);
        }
        assert_eq!((FileLevel::named("INFO"), FileLevel::named("")), (FileLevel::Trace, FileLevel::Trace));
    }

    #[test]
    fn a_graver_level_asks_for_no_more_lines_than_the_one_below_it() {
        let levels = FileLevel::words().map(FileLevel::named).map(FileLevel::least);
        let asked = |least: Option<logdb::Level>| least.map_or(0, |least| 4 - least as usize);
        assert!(levels.windows(2).all(|pair| asked(pair[0]) <= asked(pair[1])), "{levels:?}");
        assert_eq!((levels[0], levels[8]), (None, Some(logdb::Level::Debug)));
    }

    #[test]
    fn a_password_is_not_seen_by_accident() {
        let password = Password::new("secret".into());
        assert!(!format!("{password:?}").contains("secret"));
        assert_eq!(password.reveal(), "secret");
    }
}
