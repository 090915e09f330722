//! Real processes. The test executable answers to `keeper` as the program does, and to `node-of-test` with a node
//! that only runs attempts, so that it can be killed.

mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::limits::{OUTPUT_BYTES, OUTPUT_HEAD_BYTES, STDERR_TAIL_BYTES};
use protocol::{AttemptRef, Dispatch, End, IfUnsatisfiable, JobId, JobSpec, More, Outcome, Reason};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::processes::{PROC, stat, tree};
use super::{ClassCommand, Outputs, Runner, RunnerSettings};

/// Long enough for a busy machine: an event that has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(30);
const NODE_OF_TEST: &str = "node-of-test";

/// Runs before the tests' `main`: takes the process over when it was started as keeper or node.
#[used]
#[expect(unsafe_code, reason = "the test executable has no main of its own to answer to its arguments")]
// SAFETY: the section holds functions that the C library calls once, on the main thread, before `main`.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|word| word.to_str()) {
        Some("keeper") => {
            let code = crate::keeper::main(args.into_iter().skip(1));
            std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
        }
        Some(NODE_OF_TEST) => node_of_test(&args[1..]),
        _ => {}
    }
}

/// A node that runs the script it is given (five times, one after another, when told so) and then waits to be killed.
fn node_of_test(args: &[OsString]) -> ! {
    let body = Body::new(Path::new(&args[0]));
    let script = args[1].to_str().unwrap();
    if args.len() > 2 {
        for number in 0..5 {
            body.runs(number, sh(script));
        }
        let children = tree(Path::new(PROC), nix::unistd::getpid().as_raw(), 100).len() - 1;
        std::process::exit(i32::try_from(children).unwrap());
    }
    body.runner.run(&dispatch(1, sh(script)));
    loop {
        std::thread::park();
    }
}

/// A runner with its surroundings.
struct Body {
    runner: Runner,
    outputs: Outputs,
    ended: Receiver<(AttemptRef, Outcome)>,
    runtime: Runtime,
    scratch: PathBuf,
}

impl Body {
    fn new(scratch: &Path) -> Self {
        Self::with_classes(scratch, BTreeMap::new())
    }

    fn with_classes(scratch: &Path, classes: BTreeMap<String, ClassCommand>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (outputs, (say, ended)) = (Outputs::default(), channel());
        let say = move |attempt, outcome| say.send((attempt, outcome)).unwrap();
        let runner =
            Runner::start(runtime.handle().clone(), settings(scratch, classes), outputs.clone(), say)
                .unwrap();
        Self { runner, outputs, ended, runtime, scratch: scratch.to_path_buf() }
    }

    /// Runs a job to its end, and sees that nothing of it is left on disk.
    fn runs(&self, job: u128, spec: JobSpec) -> Outcome {
        let dispatch = dispatch(job, spec);
        self.runner.run(&dispatch);
        let outcome = self.end_of(dispatch.attempt);
        self.nothing_left();
        outcome
    }

    fn end_of(&self, attempt: AttemptRef) -> Outcome {
        let (ended, outcome) = self.ended.recv_timeout(PATIENCE).unwrap();
        assert_eq!(ended, attempt);
        outcome
    }

    fn nothing_left(&self) {
        for folder in ["attempts", "groups"] {
            assert_eq!(fs::read_dir(self.scratch.join(folder)).unwrap().count(), 0, "{folder}");
        }
    }

    /// Waits until the attempt has printed whole lines that hold `lines` numbers, and gives them.
    fn printed_pids(&self, attempt: AttemptRef, lines: usize) -> Vec<i32> {
        eventually(|| {
            let (stdout, _) = self.outputs.read(attempt)?;
            let text = String::from_utf8(stdout.to_vec()).unwrap();
            let whole = &text[..=text.rfind('\n')?];
            let pids: Vec<i32> = whole.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
            (pids.len() >= lines).then_some(pids)
        })
    }
}

fn settings(scratch: &Path, classes: BTreeMap<String, ClassCommand>) -> RunnerSettings {
    let allow = BTreeSet::from(["sh".to_owned(), "python".to_owned()]);
    RunnerSettings {
        allow,
        classes,
        scratch: scratch.to_path_buf(),
        keeper: std::env::current_exe().unwrap(),
    }
}

