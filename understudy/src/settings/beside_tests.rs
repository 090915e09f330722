//! What client-web and logdb are told: precedence, names and checks, as for nodes.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser as _};

use super::beside::BesideFlags;
use super::client_web::{ClientWeb, ClientWebFlags};
use super::logdb::LogdbFlags;

#[derive(clap::Parser)]
struct Line<F: Args> {
    #[command(flatten)]
    flags: F,
}

fn flags<F: Args>(words: &[&str]) -> F {
    Line::<F>::parse_from(["one"].iter().chain(words)).flags
}

fn web(words: &[&str]) -> Result<ClientWeb, String> {
    flags::<ClientWebFlags>(words).read().map_err(|failure| failure.message)
}

fn store(words: &[&str]) -> Result<logdb::LogStoreSettings, String> {
    let read = flags::<LogdbFlags>(words).read_with(None);
    read.map(|(settings, _)| settings).map_err(|failure| failure.message)
}

/// A settings file with this text, and the flag that names it.
fn file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let flag = format!("--config={}", file.path().display());
    (file, flag)
}

#[test]
fn defaults_are_those_of_the_contract() {
    let web = web(&[]).unwrap();
    assert_eq!((web.beside.host.as_str(), web.beside.port), ("127.0.0.1", 3001));
    assert_eq!(web.servers, [3002, 3004, 3005, 3006].map(|port| format!("http://127.0.0.1:{port}")));
    assert!(web.logdb.is_none() && !web.beside.chaos && !web.beside.insecure);
    let store = store(&[]).unwrap();
    assert_eq!((store.listen_host.as_str(), store.http_port), ("127.0.0.1", 3003));
    assert_eq!(store.pull, "tcp://127.0.0.1:9995");
    assert_eq!(store.database, PathBuf::from("/var/lib/understudy/logs.sqlite"));
    assert!(store.file.is_none() && !store.chaos);
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let (_kept, config) = file(
        "[node]\nname = 'from-file'\nlisten = '127.0.0.1:1'\n[client-web]\nservers = ['http://a:1', 'http://b:2']\n\
         [http]\nallowed_hosts = ['jobs.test']\n[logs]\nstore = 'http://s:3'\nlogger = 'tcp://s:4'\n[chaos]\nenabled = true\n",
    );
    let web = web(&[&config, "--name", "from-flag", "--chaos=false", "--logdb", "http://t:5/"]).unwrap();
    assert_eq!((web.beside.name.as_str(), web.beside.port, web.beside.chaos), ("from-flag", 1, false));
    assert_eq!(web.servers, ["http://a:1", "http://b:2"]);
    assert_eq!((web.logdb.as_deref(), web.logger.as_deref()), (Some("http://t:5"), Some("tcp://s:4")));
    assert!(web.beside.hosts.contains(&"jobs.test".to_string()));

    let (_kept, config) = file("[logdb]\npull = 'tcp://127.0.0.1:1'\ndatabase = 'sqlite:/a'\nfile = '/b'\n");
    let store = store(&[&config, "--database", "sqlite:/c"]).unwrap();
    assert_eq!((store.pull.as_str(), store.database), ("tcp://127.0.0.1:1", PathBuf::from("/c")));
    assert_eq!((store.file, store.http_port), (Some(PathBuf::from("/b")), 3003));
}

#[test]
fn every_flag_has_its_variable() {
    for command in
        [Line::<BesideFlags>::command(), Line::<ClientWebFlags>::command(), Line::<LogdbFlags>::command()]
    {
        for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
            let name = flag.get_long().unwrap().to_uppercase();
            let variable = flag.get_env().unwrap_or_else(|| panic!("{name} has no variable"));
            assert_eq!(variable.to_str().unwrap(), format!("UNDERSTUDY_{name}"));
        }
    }
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_is_named() {
    let refused = |text: &str| {
        let (_kept, config) = file(text);
        (web(&[&config]).err().unwrap_or_default(), store(&[&config]).err().unwrap_or_default())
    };
    for message in <[String; 2]>::from(refused("[node]\nlisen = 'x'\n")) {
        assert!(message.contains("setting node.lisen is unknown: did you mean listen?"), "{message}");
    }
    let (message, _) = refused("[client-web]\nserver = ['http://a:1']\n");
    assert!(message.contains("setting client-web.server is unknown: did you mean servers?"), "{message}");
    let (_, message) = refused("[logdb]\ndatabse = 'sqlite:/x'\n");
    assert!(message.contains("setting logdb.databse is unknown: did you mean database?"), "{message}");
    let (message, other) = refused("[worker]\nslots = 1\n");
    assert!(message.contains("setting worker is unknown: known are node, client-web, http"), "{message}");
    assert!(other.contains("setting worker is unknown: known are node, logdb, http"), "{other}");
    let failure = web(&["-c", "/nowhere/web.toml"]).unwrap_err();
    assert!(failure.contains("/nowhere/web.toml"), "{failure}");
}

