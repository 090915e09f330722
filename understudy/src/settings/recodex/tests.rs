//! Layers, defaults and refusals of what ReCodEx is served with.

use clap::Parser as _;
use node::settings::{FileLevel, Policy, RecodexSettings, Settings};

use super::super::{NodeFlags, Role, Said, check, said};
use crate::exit::Failure;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: NodeFlags,
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// A settings file, the original's file, and further flags.
#[derive(Default)]
struct Given<'a> {
    toml: Option<&'a str>,
    yaml: Option<&'a str>,
    /// The original's file lies at its usual place, and nobody names it.
    is_usual: bool,
    flags: &'a [&'a str],
}

impl Given<'_> {
    fn said(&self) -> Result<Said, Failure> {
        let toml = self.toml.map(file);
        let yaml = self.yaml.map(file);
        let mut flags = Line::parse_from(["node"].iter().chain(self.flags)).flags;
        flags.config = toml.as_ref().map(|file| file.path().to_path_buf());
        let path = yaml.as_ref().map(|file| file.path().to_path_buf());
        if !self.is_usual {
            flags.recodex_config = flags.recodex_config.or(path.clone());
        }
        let usual = path.filter(|_| self.is_usual).unwrap_or_else(|| "/nowhere/config.yml".into());
        said(&flags, Role::Master, &usual)
    }

    fn node(&self) -> Result<Settings, String> {
        let built = self.said().and_then(|said| check::build(said.table, Role::Master));
        built.map_err(|failure| failure.message)
    }

    fn recodex(&self) -> RecodexSettings {
        self.node().unwrap().recodex.expect("ReCodEx is served")
    }
}

fn yaml(text: &str) -> RecodexSettings {
    Given { yaml: Some(text), ..Given::default() }.recodex()
}

fn refusal(toml: &str) -> String {
    Given { toml: Some(toml), ..Given::default() }.node().unwrap_err()
}

#[test]
fn what_is_not_said_is_as_with_the_original() {
    let settings = yaml("");
    let at = |port| ("127.0.0.1".to_string(), port);
    assert_eq!((settings.clients, settings.workers), (at(9658), at(9657)));
    assert_eq!((settings.max_liveness, settings.ping_interval_ms), (4, 1_000));
    assert_eq!((settings.max_request_failures, settings.monitor), (3, Some(at(7894))));
    assert_eq!((settings.notifier, settings.logger), (None, None));
    assert_eq!(yaml("clients: {port: 0}\nmonitor: {address: ''}\n").monitor, None);
    let logger = yaml("logger:\n").logger.unwrap();
    assert_eq!((logger.level, logger.max_bytes, logger.rotations), (FileLevel::Debug, 1 << 20, 3));
    assert_eq!(logger.file, std::path::Path::new("/var/log/recodex/broker"));
}

#[test]
fn the_manuals_file_serves_its_programs_in_the_brokers_place() {
    let text = include_str!("../../../../packaging/recodex/config.yml");
    let node = Given { yaml: Some(text), ..Given::default() }.node().unwrap();
    let recodex = node.recodex.unwrap();
    assert_eq!((recodex.max_liveness, recodex.guests_live_ms(), node.policy), (10, 10_000, Policy::Single));
    let notifier = recodex.notifier.unwrap();
    assert_eq!((notifier.address.as_str(), notifier.port), ("127.0.0.1", 8080));
}

#[test]
fn the_settings_file_is_above_the_originals_and_both_name_the_same_things() {
    let toml = "[recodex.workers]\nport = 5\nping_interval = '2s'\n[recodex.logger]\nmax_size = '2KiB'\n";
    let yaml =
        "workers: {port: 4, max_liveness: 7}\nlogger: {file: /tmp/a, max-size: 9}\nqueue_manager: multi\n";
    let node = Given { toml: Some(toml), yaml: Some(yaml), ..Given::default() }.node().unwrap();
    let recodex = node.recodex.unwrap();
    assert_eq!((recodex.workers.1, recodex.max_liveness, recodex.ping_interval_ms), (5, 7, 2_000));
    let logger = recodex.logger.unwrap();
    assert_eq!((logger.file.to_str(), logger.max_bytes), (Some("/tmp/a"), 2_048));
    assert_eq!(node.policy, Policy::Multi);
    let toml = format!("{toml}[queue]\npolicy = 'single'\n");
    let node = Given { toml: Some(&toml), yaml: Some(yaml), ..Given::default() }.node().unwrap();
    assert_eq!(node.policy, Policy::Single, "what the settings file says of the queue counts");
}

#[test]
fn the_usual_file_counts_where_nobody_says_anything_else() {
    let usual = |toml, flags: &[&str]| {
        let given = Given { toml, yaml: Some("clients: {port: 77}\n"), is_usual: true, flags };
        given.node().unwrap().recodex.map(|recodex| recodex.clients.1)
    };
    assert_eq!(usual(None, &[]), Some(77));
    assert_eq!(usual(None, &["--recodex-config", "none"]), None);
    assert_eq!(usual(Some("[recodex]\n"), &[]), Some(9658));
    assert_eq!(usual(Some("[recodex]\nconfig = 'none'\n"), &[]), None);
    let without = Given::default().node().unwrap();
    assert_eq!(without.recodex, None, "nothing of ReCodEx is opened where nobody asks for it");
}

