//! The original broker's own settings file, read into the tables of ours.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use super::table::{LoggerTable, NotifierTable, PlaceTable, RecodexTable, WorkersTable};
use super::yaml::{self, Placed, Value};
use crate::exit::Failure;
use crate::nearest;

/// Bytes of the file at most.
const FILE_BYTES: u64 = 256 << 10;
/// Unknown keys that are named; of more only their number is told.
const NAMED: usize = 20;

/// Every key there is, with the part it belongs to.
const KEYS: [&str; 18] = [
    "queue_manager",
    "clients.address",
    "clients.port",
    "workers.address",
    "workers.port",
    "workers.max_liveness",
    "workers.ping_interval",
    "workers.max_request_failures",
    "monitor.address",
    "monitor.port",
    "notifier.address",
    "notifier.port",
    "notifier.username",
    "notifier.password",
    "logger.file",
    "logger.level",
    "logger.max-size",
    "logger.rotations",
];

/// What such a file says.
#[derive(Debug, Default)]
pub(in crate::settings) struct Original {
    pub(in crate::settings) table: RecodexTable,
    /// How jobs wait: `[queue] policy` here.
    pub(in crate::settings) policy: Option<String>,
    /// What was odd.
    pub(in crate::settings) warnings: Vec<String>,
}

/// Reads it.
pub(in crate::settings) fn read(file: &Path) -> Result<Original, Failure> {
    let named = |why: String| Failure::usage(format!("reading the settings {}: {why}", file.display()));
    let open = std::fs::File::open(file).map_err(|cause| named(cause.to_string()))?;
    let mut text = String::new();
    let bytes =
        open.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|cause| named(cause.to_string()))?;
    if bytes as u64 > FILE_BYTES {
        return Err(named(format!("it has more than {FILE_BYTES} bytes")));
    }
    let mut original = parse(&text).map_err(named)?;
    for warning in &mut original.warnings {
        *warning = format!("{}: {warning}", file.display());
    }
    Ok(original)
}

fn parse(text: &str) -> Result<Original, String> {
    let found = Found(yaml::values(text)?);
    found.sections_are_maps()?;
    let place = |part: &str| -> Result<PlaceTable, String> {
        let (address, port) = (format!("{part}.address"), format!("{part}.port"));
        Ok(PlaceTable { address: found.text(&address)?, port: found.number(&port, "a port, 0 to 65535")? })
    };
    let has = |part: &str| found.0.contains_key(part);
    let PlaceTable { address, port } = place("workers")?;
    let workers = WorkersTable {
        address,
        port,
        max_liveness: found.number("workers.max_liveness", "a number of pings")?,
        ping_interval: found
            .number::<u64>("workers.ping_interval", "a number of milliseconds")?
            .map(|ms| format!("{ms}ms")),
        max_request_failures: found.number("workers.max_request_failures", "a number of failures")?,
    };
    let PlaceTable { address, port } = place("notifier")?;
    let notifier = NotifierTable {
        address,
        port,
        username: found.text("notifier.username")?,
        password: found.text("notifier.password")?,
    };
    let logger = LoggerTable {
        file: found.text("logger.file")?.map(Into::into),
        level: found.text("logger.level")?,
        max_size: found.number::<u64>("logger.max-size", "a number of bytes")?.map(|bytes| bytes.to_string()),
        rotations: found.number("logger.rotations", "a number of files")?,
    };
    let policy = found.text("queue_manager")?;
    if let Some(other) = policy.as_deref().filter(|policy| !matches!(*policy, "single" | "multi")) {
        let line = found.0.get("queue_manager").map_or(0, |placed| placed.line);
        return Err(format!("line {line}: queue_manager must be single or multi, this is {other:?}"));
    }
    let table = RecodexTable {
        config: None,
        clients: has("clients").then_some(place("clients")?),
        workers: has("workers").then_some(workers),
        monitor: has("monitor").then_some(place("monitor")?),
        notifier: has("notifier").then_some(notifier),
        logger: has("logger").then_some(logger),
    };
    Ok(Original { table, policy, warnings: found.unknown() })
}

/// What stands in the file, by name.
struct Found(BTreeMap<String, Placed>);

impl Found {
    /// A part that is there must have keys.
    fn sections_are_maps(&self) -> Result<(), String> {
        for (name, placed) in &self.0 {
            let mut keys =
                KEYS.iter().filter_map(|key| key.strip_prefix(name.as_str())?.strip_prefix('.')).peekable();
            if keys.peek().is_some() && !matches!(placed.value, Value::Map | Value::Nothing) {
                let (line, this) = (placed.line, placed.value.words());
                let keys: Vec<&str> = keys.collect();
                return Err(format!(
                    "line {line}: {name} must be a map with keys such as {}, this is {this}",
                    keys.join(", ")
                ));
            }
        }
        Ok(())
    }

