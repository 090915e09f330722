//! Precedence, names and checks of the settings.

use std::io::Write as _;

use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: NodeFlags,
}

fn flags(words: &[&str]) -> NodeFlags {
    Line::parse_from(["node"].iter().chain(words)).flags
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The words of the refusal of a settings file.
fn refusal(text: &str) -> String {
    let file = file(text);
    let failure = read(&flags(&["-c", file.path().to_str().unwrap()]), Role::Master).unwrap_err();
    assert_eq!(failure.exit, crate::exit::Exit::Usage);
    failure.message
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let file = file(
        "[node]\nname = 'from-file'\nlink_port = 7001\n[worker]\nslots = 7\nheaders = { gpu = 'a', os = ['x', 'y'] }\n\
         [raft]\nheartbeat_ms = 50\n[class.words]\ncommand = ['wc', '-w']\ntimeout = '3s'\nmemory = '1MiB'\n[chaos]\nenabled = true\n",
    );
    let path = file.path().to_str().unwrap();
    let settings = read(
        &flags(&["-c", path, "--name", "from-flag", "--chaos=false", "--header", "gpu=b"]),
        Role::Worker,
    )
    .unwrap();
    assert_eq!((settings.name.as_str(), settings.link_port, settings.slots), ("from-flag", 7001, 7));
    assert_eq!((settings.broker_port, settings.http_port, settings.chaos), (9990, 3004, false));
    assert_eq!((settings.heartbeat_ms, settings.election_ms, settings.founds), (50, 500, false));
    assert_eq!(settings.headers["gpu"], ["b".to_string()].into());
    assert_eq!(settings.headers["os"].len(), 2);
    let class = &settings.classes["words"];
    assert_eq!((class.command.len(), class.timeout_ms, class.memory_bytes), (2, Some(3_000), Some(1 << 20)));
}

#[test]
fn a_script_serves_its_class() {
    let settings = read(&flags(&["--script", "./myaction", "--class", "myaction"]), Role::Worker).unwrap();
    let here = std::env::current_dir().unwrap().join("myaction");
    assert_eq!(settings.classes["myaction"].command, [here.to_str().unwrap()]);
    for half in [["--script", "x"], ["--class", "x"]] {
        assert!(Line::try_parse_from(["node"].iter().chain(&half)).is_err(), "{half:?}");
    }
}

#[test]
fn resources_are_numbers_down_to_thousandths_and_a_policy_is_one_of_two() {
    let file =
        file("[worker]\nresources = { gpu = 2, licence = 0.5, disk = '1.125' }\n[queue]\npolicy = 'multi'\n");
    let path = file.path().to_str().unwrap();
    let settings =
        read(&flags(&["-c", path, "--resource", "gpu=4", "--resource", "port=1"]), Role::Worker).unwrap();
    let has = [("gpu", 4_000), ("licence", 500), ("disk", 1_125), ("port", 1_000)];
    assert_eq!(settings.resources, has.map(|(name, milli)| (name.to_string(), milli)).into());
    assert_eq!(settings.policy, node::settings::Policy::Multi);
    assert_eq!(read(&flags(&[]), Role::Master).unwrap().policy, node::settings::Policy::Single);
    for (text, words) in [
        ("[worker]\nresources = { gpu = -1 }\n", "worker.resources.gpu"),
        ("[worker]\nresources = { gpu = 0.0005 }\n", "at most three decimals"),
        ("[worker]\nresources = { gpu = 1e12 }\n", "worker.resources.gpu"),
        ("[worker]\nresources = { gpu = true }\n", "worker.resources.gpu"),
        ("[queue]\npolicy = 'fifo'\n", "must be single or multi"),
    ] {
        let said = refusal(text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn a_variable_is_a_flag_that_a_flag_beats() {
    use clap::CommandFactory as _;
    let command = Line::command();
    let variable = |flag: &str| {
        let flag = command.get_arguments().find(|argument| argument.get_long() == Some(flag)).unwrap();
        flag.get_env().unwrap().to_str().unwrap().to_string()
    };
    for flag in [
        "name",
        "data",
        "listen",
        "advertise",
        "join",
        "expect",
        "voters",
        "slots",
        "allow",
        "chaos",
        "insecure",
        "logger",
        "share",
        "logdb",
    ] {
        assert_eq!(variable(flag), format!("UNDERSTUDY_{}", flag.to_uppercase()));
    }
    assert_eq!(variable("broker-port"), "UNDERSTUDY_BROKER_PORT");
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = read(&flags(&[]), Role::Master).unwrap();
    assert_eq!(
        (settings.listen_host.as_str(), settings.http_port, settings.advertise.as_str()),
        ("127.0.0.1", 3002, "127.0.0.1")
    );
    assert_eq!(
        (settings.expect, settings.voters, settings.broker_port, settings.link_port),
        (1, 3, 9990, 9991)
    );
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(settings.slots as usize, (cores * 2).max(4));
    assert_eq!((settings.pub_port, settings.share.len()), (9997, 4));
    assert_eq!(settings.drain_deadline_ms, 10_000);
    assert!(settings.founds && !settings.chaos && !settings.insecure && settings.allow.is_empty());
    assert_eq!(settings.logger, std::env::var("LOGGER_URL").ok());
    assert_eq!(settings.name, nix::unistd::gethostname().unwrap().into_string().unwrap());
}

#[test]
fn kinds_are_shared_unless_they_are_withheld() {
    use node::news::Kind;
    let share = |words: &[&str]| read(&flags(words), Role::Worker).unwrap().share;
    assert_eq!(share(&["--share", "common,state"]), [Kind::Common, Kind::State].into());
    assert_eq!(share(&["--share="]), [].into());
    let file = file("[share]\nkinds = ['dynamic']\n");
    let path = file.path().to_str().unwrap();
    assert_eq!(share(&["-c", path]), [Kind::Dynamic].into());
    assert_eq!(share(&["-c", path, "--share", "static"]), [Kind::Static].into());
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_is_named() {
    let message = refusal("[node]\nnmae = 'x'\n");
    assert!(message.contains("setting node.nmae is unknown: did you mean name?"), "{message}");
    let message = refusal("[wroker]\nslots = 1\n");
    assert!(message.contains("setting wroker is unknown: did you mean worker?"), "{message}");
    let message = refusal("[class.a]\ncommand = ['x']\ntimeuot = '3s'\n");
    assert!(message.contains("class.a.timeuot is unknown: did you mean timeout?"), "{message}");
    let message = refusal("[logs]\nkeep_days = 3\n");
    assert!(message.contains("setting logs.keep_days is not supported by this version yet"), "{message}");
    let message = refusal("[recodex.workers]\nprot = 1\n");
    assert!(message.contains("setting recodex.workers.prot is unknown: did you mean port?"), "{message}");
}

#[test]
fn a_bad_value_names_its_setting_and_its_file() {
    let message = refusal("[worker]\nslots = 'many'\n");
    assert!(message.contains("worker.slots") && message.contains("/"), "{message}");
    for (text, part) in [
        ("[cluster]\nvoters = 4\n", "cluster.voters: must be 1, 3 or 5, this is 4"),
        ("[cluster]\nexpect = 4\n", "cluster.expect: must be from 1 to the 3 voters"),
        ("[worker]\ndrain_deadline = 'soon'\n", "setting worker.drain_deadline: "),
        ("[worker]\ndrain_deadline = '25h'\n", "worker.drain_deadline: must be at most 24h"),
        ("[node]\nlisten = '0.0.0.0:3002'\n", "beyond loopback"),
        ("[cluster]\nkey_file = '/nowhere/key'\n", "cluster.key_file: /nowhere/key: reading it"),
        ("[http]\ntoken_file = '/nowhere/token'\n", "http.token_file: /nowhere/token: reading it"),
        ("[node]\nlisten = '127.0.0.1'\n", "node.listen: must be HOST:PORT"),
        ("[node]\nname = 'a b'\n", "node.name"),
        ("[raft]\nelection_ms = 200\n", "three heartbeats"),
        ("[worker]\nallow = ['pyhton']\n", "did you mean python?"),
        ("[class.echo]\ncommand = ['cat']\n", "class.echo"),
        ("[class.a]\ncommand = []\n", "class.a.command: must name a program"),
        ("[logs]\nlogger = 'database:9995'\n", "logs.logger: must be tcp://HOST:PORT"),
        ("[logs]\nlogger = 'tcp://database'\n", "logs.logger: must be HOST:PORT"),
        (
            "[share]\nkinds = ['dynmic']\n",
            "share.kinds: \"dynmic\" is no kind of information: did you mean dynamic?",
        ),
        ("[logs]\nstore = 'database:3003'\n", "logs.store: must be http://HOST:PORT"),
        ("[master]\nruns_jobs = 'maybe'\n", "auto, always or never"),
        ("not toml", ""),
    ] {
        let message = refusal(text);
        assert!(message.contains(part), "{text}: {message}");
    }
    let failure = read(&flags(&["-c", "/nowhere/understudy.toml"]), Role::Master).unwrap_err();
    assert!(failure.message.contains("/nowhere/understudy.toml"), "{}", failure.message);
}

#[test]
fn addresses_beyond_loopback_need_the_word_and_then_advertise_the_host_name() {
    let settings = read(&flags(&["--listen", "0.0.0.0:3002", "--insecure"]), Role::Master).unwrap();
    assert_eq!(settings.advertise, nix::unistd::gethostname().unwrap().into_string().unwrap());
    let settings = read(&flags(&["--listen", "[::1]:3002"]), Role::Master).unwrap();
    assert_eq!((settings.listen_host.as_str(), settings.http_port), ("[::1]", 3002));
}

#[test]
fn beyond_loopback_a_key_and_a_token_are_needed_and_what_is_missing_is_named() {
    let (key, token) = (file(&"0f".repeat(32)), file("0123456789abcdef0123456789abcdef\n"));
    let with = |has_key: bool, has_token: bool, more: &[&str]| {
        let mut flags = flags(&[&["--listen", "0.0.0.0:3002"], more].concat());
        flags.cluster_key_file = has_key.then(|| key.path().to_path_buf());
        flags.token_file = has_token.then(|| token.path().to_path_buf());
        read(&flags, Role::Master).map_err(|failure| failure.message)
    };
    let settings = with(true, true, &[]).unwrap();
    assert!(settings.cluster_key.is_some() && settings.token.is_some());
    assert!(settings.missing_beyond_loopback().is_empty());
    let (no_key, no_token) = (with(false, true, &[]).unwrap_err(), with(true, false, &[]).unwrap_err());
    assert!(no_key.contains("--cluster-key-file") && !no_key.contains("--token-file"), "{no_key}");
    assert!(no_token.contains("--token-file") && !no_token.contains("--cluster-key-file"), "{no_token}");
    let waived = with(true, false, &["--insecure"]).unwrap();
    assert!(waived.cluster_key.is_some() && waived.missing_beyond_loopback().len() == 1);
    assert_eq!(with(false, false, &["--insecure"]).unwrap().missing_beyond_loopback().len(), 2);
    let bad_key = file("secret");
    let mut flags = flags(&[]);
    flags.cluster_key_file = Some(bad_key.path().to_path_buf());
    let message = read(&flags, Role::Master).unwrap_err().message;
    assert!(message.contains("cluster.key_file") && message.contains("/dev/urandom"), "{message}");
}

#[test]
fn a_variable_that_is_nearly_ours_is_refused_and_a_platforms_is_not() {
    let refuse = |name: &str| refuse_unknown_variables([name.to_string()].into_iter()).map_err(|f| f.message);
    assert!(refuse("UNDERSTUDY_SLOST").unwrap_err().contains("did you mean UNDERSTUDY_SLOTS?"));
    assert!(refuse("UNDERSTUDY_SOURCES").unwrap_err().contains("not supported by this version yet"));
    for fine in ["UNDERSTUDY_NAME", "UNDERSTUDY_SERVICE_HOST", "UNDERSTUDY_JOB", "PATH"] {
        assert_eq!(refuse(fine), Ok(()), "{fine}");
    }
}