fn job(class: &str, payload: &str) -> JobSpec {
    JobSpec {
        class: class.to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        args: Vec::new(),
        env: BTreeMap::new(),
        stdin: None,
        requires: BTreeMap::new(),
        cpu_milli: 0,
        memory_bytes: 0,
        priority: 5,
        submitter: String::new(),
        timeout_ms: None,
        max_attempts: 1,
        max_lost: 10,
        retry_base_ms: 0,
        retry_max_ms: 0,
        labels: BTreeMap::new(),
        if_unsatisfiable: IfUnsatisfiable::Wait,
        more: More::default(),
    }
}

fn sh(script: &str) -> JobSpec {
    job("sh", script)
}

fn dispatch(job: u128, spec: JobSpec) -> Dispatch {
    Dispatch { attempt: AttemptRef { job: JobId(job), attempt: 1 }, term: 1, spec: Arc::new(spec) }
}

fn attempt(job: u128) -> AttemptRef {
    AttemptRef { job: JobId(job), attempt: 1 }
}

/// The one keeper noted in a scratch folder.
fn the_keeper(scratch: &Path) -> i32 {
    let mut notes = fs::read_dir(scratch.join("groups")).unwrap();
    notes.next().unwrap().unwrap().file_name().to_str().unwrap().parse().unwrap()
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn runs(pid: i32) -> bool {
    stat(Path::new(PROC), pid).is_some_and(|stat| !stat.zombie)
}

fn gone(pids: &[i32]) {
    eventually(|| (!pids.iter().any(|pid| runs(*pid))).then_some(()));
}

#[test]
fn built_in_classes_do_what_the_contract_says() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let at_once = |class: &str| {
        let spec = Arc::new(job(class, "hello"));
        let attempt = AttemptRef { job: JobId(9), attempt: 1 };
        Runner::at_once(&Dispatch { attempt, term: 1, spec }).map(|outcome| outcome.output)
    };
    assert_eq!((at_once("echo").as_deref(), at_once("sleep")), (Some(&b"hello"[..]), None));
    let echo = body.runs(1, job("echo", "hello"));
    assert_eq!((echo.end, &echo.output[..], echo.output_bytes), (End::Success, &b"hello"[..], 5));
    let hash = body.runs(2, job("hash", "abc"));
    assert_eq!(&hash.output[..], b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let long = body.runs(3, job("hash", &"a".repeat(1_000_000)));
    assert_eq!(&long.output[..], b"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    let start = Instant::now();
    let sleep = body.runs(4, job("sleep", "0.2"));
    assert_eq!((sleep.end, &sleep.output[..]), (End::Success, &b"0.2"[..]));
    assert!(start.elapsed() >= Duration::from_millis(200));
    for class in ["sleep", "burn"] {
        let bad = body.runs(5, job(class, "soon"));
        assert_eq!(bad.end, End::Failure(Reason::Exit));
        assert!(bad.error.unwrap().contains("soon"));
    }
    assert_eq!(body.runs(6, job("nonesuch", "")).end, End::Failure(Reason::Exit));
}

#[test]
fn burn_spends_the_processor_time_it_names_and_can_be_ended() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let before = stat(Path::new(PROC), nix::unistd::getpid().as_raw()).unwrap().own_ticks;
    assert_eq!(body.runs(1, job("burn", "300ms")).end, End::Success);
    let after = stat(Path::new(PROC), nix::unistd::getpid().as_raw()).unwrap().own_ticks;
    assert!(after - before >= 28, "only {} ticks of 10 ms", after - before);
    body.runner.run(&dispatch(2, job("burn", "1h")));
    body.runner.kill(attempt(2));
    let killed = body.end_of(attempt(2));
    assert_eq!((killed.end, killed.error.as_deref()), (End::Failure(Reason::Signal), Some("cancelled")));
    let late = body.runs(3, JobSpec { timeout_ms: Some(20), ..job("burn", "1h") });
    assert_eq!(late.end, End::Failure(Reason::Timeout));
    let late = body.runs(4, JobSpec { timeout_ms: Some(20), ..job("sleep", "1h") });
    assert_eq!(late.end, End::Failure(Reason::Timeout));
}

#[test]
fn a_script_gets_its_arguments_and_input_and_gives_its_output_and_code() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let stdin = Some(Bytes::from_static(b"from stdin"));
    let args = vec!["a b".to_owned(), "c".to_owned()];
    let spec = JobSpec { args, stdin, ..sh("echo \"$1|$2\"; cat; echo oops >&2; exit 3") };
    let outcome = body.runs(1, spec);
    assert_eq!(outcome.end, End::Failure(Reason::Exit));
    assert_eq!((outcome.exit_code, outcome.signal), (Some(3), None));
    assert_eq!(&outcome.output[..], b"a b|c\nfrom stdin");
    assert_eq!(&outcome.stderr[..], b"oops\n");
    assert!(outcome.memory_peak_bytes.unwrap() > 0);
    let good = body.runs(2, sh("exit 0"));
    assert_eq!((good.end, good.exit_code, good.error), (End::Success, Some(0), None));
    let python = JobSpec {
        args: vec!["x".to_owned()],
        stdin: Some(Bytes::from_static(b"42")),
        ..job("python", "import sys\nprint(sys.argv[1:], sys.stdin.read())")
    };
    assert_eq!(&body.runs(3, python).output[..], b"['x'] 42\n");
    let signal = body.runs(4, sh("kill -USR1 $$"));
    assert_eq!((signal.end, signal.signal), (End::Failure(Reason::Signal), Some(10)));
    assert_eq!((signal.exit_code, signal.error.as_deref()), (None, Some("ended by signal 10 (SIGUSR1)")));
    let busy = body.runs(5, sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"));
    assert!(busy.cpu_ms.unwrap() > 10, "{busy:?}");
}

#[test]
fn a_configured_command_gets_the_payload_and_one_that_cannot_start_is_named() {
    let folder = TempDir::new().unwrap();
    let command = |words: &[&str]| ClassCommand {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::from([("WHO".to_owned(), "operator".to_owned())]),
        timeout_ms: Some(60_000),
        memory_bytes: None,
    };
    let classes = BTreeMap::from([
        ("count".to_owned(), command(&["wc", "-c"])),
        ("who".to_owned(), command(&["sh", "-c", "printf %s $WHO"])),
        ("deaf".to_owned(), command(&["true"])),
        ("missing".to_owned(), command(&["/no/such/program"])),
        ("slow".to_owned(), ClassCommand { timeout_ms: Some(50), ..command(&["sleep", "1000"]) }),
    ]);
    let body = Body::with_classes(folder.path(), classes.clone());
    assert_eq!(&body.runs(1, job("count", &"x".repeat(1 << 20))).output[..], b"1048576\n");
    let env = BTreeMap::from([("WHO".to_owned(), "job".to_owned())]);
    assert_eq!(&body.runs(2, JobSpec { env, ..job("who", "") }).output[..], b"operator");
    assert_eq!(body.runs(3, job("deaf", &"x".repeat(1 << 20))).end, End::Success);
    let missing = body.runs(4, job("missing", ""));
    assert_eq!((missing.end, missing.exit_code), (End::Failure(Reason::Exit), None));
    assert!(missing.error.unwrap().contains("/no/such/program"));
    assert_eq!(body.runs(5, job("slow", "")).end, End::Failure(Reason::Timeout));
    let served = Runner::classes(&settings(folder.path(), classes));
    assert!(["echo", "sleep", "burn", "hash", "sh", "count"].iter().all(|class| served.contains(*class)));
}

#[test]
fn a_program_sees_nothing_of_the_node() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    // A descriptor without close-on-exec, as a careless parent leaves them.
    let leaked = nix::unistd::dup(fs::File::open("/dev/null").unwrap()).unwrap();
    let env = BTreeMap::from([
        ("MINE".to_owned(), "yes".to_owned()),
        ("UNDERSTUDY_JOB".to_owned(), "forged".to_owned()),
    ]);
    let script = "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo $MINE $UNDERSTUDY_JOB $UNDERSTUDY_ATTEMPT; \
        [ \"$HOME\" = \"$UNDERSTUDY_DIR\" ] && [ \"$(pwd)\" = \"$HOME\" ] && echo home; \
        ls /proc/self/fd | tr '\\n' ' '; echo; cat /proc/self/oom_score_adj; nice; ulimit -c";
    let outcome = body.runs(7, JobSpec { env, memory_bytes: 512 << 20, ..sh(script) });
    drop(leaked);
    let text = String::from_utf8(outcome.output.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let names: Vec<&str> =
        lines[0].split(' ').filter(|name| !["", "OLDPWD", "PWD", "_", "SHLVL"].contains(name)).collect();
    let expected = ["HOME", "LANG", "MINE", "PATH", "UNDERSTUDY_ATTEMPT", "UNDERSTUDY_DIR", "UNDERSTUDY_JOB"];
    assert_eq!(names, expected);
    assert_eq!(lines[1], format!("yes {} 1", JobId(7)));
    assert_eq!(lines[2], "home");
    // The fourth descriptor is the listing itself.
    assert_eq!(lines[3].trim(), "0 1 2 3");
    assert_eq!(&lines[4..], ["1000", "10", "0"]);
}

#[test]
fn a_huge_output_is_counted_and_its_ends_are_kept() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let script =
        "echo first; head -c 10485760 /dev/zero; echo last; head -c 100000 /dev/zero >&2; printf end >&2";
    let outcome = body.runs(1, sh(script));
    assert_eq!(outcome.end, End::Success);
    assert_eq!((outcome.output.len(), outcome.output_bytes), (OUTPUT_BYTES, 10_485_760 + 6 + 5));
    assert!(outcome.truncated);
    assert!(outcome.output.starts_with(b"first\n\0") && outcome.output.ends_with(b"\0last\n"));
    assert_eq!(outcome.output[OUTPUT_HEAD_BYTES], 0);
    assert_eq!(outcome.stderr.len(), STDERR_TAIL_BYTES);
    assert!(outcome.stderr.ends_with(b"\0end"));
}