#[test]
fn what_cannot_be_meant_is_named() {
    for (words, part) in [
        (["--listen", "0.0.0.0:3001"], "setting node.listen: 0.0.0.0 is beyond loopback"),
        (["--listen", "127.0.0.1"], "setting node.listen: must be HOST:PORT"),
        (["--name", "a b"], "a b"),
        (["--logdb", "database:3003"], "setting logs.store: must be http://HOST:PORT"),
        (["--logdb", "http://database"], "setting logs.store: must be HOST:PORT"),
        (["--logger", "http://database:9995"], "setting logs.logger: must be tcp://HOST:PORT"),
    ] {
        let message = web(&words).unwrap_err();
        assert!(message.contains(part), "{words:?}: {message}");
    }
    for (words, part) in [
        (["--pull", "127.0.0.1:9995"], "setting logdb.pull: must be tcp://HOST:PORT"),
        (["--pull", "tcp://0.0.0.0:9995"], "setting logdb.pull: 0.0.0.0 is beyond loopback"),
        (["--listen", "0.0.0.0:3003"], "setting node.listen: 0.0.0.0 is beyond loopback"),
        (["--database", "postgres://x/y"], "PostgreSQL is not supported by this version yet"),
        (["--database", "logs.sqlite"], "must be sqlite:PATH"),
        (["--name", "a b"], "a b"),
    ] {
        let message = store(&words).unwrap_err();
        assert!(message.contains(part), "{words:?}: {message}");
    }
    assert_eq!(store(&["--database", "sqlite:///a/b"]).unwrap().database, PathBuf::from("/a/b"));
    assert!(store(&["--listen", "0.0.0.0:3003", "--pull", "tcp://0.0.0.0:9995", "--insecure"]).is_ok());
}

#[test]
fn a_flag_of_a_later_version_is_an_error() {
    let words = ["one", "--sources", "http://a:1"];
    assert!(Line::<ClientWebFlags>::try_parse_from(words).is_err());
    assert!(Line::<LogdbFlags>::try_parse_from(words).is_err());
}

#[test]
fn a_token_opens_addresses_beyond_loopback_and_a_bad_one_is_named() {
    let (kept, _) = file("0123456789abcdef0123456789abcdef\n");
    let mut web = flags::<ClientWebFlags>(&["--listen", "0.0.0.0:3001"]);
    web.beside.token_file = Some(kept.path().to_path_buf());
    assert!(web.read().unwrap().beside.token.is_some());
    let mut store = flags::<LogdbFlags>(&["--listen", "0.0.0.0:3003"]);
    store.beside.token_file = Some(kept.path().to_path_buf());
    assert!(store.read_with(None).unwrap().0.token.is_some());
    let (short, _) = file("secret\n");
    web.beside.token_file = Some(short.path().to_path_buf());
    let message = web.read().unwrap_err().message;
    assert!(message.contains("http.token_file") && message.contains("32 to 512"), "{message}");
}

#[test]
fn the_seeds_folder_names_the_file_where_no_flag_does() {
    let read = |words: &[&str]| flags::<LogdbFlags>(words).read_with(Some("/cbw".into())).unwrap().0.file;
    assert_eq!(read(&[]), Some(PathBuf::from("/cbw/logs")));
    assert_eq!(read(&["--file", "/mine"]), Some(PathBuf::from("/mine")));
}
