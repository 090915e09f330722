//! The house rules as tests: when a reviewer would say the same thing twice, it stands here instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::source::{self, root};

/// Who may use whom. `tests` may use anything.
const ARROWS: &[(&str, &[&str])] = &[
    ("bench", &[]),
    ("bridge", &["protocol"]),
    ("cast", &["consensus", "master", "protocol", "worker"]),
    ("client-web", &["logdb", "protocol"]),
    ("consensus", &[]),
    ("gate", &[]),
    ("logdb", &["gate", "protocol"]),
    ("master", &["protocol"]),
    ("node", &["cast", "consensus", "gate", "logdb", "master", "protocol", "worker"]),
    ("protocol", &[]),
    ("simulator", &["cast", "consensus", "master", "protocol", "worker"]),
    ("understudy", &["bench", "bridge", "client-web", "logdb", "node", "protocol", "simulator"]),
    ("worker", &["protocol"]),
];

/// Rooms without a standard library: the compiler keeps clocks, files, sockets and threads out.
const NO_STD_ROOMS: &[&str] = &["master", "protocol", "worker"];

/// Rooms that are just as pure, but whose engine needs the standard library.
const PURE_ROOMS: &[&str] = &["cast", "consensus", "simulator"];

/// What a pure room may not name: the world, and whatever differs between two runs of one history.
const WORLDLY: &[&str] = &[
    "HashMap",
    "HashSet",
    "Instant",
    "SystemTime",
    "getrandom",
    "rand",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::{",
    "thread_rng",
    "tokio",
];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// All faults at once, so that one run shows the whole list.
fn none_of(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n  {}\n", faults.join("\n  "));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("reading {}: {e}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn rust_files() -> Vec<PathBuf> {
    source::files(&root(), &[".rs"])
}

/// The files of one room's library or program, without its own integration tests and test-only files.
fn room_files(room: &str) -> Vec<PathBuf> {
    let files = source::files(&root().join(room).join("src"), &[".rs"]);
    files.into_iter().filter(|f| !is_test_file(f)).collect()
}

fn is_test_file(path: &Path) -> bool {
    let in_folder = path.components().any(|c| c.as_os_str() == "tests");
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    in_folder || name == "tests" || name.ends_with("_tests")
}

fn metadata() -> serde_json::Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let told = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(told.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).expect("cargo metadata is JSON")
}

#[test]
fn every_arrow_between_rooms_is_an_allowed_one() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        if name == "tests" {
            continue;
        }
        let Some(targets) = allowed.get(name) else {
            faults.push(format!("{name} is a room that ARROWS does not know"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            if ours.contains(to) && !targets.contains(&to) && dependency["kind"] != "dev" {
                faults.push(format!("{name} → {to} is no allowed arrow"));
            }
        }
    }
    none_of(faults);
}

#[test]
fn every_room_keeps_the_workspaces_lints() {
    let faults = ARROWS.iter().map(|(room, _)| root().join(room).join("Cargo.toml"));
    let faults = faults.filter(|f| f.exists() && !read(f).contains("[lints]\nworkspace = true"));
    none_of(faults.map(|f| format!("{}: lints are not the workspace's", shown(&f))).collect());
}

#[test]
fn no_file_is_over_500_lines_without_its_tests() {
    let lines = |f: &PathBuf| source::without_tests(&read(f)).lines().count();
    let sized = rust_files().into_iter().map(|f| (lines(&f), f));
    let large = sized.filter(|(lines, _)| *lines > FILE_LINES);
    none_of(large.map(|(n, f)| format!("{}: {n} lines, at most {FILE_LINES}", shown(&f))).collect());
}

#[test]
fn no_function_is_over_70_lines() {
    let mut faults = Vec::new();
    for file in rust_files() {
        for (name, lines) in source::functions(&source::code(&read(&file))) {
            if lines > FUNCTION_LINES {
                let file = shown(&file);
                faults.push(format!("{file}: fn {name} has {lines} lines, at most {FUNCTION_LINES}"));
            }
        }
    }
    none_of(faults);
}

#[test]
fn rooms_without_a_standard_library_say_so_and_name_none() {
    let mut faults = Vec::new();
    for room in NO_STD_ROOMS {
        if !read(&root().join(room).join("src/lib.rs")).contains("\n#![no_std]\n") {
            faults.push(format!("{room}/src/lib.rs does not say #![no_std]"));
        }
        for file in room_files(room) {
            let code = source::code_without_tests(&read(&file));
            for word in ["std::", "HashMap", "HashSet"].iter().filter(|w| source::has_word(&code, w)) {
                faults.push(format!("{}: names {word}", shown(&file)));
            }
        }
    }
    none_of(faults);
}

#[test]
fn pure_rooms_know_no_clock_file_socket_thread_or_chance() {
    let mut faults = Vec::new();
    for room in PURE_ROOMS {
        for file in room_files(room) {
            let code = source::code_without_tests(&read(&file));
            for word in WORLDLY.iter().filter(|w| source::has_word(&code, w)) {
                faults.push(format!("{}: names {word}", shown(&file)));
            }
        }
    }
    none_of(faults);
}

#[test]
fn outside_tests_nothing_unwraps_and_nothing_is_left_open() {
    let mut faults = Vec::new();
    for (room, _) in ARROWS {
        for file in room_files(room) {
            let code = source::code_without_tests(&read(&file));
            for word in [".unwrap()", "todo!", "unimplemented!", "dbg!"] {
                if source::has_word(&code, word) {
                    faults.push(format!("{}: {word} outside a test", shown(&file)));
                }
            }
        }
    }
    none_of(faults);
}

#[test]
fn no_queue_is_unbounded() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let code = source::code(&read(&file));
        for word in ["unbounded_channel", "unbounded", "UnboundedSender"] {
            if source::has_word(&code, word) {
                faults.push(format!("{}: {word}", shown(&file)));
            }
        }
        // The standard library's channel has no bound either; its sync_channel has.
        if source::has_word(&code, "mpsc::channel()") {
            faults.push(format!("{}: mpsc::channel() without a bound", shown(&file)));
        }
    }
    none_of(faults);
}