#[test]
fn output_can_be_read_while_it_runs_and_no_longer() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    body.runner.run(&dispatch(1, sh("echo $$; exec sleep 1000")));
    let pids = body.printed_pids(attempt(1), 1);
    body.runner.run(&dispatch(1, sh("echo never: it runs already")));
    body.runner.kill(attempt(1));
    let outcome = body.end_of(attempt(1));
    assert_eq!((outcome.end, outcome.error.as_deref()), (End::Failure(Reason::Signal), Some("cancelled")));
    assert_eq!(outcome.signal, Some(Signal::SIGTERM as i32));
    assert!(body.outputs.read(attempt(1)).is_none());
    assert!(!runs(pids[0]));
    assert_eq!(body.ended.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
}

/// Prints the numbers of itself, of a child that ignores TERM and has an empty environment, and of a grandchild below
/// a daemon in a session of its own.
const FAMILY: &str = "trap '' TERM; env -i sleep 1000 & one=$!; \
    setsid sh -c 'sleep 1000 & echo $!; exec sleep 1000' & \
    echo $$ $one; wait";

#[test]
fn a_timeout_takes_grandchildren_and_daemons_along() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let start = Instant::now();
    body.runner.run(&dispatch(1, JobSpec { timeout_ms: Some(500), ..sh(FAMILY) }));
    let pids = body.printed_pids(attempt(1), 3);
    let outcome = body.end_of(attempt(1));
    assert_eq!((outcome.end, outcome.signal), (End::Failure(Reason::Timeout), Some(Signal::SIGKILL as i32)));
    assert!(start.elapsed() >= Duration::from_millis(2_500), "the grace was cut short");
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
}

