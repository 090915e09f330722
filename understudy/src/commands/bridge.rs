//! `bridge lab`, `bridge zmq` and `bridge amqp`: what joins the cluster to programs that know nothing of it.

use std::sync::Arc;
use std::time::Duration;

use bridge::Stop;
use bridge::address::Address;
use bridge::amqp::{self, AmqpSettings, AmqpSettingsError, Discover};
use bridge::lab::{self, LabSettings, LabSettingsError};
use bridge::limits;
use bridge::pattern::{self, Ends, PatternSettings, Template};
use clap::{ArgGroup, Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::api;
use crate::commands::job::duration_words;
use crate::exit::{Exit, Failure, Outcome};
use crate::settings::host_name;
use crate::show;
use crate::words::Common;

/// Which bridge.
#[derive(Debug, Subcommand)]
pub(crate) enum BridgeCommand {
    /// Carry requests of some classes from one broker's clients to another broker's workers
    Lab(LabFlags),
    /// Make jobs of what a ventilator pushes, or of what one exclusive peer asks
    Zmq(ZmqFlags),
    /// Make a job of each message of an AMQP queue, and acknowledge the message when that has ended
    Amqp(AmqpFlags),
}

/// Two brokers and the classes between them.
#[derive(Debug, Args)]
#[command(
    override_usage = "understudy bridge lab BK1_WORKERS_URL BK2_CLIENTS_URL --class CLASS... [--delay MS] \
                      [--lanes N] [--patience DURATION]"
)]
pub(crate) struct LabFlags {
    /// The first broker's port for workers, such as tcp://HOST:9999
    #[arg(value_name = "BK1_WORKERS_URL")]
    workers: String,
    /// The second broker's port for clients, such as tcp://HOST:9998
    #[arg(value_name = "BK2_CLIENTS_URL")]
    clients: String,
    /// Classes to carry
    #[arg(long = "class", value_name = "CLASS", required = true, num_args = 1..)]
    classes: Vec<String>,
    /// Milliseconds added to each request: half on the way there, half on the way back
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u64,
    /// Requests of each class under way at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    lanes: usize,
    /// How long the second broker may take until a request is answered ERROR patience
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration_words)]
    patience: Duration,
}

/// Where tasks come from and what becomes of them.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("ends").required(true).args(["pull", "pair"]),
    override_usage = "understudy bridge zmq --pull URL --push URL --class CLASS [OPTIONS]\n       \
                      understudy bridge zmq --pair URL --class CLASS [OPTIONS]"
)]
pub(crate) struct ZmqFlags {
    /// Take tasks from the ventilator there; a host of * listens, any other is connected to
    #[arg(long, value_name = "URL", requires = "push", value_parser = address)]
    pull: Option<Address>,
    /// Send one confirmation a task to the sink there
    #[arg(long, value_name = "URL", requires = "pull", value_parser = address)]
    push: Option<Address>,
    /// Answer one exclusive peer there instead, in the order of its questions
    #[arg(long, value_name = "URL", conflicts_with = "push", value_parser = address)]
    pair: Option<Address>,
    /// Class of the jobs
    #[arg(long, value_name = "CLASS")]
    class: String,
    /// Payload of the jobs: {} stands for the task
    #[arg(long, value_name = "TEXT", default_value = "{}", value_parser = template)]
    template: Template,
    /// Jobs under way at once; no task is read beyond that
    #[arg(long, value_name = "N", default_value_t = limits::CONCURRENCY_DEFAULT)]
    concurrency: usize,
}

/// A queue and what becomes of its messages.
#[derive(Debug, Args)]
#[command(
    override_usage = "understudy bridge amqp --queue QUEUE --class CLASS [--url URL] [--prefetch N] [--dead QUEUE] \
                      [--reply] [--discover marathon://HOST:PORT/APP | --discover-cmd COMMAND]"
)]
pub(crate) struct AmqpFlags {
    /// The server: amqp://[USER:PASSWORD@]HOST[:PORT][/VHOST]
    #[arg(long, value_name = "URL", default_value = "amqp://localhost")]
    url: String,
    /// The queue; declared durable when it is not there
    #[arg(long, value_name = "QUEUE")]
    queue: String,
    /// Class of the jobs; a message's body is their payload
    #[arg(long, value_name = "CLASS")]
    class: String,
    /// Messages under way at once, at most; never more than the slots of the nodes that serve the class
    #[arg(long, value_name = "N", default_value_t = limits::CONCURRENCY_DEFAULT)]
    prefetch: usize,
    /// Where messages go whose jobs failed for good; without it they are rejected
    #[arg(long, value_name = "QUEUE")]
    dead: Option<String>,
    /// Send a job's output to the queue its message names for the reply
    #[arg(long)]
    reply: bool,
    /// Ask this Marathon where the server is, before each connection
    #[arg(long, value_name = "marathon://HOST:PORT/APP", conflicts_with = "discover_cmd", value_parser = marathon)]
    discover: Option<Discover>,
    /// Run this before each connection; it prints HOST:PORT of the server
    #[arg(long, value_name = "COMMAND")]
    discover_cmd: Option<String>,
}

