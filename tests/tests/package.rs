//! The Debian package that stands in for a ReCodEx broker's: what is in it, and what its installation makes of a system.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::process::program;
use tests::source::root;

/// Runs it and gives its standard output.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The package of the program under test.
fn package(folder: &Path) -> PathBuf {
    let mut command = Command::new(root().join("scripts/package-deb"));
    PathBuf::from(output(command.arg(program()).arg(folder)).trim())
}

/// The words behind a setting of the unit.
fn of_unit<'a>(unit: &'a str, key: &str) -> &'a str {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{key} is not in the unit"))
}

#[test]
fn the_package_has_program_unit_and_the_brokers_settings_file_which_the_program_understands() {
    let folder = tempfile::tempdir().expect("a folder");
    let package = package(folder.path());
    let unpacked = folder.path().join("unpacked");
    output(Command::new("dpkg-deb").arg("-R").arg(&package).arg(&unpacked));
    let read = |path: &str| fs::read_to_string(unpacked.join(path)).expect(path);
    let conffiles = read("DEBIAN/conffiles");
    assert!(conffiles.lines().any(|line| line == "/etc/recodex/broker/config.yml"), "{conffiles}");
    let control = read("DEBIAN/control");
    for line in
        ["Package: understudy-recodex-broker", "Conflicts: recodex-broker", "Provides: recodex-broker"]
    {
        assert!(control.lines().any(|has| has == line), "{line}: {control}");
    }
    let unit = read("lib/systemd/system/recodex-broker.service");
    assert_eq!((of_unit(&unit, "User"), of_unit(&unit, "Group")), ("recodex", "recodex"));
    // What the unit starts is a line of words that the program in the package takes, with the file that lies beside it.
    let mut words = of_unit(&unit, "ExecStart").split(' ');
    let started = words.next().and_then(|path| path.strip_prefix('/')).expect("a whole path");
    let file = "/etc/recodex/broker/config.yml";
    let words: Vec<String> =
        words.map(|word| word.replace(file, &unpacked.join(&file[1..]).to_string_lossy())).collect();
    assert!(words.iter().any(|word| word.starts_with(&*unpacked.to_string_lossy())), "{words:?}");
    let mut check = Command::new(unpacked.join(started));
    let checked = check.args(["config", "check"]).args(&words).output().expect("the program runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("the settings are good"), "{said}");
    assert!(!said.contains("unknown"), "{said}");
}

#[test]
fn its_installation_makes_a_user_without_a_shell_who_owns_settings_and_log() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("not run: only root installs packages");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let package = package(folder.path());
    let system = folder.path().join("system");
    for path in ["etc", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"] {
        fs::create_dir_all(system.join(path)).expect("a folder");
    }
    for path in ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "var/lib/dpkg/status"] {
        fs::write(system.join(path), "").expect("a file");
    }
    let install = || {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", system.display()));
        output(
            dpkg.args(["--force-script-chrootless", "--force-depends", "--force-confold", "--install"])
                .arg(&package),
        );
    };
    install();
    let passwd = fs::read_to_string(system.join("etc/passwd")).expect("users");
    let fields: Vec<&str> = passwd.trim().split(':').collect();
    assert_eq!((fields[0], fields[6], passwd.lines().count()), ("recodex", "/usr/sbin/nologin", 1));
    let number = |at: usize| fields[at].parse::<u32>().expect("a number");
    let owner = (number(2), number(3));
    let meta = |path: &str| fs::metadata(system.join(path)).expect(path);
    for path in ["etc/recodex", "etc/recodex/broker", "etc/recodex/broker/config.yml", "var/log/recodex"] {
        assert_eq!((meta(path).uid(), meta(path).gid()), owner, "{path}");
    }
    assert_eq!(meta("etc/recodex/broker/config.yml").permissions().mode() & 0o777, 0o640);
    // A second installation keeps what the operator wrote, and makes no second user.
    let config = system.join("etc/recodex/broker/config.yml");
    fs::write(&config, "queue_manager: multi\n").expect("the operator's settings");
    install();
    assert_eq!(fs::read_to_string(&config).expect("settings"), "queue_manager: multi\n");
    assert_eq!(fs::read_to_string(system.join("etc/passwd")).expect("users"), passwd);
}