    fn text(&self, key: &str) -> Result<Option<String>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Placed { value: Value::Nothing, .. }) => Ok(None),
            Some(Placed { value: Value::Text(text), .. }) => Ok(Some(text.clone())),
            Some(Placed { line, value }) => {
                Err(format!("line {line}: {key} must be a text, this is {}", value.words()))
            }
        }
    }

    fn number<N: FromStr>(&self, key: &str, what: &str) -> Result<Option<N>, String> {
        let Some(Placed { line, value }) = self.0.get(key) else { return Ok(None) };
        match value {
            Value::Nothing => Ok(None),
            Value::Text(text) if text.parse::<N>().is_ok() => Ok(text.parse().ok()),
            other => Err(format!("line {line}: {key} must be {what}, this is {}", other.words())),
        }
    }

    /// A sentence for each key that means nothing here; those below such a key are not named again.
    fn unknown(&self) -> Vec<String> {
        let is_known = |name: &str| {
            KEYS.iter().any(|key| {
                key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let is_below_unknown = |name: &str| name.rmatch_indices('.').any(|(end, _)| !is_known(&name[..end]));
        let unknown: Vec<_> =
            self.0.iter().filter(|(name, _)| !is_known(name) && !is_below_unknown(name)).collect();
        let mut said: Vec<String> =
            unknown.iter().take(NAMED).map(|(name, placed)| word(name, placed.line)).collect();
        if let Some(more) = unknown.len().checked_sub(NAMED).filter(|more| *more > 0) {
            said.push(format!("{more} more keys are unknown and do nothing"));
        }
        said
    }
}

/// A key may also be a known one in the wrong place.
fn word(name: &str, line: usize) -> String {
    let last = |key: &str| key.rsplit_once('.').map_or(key.to_string(), |(_, last)| last.to_string());
    let near = nearest::nearest(name, KEYS).or_else(|| KEYS.into_iter().find(|key| last(key) == last(name)));
    let hint = near.map_or(String::new(), |near| format!(": did you mean {near}?"));
    format!("line {line}: the key {name} is unknown and does nothing{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the original's manual shows it.
    const MANUAL: &str = include_str!("../../../../packaging/recodex/config.yml");

    #[test]
    fn the_file_of_the_manual_is_read_whole() {
        let original = parse(MANUAL).unwrap();
        assert_eq!((original.warnings.len(), original.policy.as_deref()), (0, Some("single")));
        let RecodexTable { config: None, clients, workers, monitor, notifier, logger } = original.table
        else {
            panic!("it names another file")
        };
        let place = |address: &str, port| PlaceTable { address: Some(address.into()), port: Some(port) };
        assert_eq!(clients, Some(place("*", 9658)));
        let workers = workers.unwrap();
        assert_eq!((workers.address.as_deref(), workers.port), (Some("*"), Some(9657)));
        assert_eq!((workers.max_liveness, workers.max_request_failures), (Some(10), Some(3)));
        assert_eq!(workers.ping_interval, None);
        assert_eq!(monitor, Some(place("127.0.0.1", 7894)));
        let notifier = notifier.unwrap();
        assert_eq!((notifier.address.as_deref(), notifier.port), (Some("127.0.0.1"), Some(8080)));
        assert_eq!((notifier.username.as_deref(), notifier.password.as_deref()), (Some(""), Some("")));
        let logger = logger.unwrap();
        assert_eq!(logger.file.as_deref(), Some(Path::new("/var/log/recodex/broker")));
        assert_eq!((logger.level.as_deref(), logger.max_size.as_deref()), (Some("debug"), Some("1048576")));
        assert_eq!(logger.rotations, Some(3));
    }

    #[test]
    fn every_key_may_be_missing_or_empty() {
        for text in ["", "clients:\n", "clients: {}\nworkers:\n  port:\n", "logger: ~\n"] {
            let original = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert!(original.warnings.is_empty() && original.policy.is_none(), "{text:?}");
            assert!(original.table.workers.is_none_or(|workers| workers.port.is_none()), "{text:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_in_full_and_does_nothing() {
        let original = parse(
            "workers:\n  prot: 1\n  ping_interval: 500\nmax_liveness: 10\nextra:\n  deep:\n    a: 1\n    b: 2\n",
        )
        .unwrap();
        assert_eq!(
            original.warnings,
            [
                "line 6: the key extra is unknown and does nothing",
                "line 4: the key max_liveness is unknown and does nothing: did you mean workers.max_liveness?",
                "line 2: the key workers.prot is unknown and does nothing: did you mean workers.port?",
            ]
        );
        assert_eq!(original.table.workers.unwrap().ping_interval.as_deref(), Some("500ms"));
        let many: String = (0..NAMED + 5).map(|number| format!("x{number:02}: 1\n")).collect();
        let warnings = parse(&many).unwrap().warnings;
        assert_eq!(warnings.len(), NAMED + 1);
        assert_eq!(warnings[NAMED], "5 more keys are unknown and do nothing");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_line_its_key_and_what_was_expected() {
        for (text, why) in [
            ("workers:\n  port: many\n", "line 2: workers.port must be a port, 0 to 65535, this is \"many\""),
            ("clients: {port: 65536}\n", "line 1: clients.port must be a port"),
            ("clients: {port: -1}\n", "clients.port must be a port"),
            ("clients: {address: [a, b]}\n", "clients.address must be a text, this is a list"),
            (
                "workers:\n  max_liveness: {a: 1}\n",
                "workers.max_liveness must be a number of pings, this is a map",
            ),
            ("logger:\n  max-size: 1MB\n", "logger.max-size must be a number of bytes, this is \"1MB\""),
            (
                "monitor: 7894\n",
                "line 1: monitor must be a map with keys such as address, port, this is \"7894\"",
            ),
            ("queue_manager: triple\n", "line 1: queue_manager must be single or multi, this is \"triple\""),
            ("clients:\n\taddress: x\n", "line 2"),
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(refusal.contains(why), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_too_large_is_refused_by_its_name() {
        let refusal = read(Path::new("/nowhere/config.yml")).unwrap_err();
        assert!(refusal.message.contains("/nowhere/config.yml"), "{refusal:?}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "#".repeat(FILE_BYTES as usize + 1)).unwrap();
        assert!(read(file.path()).unwrap_err().message.contains("more than 262144 bytes"));
    }
}
