//! A RabbitMQ of Debian's packages on loopback, in a folder of its own, gone when dropped.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::ports::Ports;
use crate::wait::until;

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// It takes some ten seconds to start on a calm machine.
const START: Duration = Duration::from_secs(180);

/// The server. Its queues outlive [`Rabbit::kill`].
#[derive(Debug)]
pub struct Rabbit {
    ports: Ports,
    folder: TempDir,
    server: Option<Child>,
    names: Child,
}

impl Rabbit {
    /// Starts one.
    ///
    /// # Panics
    /// When the package is not there, or it does not start.
    pub async fn start() -> Self {
        assert!(Path::new(SERVER).exists(), "rabbitmq-server is not installed: scripts/test does it");
        let ports = Ports::take();
        let folder = TempDir::with_prefix("understudy-rabbit-").expect("a temporary folder");
        let cookie = folder.path().join(".erlang.cookie");
        fs::write(&cookie, "UNDERSTUDYTESTS").expect("a cookie");
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).expect("a mode");
        fs::write(folder.path().join("plugins"), "[].").expect("a file");
        fs::write(folder.path().join("rabbit.conf"), "log.console = true\n").expect("a file");
        // The names of Erlang's nodes; on a port of ours, so that no other is met.
        let mut names = quiet("epmd", folder.path());
        names.args(["-address", "127.0.0.1", "-port", &ports.http(2).to_string()]);
        let names = names.spawn().expect("epmd comes with rabbitmq-server");
        let mut rabbit = Self { ports, folder, server: None, names };
        rabbit.start_again().await;
        rabbit
    }

    /// Starts it with what it had on its disk.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let (home, log) = (self.folder.path(), self.folder.path().join("log"));
        let at = |name: &str| home.join(name).into_os_string();
        let mut command = quiet(SERVER, home);
        command.env("RABBITMQ_NODENAME", format!("test{}@localhost", self.ports.http(1)));
        command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", self.ports.http(1).to_string());
        command.env("RABBITMQ_DIST_PORT", self.ports.http(3).to_string());
        command.env("RABBITMQ_MNESIA_BASE", at("data")).env("RABBITMQ_LOG_BASE", at("logs"));
        command.env("RABBITMQ_LOGS", "-").env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"));
        command.env("RABBITMQ_CONFIG_FILE", at("rabbit")).env("RABBITMQ_PID_FILE", at("pid"));
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", self.ports.http(2).to_string());
        command.stdout(File::create(&log).expect("a log file"));
        self.server = Some(command.spawn().expect("rabbitmq-server starts"));
        let port = self.ports.http(1);
        until("RabbitMQ listens", START, async || {
            let up = fs::read_to_string(&log).is_ok_and(|text| text.contains("Server startup complete"));
            (up && TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())
        })
        .await;
    }

    /// `kill -9` of all its processes.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            end(&mut server);
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.http(1))
    }

    /// A connection, and a channel on it whose messages are confirmed.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await;
        let connection = connection.expect("RabbitMQ answers");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        (connection, channel)
    }

    /// Publishes lines, each a message, with the standard tool.
    ///
    /// # Panics
    /// When that fails.
    pub fn publish_lines(&self, queue: &str, lines: &[String]) {
        let mut tool = Command::new("amqp-publish");
        tool.args(["-u", &self.url(), "-r", queue, "-p", "-l"]).stdin(Stdio::piped());
        let mut tool = tool.spawn().expect("amqp-publish runs: scripts/test installs it");
        let mut input = tool.stdin.take().expect("its input");
        for line in lines {
            writeln!(input, "{line}").expect("it reads");
        }
        drop(input);
        assert!(tool.wait().expect("it ends").success(), "amqp-publish failed");
    }

    /// How many messages wait in a queue; those that somebody holds do not count.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub async fn waiting(&self, queue: &str) -> u32 {
        let (_connection, channel) = self.channel().await;
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(queue.into(), look, FieldTable::default()).await;
        queue.expect("the queue is there").message_count()
    }

    /// Takes all that waits in a queue: bodies and headers.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub async fn taken(&self, queue: &str) -> Vec<(String, FieldTable)> {
        let (_connection, channel) = self.channel().await;
        let mut all = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get(queue.into(), options).await.expect("a message") {
            let headers = message.properties.headers().clone().unwrap_or_default();
            all.push((String::from_utf8_lossy(&message.data).into_owned(), headers));
        }
        all
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
        end(&mut self.names);
    }
}

/// Publishes one message and waits until the server has it on its disk.
///
/// # Panics
/// When it does not say so.
pub async fn publish(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish("".into(), queue.into(), options, body, properties.with_delivery_mode(2));
    let confirmed = sent.await.expect("a message leaves").await.expect("the server answers");
    assert!(confirmed.is_ack(), "the server keeps the message");
}

/// A command that leads a process group of its own and does not speak up.
fn quiet(program: &str, home: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]).env("HOME", home).current_dir(home);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command
}

fn end(child: &mut Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
    // Gone already is as good.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

/// A script in this folder that `sh` runs.
///
/// # Panics
/// When the folder cannot be written.
#[must_use]
pub fn script(folder: &Path, name: &str, lines: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}