#[test]
fn no_test_is_switched_off() {
    let files = rust_files().into_iter();
    let faults = files.filter(|f| source::code(&read(f)).contains("#[ignore"));
    none_of(faults.map(|f| format!("{}: #[ignore]", shown(&f))).collect());
}

/// Names of all tests in the workspace, with property tests and those of the browser.
fn tests_there_are() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in rust_files() {
        let code = source::code(&read(&file));
        let mut announced = false;
        for line in code.lines().map(str::trim) {
            if line.starts_with("#[") {
                announced |= line.contains("test]") || line.contains("test(");
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| announced) {
                names.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
                announced = false;
            } else if !line.is_empty() {
                announced = false;
            }
        }
    }
    for file in source::files(&root().join("tests/browser"), &[".py"]) {
        let text = read(&file);
        let tests = text.lines().filter_map(|line| line.trim().strip_prefix("def test_")?.split('(').next());
        names.extend(tests.map(|name| format!("test_{name}")));
    }
    names
}

/// Words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Rows of all tables of a page whose last column is headed `Test`: (line, cells).
fn rows_with_tests(page: &str) -> Vec<(usize, Vec<&str>)> {
    let mut rows = Vec::new();
    let (mut in_table, mut wanted) = (false, false);
    for (at, line) in page.lines().enumerate() {
        if !line.starts_with('|') {
            in_table = false;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !in_table {
            wanted = cells.last().is_some_and(|c| *c == "Test");
            in_table = true;
        } else if wanted && !line.starts_with("| -") && !line.starts_with("|-") {
            rows.push((at + 1, cells));
        }
    }
    rows
}

#[test]
fn every_promise_in_the_documents_names_a_test_that_exists() {
    let there = tests_there_are();
    assert!(there.contains("no_test_is_switched_off"), "the search for tests finds this file's");
    let mut faults = Vec::new();
    for page in ["docs/seeds.md", "docs/guarantees.md"] {
        let text = read(&root().join(page));
        let rows = rows_with_tests(&text);
        assert!(!rows.is_empty(), "{page} has no table whose last column is headed Test");
        for (line, cells) in rows {
            let last = cells.last().copied().unwrap_or_default();
            if quoted(last).next().is_none() {
                faults.push(format!("{page}:{line} names no test"));
            }
            for name in quoted(last).filter(|name| !there.contains(*name)) {
                faults.push(format!("{page}:{line} names {name}, which is no test"));
            }
        }
    }
    none_of(faults);
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut faults = Vec::new();
    for file in source::files(&root(), &[".md"]) {
        let text = read(&file);
        let folder = file.parent().expect("a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains("://") && !folder.join(link).exists() {
                faults.push(format!("{}: link to {link}", shown(&file)));
            }
        }
        let paths = quoted(&text).filter(|q| q.contains('/') && q.ends_with(".rs"));
        for path in paths.filter(|path| !path.contains(['*', ' ', '<']) && !root().join(path).exists()) {
            faults.push(format!("{}: names the file {path}", shown(&file)));
        }
    }
    none_of(faults);
}