fn marathon(text: &str) -> Result<Discover, String> {
    Discover::marathon(text).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<Address, String> {
    Address::read(text).map_err(|error| error.to_string())
}

fn template(text: &str) -> Result<Template, String> {
    Template::read(text).map_err(|error| error.to_string())
}

/// Serves until a signal; the second one ends it at once.
pub(crate) fn run(command: &BridgeCommand, common: Common) -> Outcome {
    match command {
        BridgeCommand::Lab(flags) => lab(flags),
        BridgeCommand::Zmq(flags) => zmq(flags, common),
        BridgeCommand::Amqp(flags) => amqp(flags, common),
    }
}

fn lab(flags: &LabFlags) -> Outcome {
    let settings = flags.settings(&host_name()?).map_err(|error| Failure::usage(error.to_string()))?;
    let stop = stop_by_signals()?;
    lab::run(&settings, &stop, &|line| talk(line)).map_err(|error| Failure::error(error.to_string()))?;
    Ok(Exit::Ok)
}

impl LabFlags {
    fn settings(&self, host: &str) -> Result<LabSettings, LabSettingsError> {
        LabSettings::new(&self.workers, &self.clients, &self.classes, self.lanes, host)?
            .delayed(Duration::from_millis(self.delay))?
            .patient(self.patience)
    }
}

fn zmq(flags: &ZmqFlags, common: Common) -> Outcome {
    let settings =
        PatternSettings::new(flags.ends()?, &flags.class, flags.template.clone(), flags.concurrency)
            .map_err(|error| Failure::usage(error.to_string()))?;
    let api = api::of(common.server, common.token_file.as_deref())?;
    let stop = stop_by_signals()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(starting)?;
    let owed = runtime.block_on(pattern::run(&settings, api, &stop, Arc::new(|line: &str| talk(line))));
    runtime.shutdown_background();
    match owed.map_err(|error| Failure::error(error.to_string()))? {
        0 => Ok(Exit::Ok),
        owed => Err(Failure::error(format!("{owed} tasks are left without an answer; their jobs go on"))),
    }
}

fn amqp(flags: &AmqpFlags, common: Common) -> Outcome {
    let settings = flags.settings().map_err(|error| Failure::usage(error.to_string()))?;
    let api = api::of(common.server, common.token_file.as_deref())?;
    let stop = stop_by_signals()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(starting)?;
    let left = runtime.block_on(amqp::run(&settings, api, &stop, Arc::new(|line: &str| talk(line))));
    runtime.shutdown_background();
    let left = left.map_err(|error| Failure::error(error.to_string()))?;
    if left > 0 {
        talk(&format!("{left} messages went back to the queue; their jobs go on"));
    }
    Ok(Exit::Ok)
}

impl AmqpFlags {
    fn settings(&self) -> Result<AmqpSettings, AmqpSettingsError> {
        let settings = AmqpSettings::new(&self.url, &self.queue, &self.class, self.prefetch)?;
        let command = || self.discover_cmd.clone().map(Discover::Command);
        let discover = self.discover.clone().or_else(command);
        Ok(settings.burying(self.dead.as_deref())?.replying(self.reply).discovering(discover))
    }
}

impl ZmqFlags {
    fn ends(&self) -> Result<Ends, Failure> {
        match (&self.pull, &self.push, &self.pair) {
            (Some(pull), Some(push), None) => Ok(Ends::Batch { pull: pull.clone(), push: push.clone() }),
            (None, None, Some(pair)) => Ok(Ends::Pair(pair.clone())),
            _ => Err(Failure::usage("either --pull and --push, or --pair")),
        }
    }
}

/// Told by SIGTERM and by Ctrl-C.
fn stop_by_signals() -> Result<Stop, Failure> {
    let stop = Stop::new().map_err(starting)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(starting)?;
    let told = stop.clone();
    // Heard from here on, before anything else begins.
    let (mut term, mut interrupt) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::terminate()).map_err(starting)?,
            signal(SignalKind::interrupt()).map_err(starting)?,
        )
    };
    let listen = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = interrupt.recv() => {}
                }
                told.tell();
                talk("ends when what is under way is done, or in 10 s; again: at once");
            }
        });
    };
    std::thread::Builder::new().name("signals".to_string()).spawn(listen).map_err(starting)?;
    Ok(stop)
}