#[test]
fn a_program_that_ends_leaves_no_daemon_behind() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let outcome = body.runs(1, sh("setsid sleep 1000 >/dev/null 2>&1 & echo $!; (sleep 1000 & echo $!)"));
    assert_eq!(outcome.end, End::Success);
    let text = String::from_utf8(outcome.output.to_vec()).unwrap();
    let pids: Vec<i32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
}

#[test]
fn a_program_that_leaves_on_term_is_timed_out_all_the_same() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let script = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done";
    let outcome = body.runs(1, JobSpec { timeout_ms: Some(300), ..sh(script) });
    assert_eq!((outcome.end, outcome.exit_code), (End::Failure(Reason::Timeout), Some(0)));
    assert_eq!(&outcome.output[..], b"bye\n");
}

#[test]
fn a_killed_keeper_is_a_failure_and_its_family_goes_too() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    body.runner.run(&dispatch(1, sh(FAMILY)));
    let pids = body.printed_pids(attempt(1), 3);
    let keeper = the_keeper(folder.path());
    kill(Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
    let outcome = body.end_of(attempt(1));
    assert_eq!(outcome.end, End::Failure(Reason::Signal));
    assert!(outcome.error.unwrap().contains("keeper"));
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    body.nothing_left();
}

#[test]
fn a_stop_kills_everything_at_once_and_says_nothing_more() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    body.runner.run(&dispatch(1, sh(FAMILY)));
    body.runner.run(&dispatch(2, job("burn", "1h")));
    body.runner.run(&dispatch(3, job("sleep", "1h")));
    let pids = body.printed_pids(attempt(1), 3);
    let start = Instant::now();
    body.runner.kill_all();
    assert!(start.elapsed() < Duration::from_secs(5), "it waited for something that was not gone");
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    assert_eq!(body.ended.try_iter().count(), 0);
    drop(body.runtime);
}

