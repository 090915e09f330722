//! The programs of `examples/lab` and the helpers of `tests/lab` as processes, and what they write down.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::source::root;
use crate::wait::{PATIENCE, eventually};

/// A Python that has ZeroMQ: `$UNDERSTUDY_LAB_PYTHON`, else the one `scripts/lab-python` makes.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        if let Some(given) = std::env::var_os("UNDERSTUDY_LAB_PYTHON") {
            return PathBuf::from(given);
        }
        let me = std::env::current_exe().expect("a test knows its own file");
        let target = me.ancestors().nth(3).expect("TARGET/PROFILE/deps/test");
        let told = Command::new(root().join("scripts/lab-python"))
            .env("CARGO_TARGET_DIR", target)
            .stderr(Stdio::inherit())
            .output()
            .expect("scripts/lab-python runs");
        assert!(told.status.success(), "scripts/lab-python: {}", told.status);
        PathBuf::from(String::from_utf8_lossy(&told.stdout).trim())
    })
}

/// A folder for what the programs of one test write.
#[derive(Debug)]
pub struct Lab {
    folder: TempDir,
    started: AtomicUsize,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("understudy-lab-").expect("a temporary folder");
        Self { folder, started: AtomicUsize::new(0) }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a program of `examples/lab`.
    pub fn example(&self, name: &str, words: &[&str]) -> Program {
        self.start(&root().join("examples/lab").join(name), words)
    }

    /// Starts a program of `tests/lab`.
    pub fn helper(&self, name: &str, words: &[&str]) -> Program {
        self.start(&root().join("tests/lab").join(name), words)
    }

    /// A worker that answers with what it was sent and notes in the journal what it does.
    pub fn worker(&self, url: &str, class: &str, identity: &str, work_ms: u64) -> Program {
        let (journal, work) = (self.journal_path(), work_ms.to_string());
        let words = [url, class, "--identity", identity, "--work-ms", &work, "--reply", "{}"];
        self.example("worker.py", &[&words[..], &["--journal", &journal]].concat())
    }

    /// A client whose requests are `IDENTITY-1`, `IDENTITY-2` and so on, and which notes in the journal what it does.
    pub fn client(&self, url: &str, class: &str, identity: &str, requests: usize) -> Program {
        let (journal, count, message) =
            (self.journal_path(), requests.to_string(), format!("{identity}-{{}}"));
        let words = [url, class, "--identity", identity, "--requests", &count, "--message", &message];
        self.example("client.py", &[&words[..], &["--journal", &journal]].concat())
    }

    fn journal_path(&self) -> String {
        self.folder().join("journal").to_string_lossy().into_owned()
    }

    /// What workers and clients noted so far, in order of time.
    #[must_use]
    pub fn journal(&self) -> Vec<Note> {
        let text = fs::read_to_string(self.journal_path()).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut notes: Vec<Note> = whole.lines().map(Note::read).collect();
        notes.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        notes
    }

    /// How often a worker began the job with this text.
    #[must_use]
    pub fn executions(&self, text: &str) -> usize {
        self.journal().iter().filter(|note| note.what == "began" && note.text == text).count()
    }

    /// Waits until somebody noted this: what, who, and the text.
    pub async fn noted(&self, what: &str, who: &str, text: &str) {
        let found = |note: &Note| note.what == what && note.who == who && note.text == text;
        let ask = async || self.journal().iter().any(found).then_some(());
        eventually(&format!("{who} {what} {text}"), ask).await;
    }

    fn start(&self, script: &Path, words: &[&str]) -> Program {
        let name = script.file_stem().expect("a script's name").to_string_lossy().into_owned();
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let file = |ending: &str| self.folder().join(format!("{name}-{number}.{ending}"));
        let (out, err) = (file("out"), file("err"));
        // However this test ends, what it started ends with it. It becomes the program: same process number.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(python())
            .arg(script)
            .args(words)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file for its output"))
            .stderr(File::create(&err).expect("a file for its errors"))
            .spawn()
            .expect("setpriv of util-linux runs");
        Program { name: format!("{name} {}", words.join(" ")), child, out, err }
    }
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Seconds of the machine's steady clock, the same for all processes.
    pub at_s: f64,
    /// `registered`, `began`, `ended` of workers; `asked`, `answered` of clients.
    pub what: String,
    /// The identity of who wrote it.
    pub who: String,
    /// The request it is about; empty for none.
    pub text: String,
}

impl Note {
    fn read(line: &str) -> Self {
        let mut words = line.splitn(4, ' ').map(ToString::to_string);
        let mut next = || words.next().unwrap_or_default();
        let at_s = next().parse().unwrap_or_else(|_| panic!("no journal line: {line}"));
        Self { at_s, what: next(), who: next(), text: next() }
    }
}

/// How a program ended and what it had said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output, line by line.
    pub lines: Vec<String>,
    /// Its standard error.
    pub err: String,
}

/// One of them. Dropped: killed and reaped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Program {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether its process runs (a paused one does).
    #[must_use]
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// What it has printed so far, in whole lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(ToString::to_string).collect()
    }

    /// Waits until it has printed a line that begins like this; the rest of that line.
    pub async fn says(&mut self, start: &str) -> String {
        let what = format!("{} says {start}", self.name);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Asked before its output is read: whatever it said before it ended is seen.
            let runs = self.runs();
            if let Some(rest) = self.lines().iter().find_map(|line| line.strip_prefix(start)) {
                return rest.to_string();
            }
            assert!(runs, "{what}: it has ended; {}", self.told());
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}; {}", self.told());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has ended by itself.
    pub async fn ends(&mut self) -> Said {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                let err = String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned();
                return Said { code: status.code(), lines: self.lines(), err };
            }
            assert!(
                Instant::now() < deadline,
                "{} still runs after {PATIENCE:?}; {}",
                self.name,
                self.told()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has ended with exit code 0; what it printed.
    pub async fn succeeds(&mut self) -> Vec<String> {
        let said = self.ends().await;
        assert_eq!(said.code, Some(0), "{}: {:?} {}", self.name, said.lines, said.err);
        said.lines
    }

    fn told(&self) -> String {
        let err = String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned();
        format!("it printed {:?} and complained: {err}", self.lines())
    }

    /// `kill -STOP`: it stands still and its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// `kill -CONT`.
    pub fn unpause(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process number"));
        kill(pid, signal).expect("one may signal a child");
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