#[test]
fn every_invariant_has_its_one_name_in_the_code_and_in_the_guarantees() {
    let guarantees = read(&root().join("docs/guarantees.md"));
    let code: String = ["cast", "master", "simulator", "node", "consensus"]
        .iter()
        .flat_map(|room| source::files(&root().join(room), &[".rs"]))
        .map(|file| read(&file))
        .collect();
    let section = guarantees.split("## Invariants").nth(1).expect("a section Invariants");
    let section = section.split("\n## ").next().unwrap_or_default();
    let names: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| quoted(line).next())
        .collect();
    assert!(names.len() >= 10, "found only {names:?}");
    let absent = names.iter().filter(|name| !code.contains(**name));
    none_of(absent.map(|name| format!("{name} is promised, but no code names it")).collect());
}

#[test]
fn the_readme_asks_for_the_compiler_the_workspace_asks_for() {
    let manifest = read(&root().join("Cargo.toml"));
    let version = manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next());
    let version = version.expect("the workspace names its compiler");
    assert!(read(&root().join("README.md")).contains(&format!("Rust {version} or newer")), "{version}");
}

#[test]
fn the_changelog_has_a_place_for_what_is_next() {
    let text = read(&root().join("CHANGELOG.md"));
    let first = text.lines().find(|line| line.starts_with("## "));
    assert_eq!(first, Some("## Unreleased"));
}

#[test]
fn nothing_speaks_of_the_place_where_it_was_made() {
    // Pieced together, so that this file does not find itself.
    let words = [
        concat!("/work/", "main"),
        concat!("/work/", "shared"),
        concat!("../", "shared"),
        concat!("../", ".library"),
        concat!("before", "-stop"),
        concat!("developers", ".md"),
        concat!("CONTRACT", ".md"),
        concat!("WIRES", ".md"),
        concat!("DESIGN", ".md"),
        concat!("RELIABILITY", ".md"),
        concat!("DEPENDENCIES", ".md"),
        concat!("REQUIREMENTS", ".md"),
    ];
    let endings = [".rs", ".md", ".toml", ".sh", ".py", ".html", ".js", ".css", ".yml", ".ci/run"];
    let mut files = source::files(&root(), &endings);
    files.extend(source::files(&root().join("scripts"), &[""]));
    files.extend(source::files(&root().join(".ci"), &[""]));
    let mut faults = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        for word in words.iter().filter(|word| text.contains(**word)) {
            faults.insert(format!("{}: {word}", shown(&file)));
        }
    }
    none_of(faults.into_iter().collect());
}
