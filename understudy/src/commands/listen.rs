//! `listen`: a listener of its own, for whoever wants to know what nodes tell without being one.

use clap::Args;
use clap::builder::BoolishValueParser;
use node::news::{StationSettings, URLS, run_station};

use crate::commands::start;
use crate::exit::{Exit, Failure, Outcome};
use crate::settings::{host_and_port, host_name, is_loopback};
use crate::show;

/// Flags of `listen`, each also a variable of the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListenFlags {
    /// Nodes' ports for news, or other listeners: tcp://HOST:PORT
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Where its HTTP listens
    #[arg(long, env = "UNDERSTUDY_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3010")]
    listen: String,
    /// Where it tells again what it hears (ZeroMQ PUB) [default: nowhere]
    #[arg(long, env = "UNDERSTUDY_PUBLISH", value_name = "tcp://HOST:PORT")]
    publish: Option<String>,
    /// Allow addresses beyond loopback although nobody is asked who he is
    #[arg(long, env = "UNDERSTUDY_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new())]
    insecure: bool,
    /// End when standard input ends
    #[arg(long, hide = true)]
    leash: bool,
}

/// Serves until a signal.
pub(crate) fn run(flags: &ListenFlags) -> Outcome {
    let settings = settings(flags)?;
    if flags.insecure {
        show::talk("understudy: --insecure: anybody who reaches these ports hears all that is heard here");
    }
    if flags.leash {
        start::end_with_parent()
            .map_err(|cause| Failure::error(format!("starting the listener: {cause}")))?;
    }
    show::talk(&format!("the view is at http://{}/api/v1/views", settings.listen));
    run_station(settings).map_err(|error| Failure::error(error.to_string()))?;
    Ok(Exit::Ok)
}

fn settings(flags: &ListenFlags) -> Result<StationSettings, Failure> {
    if flags.urls.len() > URLS {
        return Err(Failure::usage(format!("{} URLs are given, the limit is {URLS}", flags.urls.len())));
    }
    for url in &flags.urls {
        endpoint("URL", url)?;
    }
    let (listen_host, _) = host_and_port("listen", &flags.listen)?;
    guarded(flags, "listen", &listen_host)?;
    if let Some(publish) = &flags.publish {
        guarded(flags, "publish", &endpoint("publish", publish)?)?;
    }
    Ok(StationSettings {
        urls: flags.urls.clone(),
        listen: flags.listen.clone(),
        publish: flags.publish.clone(),
        allowed_hosts: vec![host_name().unwrap_or_default(), listen_host],
    })
}

/// The host of `tcp://HOST:PORT`.
fn endpoint(setting: &str, text: &str) -> Result<String, Failure> {
    let address = text.strip_prefix("tcp://").ok_or_else(|| {
        Failure::usage(format!("setting {setting}: must be tcp://HOST:PORT, this is {text:?}"))
    })?;
    host_and_port(setting, address).map(|(host, _)| host)
}

fn guarded(flags: &ListenFlags, setting: &str, host: &str) -> Result<(), Failure> {
    if flags.insecure || is_loopback(host) {
        return Ok(());
    }
    let why = "nobody is asked who he is in this version";
    Err(Failure::usage(format!(
        "setting {setting}: {host} is beyond loopback and {why}: add --insecure to allow it"
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: ListenFlags,
    }

    fn read(words: &[&str]) -> Result<StationSettings, String> {
        let line = Line::try_parse_from(["listen"].iter().chain(words)).map_err(|error| error.to_string())?;
        settings(&line.flags).map_err(|failure| failure.message)
    }

    #[test]
    fn defaults_are_those_of_the_documents() {
        let settings = read(&["tcp://127.0.0.1:9997", "tcp://b:10097"]).unwrap();
        assert_eq!(settings.urls, ["tcp://127.0.0.1:9997", "tcp://b:10097"]);
        assert_eq!((settings.listen.as_str(), settings.publish), ("127.0.0.1:3010", None));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let url = "tcp://127.0.0.1:9997";
        for (words, part) in [
            (&[][..], "URL"),
            (&["127.0.0.1:9997"], "setting URL: must be tcp://HOST:PORT"),
            (&["tcp://127.0.0.1"], "setting URL: must be HOST:PORT"),
            (&[url, "--listen", "0.0.0.0:3010"], "setting listen: 0.0.0.0 is beyond loopback"),
            (&[url, "--publish", "tcp://0.0.0.0:1"], "setting publish: 0.0.0.0 is beyond loopback"),
            (&[url, "--publish", "127.0.0.1:1"], "setting publish: must be tcp://HOST:PORT"),
        ] {
            let message = read(words).unwrap_err();
            assert!(message.contains(part), "{words:?}: {message}");
        }
        assert!(read(&[url, "--listen", "0.0.0.0:1", "--publish", "tcp://0.0.0.0:2", "--insecure"]).is_ok());
    }
}