fn starting(cause: std::io::Error) -> Failure {
    Failure::error(format!("starting the bridge: {cause}"))
}

fn talk(line: &str) {
    show::talk(&format!("understudy bridge: {line}"));
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: BridgeCommand,
    }

    fn parse(words: &[&str]) -> Result<BridgeCommand, String> {
        let line = Line::try_parse_from(["bridge"].iter().chain(words));
        line.map(|line| line.command).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bridge_of_the_lab_is_what_worcli_was_with_more_words() {
        let brokers = ["lab", "tcp://a:9999", "tcp://b:9998"];
        let words = [&brokers[..], &["--delay", "1200", "--class", "A", "B", "--class", "ñ", "--lanes", "2"]];
        let BridgeCommand::Lab(flags) = parse(&words.concat()).unwrap() else { panic!("it is lab") };
        assert_eq!(flags.classes, ["A", "B", "ñ"]);
        assert_eq!((flags.delay, flags.lanes, flags.patience), (1_200, 2, Duration::from_secs(60)));
        assert!(flags.settings("h").is_ok());
        assert!(parse(&brokers).unwrap_err().contains("--class"));
        let words = [&brokers[..], &["--class", "A", "--lanes", "65"]].concat();
        let BridgeCommand::Lab(flags) = parse(&words).unwrap() else { panic!("it is lab") };
        assert!(flags.settings("h").unwrap_err().to_string().contains("lanes: 1 to 64"));
    }

    #[test]
    fn a_bridge_to_a_queue_needs_its_name_and_a_class() {
        let least = ["amqp", "--queue", "q", "--class", "C"];
        let BridgeCommand::Amqp(flags) = parse(&least).unwrap() else { panic!("it is amqp") };
        assert_eq!((flags.url.as_str(), flags.prefetch), ("amqp://localhost", 64));
        assert!(flags.settings().is_ok());
        for (words, part) in [
            (&["--discover", "marathon://m:8080/amqp", "--discover-cmd", "x"][..], "cannot be used with"),
            (&["--discover", "m:8080"], "must be marathon://HOST:PORT/APP"),
        ] {
            let message = parse(&[&least[..], words].concat()).unwrap_err();
            assert!(message.contains(part), "{words:?}: {message}");
        }
        assert!(parse(&least[..3]).unwrap_err().contains("--class"));
    }

    #[test]
    fn a_bridge_has_a_ventilator_and_a_sink_or_one_peer() {
        let batch = ["zmq", "--pull", "tcp://vent:5557", "--push", "tcp://*:5558", "--class", "sleep"];
        let BridgeCommand::Zmq(flags) = parse(&batch).unwrap() else { panic!("it is zmq") };
        let Ends::Batch { pull, push } = flags.ends().unwrap() else { panic!("it is a batch") };
        assert_eq!((pull.binds(), push.binds(), flags.concurrency), (false, true, 64));
        let pair = ["zmq", "--pair", "tcp://*:5560", "--class", "C", "--template", "{}ms"];
        let BridgeCommand::Zmq(flags) = parse(&pair).unwrap() else { panic!("it is zmq") };
        assert!(matches!(flags.ends().unwrap(), Ends::Pair(_)));
        for (words, part) in [
            (&["zmq", "--class", "C"][..], "--pair"),
            (&["zmq", "--pull", "tcp://a:1", "--class", "C"], "--push"),
            (&["zmq", "--push", "tcp://a:1", "--class", "C"], "--pull"),
            (&[&pair[..], &["--push", "tcp://a:1"]].concat(), "--push"),
            (&["zmq", "--pair", "a:1", "--class", "C"], "must be tcp://HOST:PORT"),
            (&["zmq", "--pair", "tcp://*:1", "--class", "C", "--template", "ms"], "has no {}"),
            (&["zmq", "--pair", "tcp://*:1"], "--class"),
        ] {
            let message = parse(words).unwrap_err();
            assert!(message.contains(part), "{words:?}: {message}");
        }
    }
}