#[test]
fn a_dropped_runner_kills_without_waiting() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    body.runner.run(&dispatch(1, sh(FAMILY)));
    let pids = body.printed_pids(attempt(1), 3);
    drop(body.runner);
    gone(&pids);
}

/// A node in a process of its own.
fn node(scratch: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(NODE_OF_TEST).arg(scratch).args(more).stdin(Stdio::null()).spawn().unwrap()
}

/// The same without a daemon, and with nothing in its environment that tells whose it is.
const NAMELESS_FAMILY: &str =
    "exec env -i \"PATH=$PATH\" sh -c 'sleep 1000 & one=$!; sleep 1000 & echo $$ $one $!; wait'";

/// Runs a family of three in a node of its own; the node, the family, the keeper.
fn family_of_node(folder: &TempDir, family: &str) -> (Child, Vec<i32>, i32) {
    let told = folder.path().join("pids");
    let script = format!("exec >{}; {family}", told.display());
    let node = node(&folder.path().join("scratch"), &[&script]);
    let pids: Vec<i32> = eventually(|| {
        let text = fs::read_to_string(&told).ok()?;
        let pids: Vec<i32> =
            text[..=text.rfind('\n')?].split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        (pids.len() == 3).then_some(pids)
    });
    let keeper = the_keeper(&folder.path().join("scratch"));
    (node, pids, keeper)
}

#[test]
fn killing_the_node_kills_its_jobs_to_the_last_grandchild() {
    let folder = TempDir::new().unwrap();
    let (mut node, pids, keeper) = family_of_node(&folder, FAMILY);
    node.kill().unwrap();
    assert_eq!(node.wait().unwrap().signal(), Some(9));
    gone(&pids);
    gone(&[keeper]);
}

#[test]
fn the_next_start_kills_what_node_and_keeper_left_together() {
    for family in [FAMILY, NAMELESS_FAMILY] {
        let folder = TempDir::new().unwrap();
        let (mut node, pids, keeper) = family_of_node(&folder, family);
        // Stopped, the keeper cannot do its duty before it is killed too.
        kill(Pid::from_raw(keeper), Signal::SIGSTOP).unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
        kill(Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
        gone(&[keeper]);
        assert!(pids.iter().all(|pid| runs(*pid)), "nothing was left to kill");
        let body = Body::new(&folder.path().join("scratch"));
        assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
        body.nothing_left();
    }
}

#[test]
fn attempts_leave_no_zombie_in_the_node() {
    let folder = TempDir::new().unwrap();
    let script = "(sleep 1000 & sleep 1000 &) ; true";
    let status = node(&folder.path().join("scratch"), &[script, "five times"]).wait().unwrap();
    assert_eq!(status.code(), Some(0), "children left");
}