#[test]
fn any_address_is_every_one_only_where_the_node_itself_is_beyond_loopback() {
    let hosts = |yaml: &str, flags: &[&str]| {
        let recodex = Given { yaml: Some(yaml), flags, ..Given::default() }.recodex();
        (recodex.clients.0, recodex.workers.0, recodex.warnings.len())
    };
    let pair = |a: &str, b: &str, warnings| (a.to_string(), b.to_string(), warnings);
    let any = "clients: {address: '*'}\n";
    assert_eq!(hosts(any, &["--listen", "localhost:1"]), pair("localhost", "localhost", 2));
    assert_eq!(hosts(any, &["--listen", "0.0.0.0:1", "--insecure"]), pair("0.0.0.0", "0.0.0.0", 0));
    assert_eq!(hosts(any, &["--listen", "[fd00::1]:1", "--insecure"]), pair("[::]", "[::]", 0));
    let own = "clients: {address: '::1'}\nworkers: {address: 127.0.0.2}\n";
    assert_eq!(hosts(own, &[]), pair("[::1]", "127.0.0.2", 0));
}

#[test]
fn an_open_port_of_a_node_on_loopback_needs_the_word() {
    let open = |flags: &[&str]| {
        Given { yaml: Some("workers: {address: 0.0.0.0}\n"), flags, ..Given::default() }.node()
    };
    let refusal = open(&[]).unwrap_err();
    assert!(refusal.contains("recodex.workers.address: 0.0.0.0 is beyond loopback"), "{refusal}");
    assert!(refusal.contains("not asked who they are"), "{refusal}");
    let node = open(&["--insecure"]).unwrap();
    assert_eq!(node.missing_beyond_loopback().len(), 1);
    assert_eq!(node.beyond_loopback(), Some(("recodex.workers.address", "0.0.0.0")));
    let open_node = open(&["--listen", "0.0.0.0:1", "--insecure"]).unwrap();
    assert!(open_node.missing_beyond_loopback()[0].contains("--cluster-key-file"));
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    for (text, part) in [
        ("[recodex]\nquue = 1\n", "setting recodex.quue is unknown"),
        ("[recodex.workers]\nport = 'x'\n", "recodex.workers.port"),
        ("[recodex.workers]\nmax_liveness = 0\n", "recodex.workers.max_liveness: must be from 1 to"),
        (
            "[recodex.workers]\nping_interval = '1ms'\n",
            "recodex.workers.ping_interval: must be from 10ms to 1h",
        ),
        ("[recodex.workers]\nping_interval = 'soon'\n", "recodex.workers.ping_interval: "),
        (
            "[recodex.workers]\nmax_request_failures = 1001\n",
            "recodex.workers.max_request_failures: must be from 0",
        ),
        ("[recodex.clients]\naddress = 'a b'\n", "recodex.clients.address: must be a host or *"),
        ("[recodex.monitor]\naddress = 'tcp://a'\n", "recodex.monitor.address: must be a host"),
        (
            "[recodex.notifier]\naddress = 'https://a'\n",
            "recodex.notifier.address: must be http, https is not",
        ),
        ("[recodex.notifier]\naddress = 'a b'\n", "recodex.notifier.address: must be a host"),
        ("[recodex.logger]\nmax_size = 'big'\n", "recodex.logger.max_size: must be bytes"),
        ("[recodex.logger]\nmax_size = '0'\n", "recodex.logger.max_size: must be bytes"),
        ("[recodex.logger]\nrotations = 1001\n", "recodex.logger.rotations: must be from 0 to 1000"),
        ("[recodex.logger]\nfile = '/'\n", "recodex.logger.file: must name a file"),
        ("[recodex]\nconfig = '/nowhere/config.yml'\n", "/nowhere/config.yml"),
    ] {
        let message = refusal(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn what_is_odd_is_said_and_does_no_harm() {
    let warnings = |text: &str| {
        let given = Given { yaml: Some(text), ..Given::default() };
        let mut all = given.said().unwrap().warnings;
        all.extend(given.recodex().warnings.into_iter().filter(|warning| !warning.contains(" is *")));
        all.join("\n")
    };
    assert_eq!(warnings("notifier: {address: 127.0.0.1}\nlogger: {level: trace}\n"), "");
    assert!(warnings("workers: {prot: 1}\n").contains("workers.prot is unknown"));
    assert!(warnings("notifier: {port: 1}\n").contains("recodex.notifier has no address"));
    assert!(warnings("logger: {level: inf}\n").contains("did you mean info?"));
}

#[test]
fn a_password_is_sent_and_not_shown() {
    let given = Given { yaml: Some("notifier: {address: a, password: hunter2}\n"), ..Given::default() };
    let recodex = given.recodex();
    assert!(!format!("{recodex:?}").contains("hunter2"));
    assert_eq!(recodex.notifier.unwrap().password.reveal(), "hunter2");
    let shown = toml::to_string(&given.said().unwrap().table.shown()).unwrap();
    assert!(shown.contains("[recodex.notifier]") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_class_of_evaluations_is_taken_where_they_are_served() {
    let toml = "[class.recodex]\ncommand = [\"/bin/true\"]\n";
    let given = Given { toml: Some(toml), yaml: Some("workers:\n  port: 0\n"), ..Given::default() };
    let refused = given.node().unwrap_err();
    assert!(refused.contains("class.recodex") && refused.contains("evaluations"), "{refused}");
    let alone = Given { toml: Some(toml), flags: &["--recodex-config", "none"], ..Given::default() };
    assert!(alone.node().is_ok(), "elsewhere it is a class like any other");
}
