//! `logdb`: the log store, which gathers the lines of all containers.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use logdb::LogStoreSettings;

use crate::commands::start;
use crate::exit::{Exit, Failure, Outcome};
use crate::settings::{check_name, host_and_port, host_name, is_loopback};
use crate::show;

/// Flags of `logdb`, each also a variable of the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogdbFlags {
    /// Name people use [default: the host name]
    #[arg(long, env = "UNDERSTUDY_NAME")]
    name: Option<String>,
    /// Where its HTTP listens
    #[arg(long, env = "UNDERSTUDY_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3003")]
    listen: String,
    /// Where lines come in (ZeroMQ PULL)
    #[arg(
        long,
        env = "UNDERSTUDY_PULL",
        value_name = "tcp://HOST:PORT",
        default_value = "tcp://127.0.0.1:9995"
    )]
    pull: String,
    /// Where lines are kept
    #[arg(
        long,
        env = "UNDERSTUDY_DATABASE",
        value_name = "sqlite:PATH",
        default_value = "sqlite:/var/lib/understudy/logs.sqlite"
    )]
    database: String,
    /// File that gets every line as text [default: $LOGGER_DIR/logs when that is set]
    #[arg(long, env = "UNDERSTUDY_FILE", value_name = "PATH")]
    file: Option<PathBuf>,
    /// Allow addresses beyond loopback although nobody is asked who he is
    #[arg(long, env = "UNDERSTUDY_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new())]
    insecure: bool,
    /// Allow /stop, the soft crash
    #[arg(long, env = "UNDERSTUDY_CHAOS", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new())]
    chaos: bool,
    /// End when standard input ends: `up` holds it by that
    #[arg(long, hide = true)]
    leash: bool,
}

/// Serves until a signal.
pub(crate) fn run(flags: &LogdbFlags) -> Outcome {
    let settings = settings(flags, std::env::var_os("LOGGER_DIR").map(PathBuf::from))?;
    if flags.insecure {
        show::talk(
            "understudy: --insecure: anybody who reaches these ports reads all lines and adds his own",
        );
    }
    if flags.leash {
        start::end_with_parent()
            .map_err(|cause| Failure::error(format!("starting the log store: {cause}")))?;
    }
    logdb::log_store::run(settings).map_err(|error| Failure::error(error.to_string()))?;
    Ok(Exit::Ok)
}

fn settings(flags: &LogdbFlags, logger_dir: Option<PathBuf>) -> Result<LogStoreSettings, Failure> {
    let (listen_host, http_port) = host_and_port("listen", &flags.listen)?;
    let pull_host = match flags.pull.strip_prefix("tcp://") {
        Some(address) => host_and_port("pull", address)?.0,
        None => {
            let detail = format!("must be tcp://HOST:PORT, this is {:?}", flags.pull);
            return Err(Failure::usage(format!("setting pull: {detail}")));
        }
    };
    for (setting, host) in [("listen", &listen_host), ("pull", &pull_host)] {
        if !flags.insecure && !is_loopback(host) {
            let why = "nobody is asked who he is in this version";
            return Err(Failure::usage(format!(
                "setting {setting}: {host} is beyond loopback and {why}: add --insecure to allow it"
            )));
        }
    }
    let own_host = host_name().unwrap_or_default();
    let name = flags.name.clone().unwrap_or_else(|| own_host.clone());
    check_name(&name)?;
    Ok(LogStoreSettings {
        name,
        listen_host,
        http_port,
        pull: flags.pull.clone(),
        database: database(&flags.database)?,
        file: flags.file.clone().or_else(|| logger_dir.map(|folder| folder.join("logs"))),
        chaos: flags.chaos,
        allowed_hosts: vec![own_host],
    })
}

/// The file behind `sqlite:PATH`.
fn database(url: &str) -> Result<PathBuf, Failure> {
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path {
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(PathBuf::from(path)),
        _ if url.starts_with("postgres") => {
            Err(Failure::usage("setting database: PostgreSQL is not supported by this version yet"))
        }
        _ => Err(Failure::usage(format!("setting database: must be sqlite:PATH, this is {url:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: LogdbFlags,
    }

    fn read(words: &[&str]) -> Result<LogStoreSettings, String> {
        let flags = Line::parse_from(["logdb"].iter().chain(words)).flags;
        settings(&flags, None).map_err(|failure| failure.message)
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.listen_host.as_str(), settings.http_port), ("127.0.0.1", 3003));
        assert_eq!(settings.pull, "tcp://127.0.0.1:9995");
        assert_eq!(settings.database, PathBuf::from("/var/lib/understudy/logs.sqlite"));
        assert!(settings.file.is_none() && !settings.chaos);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (words, part) in [
            (["--pull", "127.0.0.1:9995"], "setting pull: must be tcp://HOST:PORT"),
            (["--pull", "tcp://0.0.0.0:9995"], "setting pull: 0.0.0.0 is beyond loopback"),
            (["--listen", "0.0.0.0:3003"], "setting listen: 0.0.0.0 is beyond loopback"),
            (["--database", "postgres://x/y"], "PostgreSQL is not supported by this version yet"),
            (["--database", "logs.sqlite"], "must be sqlite:PATH"),
            (["--name", "a b"], "a b"),
        ] {
            let message = read(&words).unwrap_err();
            assert!(message.contains(part), "{words:?}: {message}");
        }
        assert_eq!(read(&["--database", "sqlite:///a/b"]).unwrap().database, PathBuf::from("/a/b"));
        assert!(read(&["--listen", "0.0.0.0:3003", "--pull", "tcp://0.0.0.0:9995", "--insecure"]).is_ok());
    }

    #[test]
    fn the_seeds_folder_names_the_file_where_no_flag_does() {
        let flags = Line::parse_from(["logdb"]).flags;
        let settings = settings(&flags, Some("/cbw".into())).unwrap();
        assert_eq!(settings.file, Some(PathBuf::from("/cbw/logs")));
    }
}
