//! The original broker's configuration, as its operator writes it.

use std::fmt::Write as _;

/// The name and the word that the notifier is called with.
pub const USER: (&str, &str) = ("recodex", "secret");

/// What stands in `config.yml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port for front ends.
    pub clients: u16,
    /// Port for workers.
    pub workers: u16,
    /// Port of the monitor.
    pub monitor: u16,
    /// Port of the notifier.
    pub notifier: u16,
    /// Pings a worker may miss.
    pub max_liveness: u32,
    /// Milliseconds between two pings.
    pub ping_interval: u64,
    /// How often a job may fail.
    pub max_request_failures: u32,
    /// `single` or `multi`.
    pub queue_manager: &'static str,
    /// Where the log goes, without suffix.
    pub log: String,
}

impl Config {
    /// The file.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        let Self { clients, workers, monitor, notifier, max_liveness, ping_interval, .. } = self;
        let (name, word) = USER;
        let mut say = |line: String| writeln!(text, "{line}").expect("text takes text");
        say(format!("queue_manager: \"{}\"", self.queue_manager));
        say(format!("clients:\n    address: \"127.0.0.1\"\n    port: {clients}"));
        say(format!("workers:\n    address: \"127.0.0.1\"\n    port: {workers}"));
        say(format!("    max_liveness: {max_liveness}\n    ping_interval: {ping_interval}"));
        say(format!("    max_request_failures: {}", self.max_request_failures));
        say(format!("monitor:\n    address: \"127.0.0.1\"\n    port: {monitor}"));
        say(format!("notifier:\n    address: \"127.0.0.1/broker-reports\"\n    port: {notifier}"));
        say(format!("    username: \"{name}\"\n    password: \"{word}\""));
        say(format!("logger:\n    file: \"{}\"\n    level: \"debug\"", self.log));
        say("    max-size: 1048576\n    rotations: 3".to_string());
        text
    }
}
