//! What ends a program that does not end by itself.

use super::*;

fn quiet(quiet_limit_ms: u64, script: &str) -> JobSpec {
    JobSpec { more: More { quiet_limit_ms: Some(quiet_limit_ms), ..More::default() }, ..sh(script) }
}

#[test]
fn a_program_that_prints_nothing_for_its_quiet_limit_is_ended_with_its_family() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    body.runner.run(&dispatch(1, quiet(1_000, FAMILY)));
    let pids = body.printed_pids(attempt(1), 3);
    let outcome = body.end_of(attempt(1));
    assert_eq!((outcome.end, outcome.signal), (End::Failure(Reason::Quiet), Some(Signal::SIGKILL as i32)));
    assert_eq!(outcome.error.as_deref(), Some("printed nothing for longer than its quiet_limit of 1000 ms"));
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    body.nothing_left();
}

#[test]
fn a_program_that_prints_on_either_stream_is_not_quiet() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    // Three times as long as its limit, with a word in good time on one of the two.
    let script = "for _ in 1 2 3 4 5; do sleep 0.6; printf o; sleep 0.6; printf e >&2; done";
    let outcome = body.runs(1, quiet(2_000, script));
    assert_eq!(
        (outcome.end, &outcome.output[..], &outcome.stderr[..]),
        (End::Success, &b"ooooo"[..], &b"eeeee"[..])
    );
    // A built-in class prints nothing, and is not measured by it.
    let spec = JobSpec { class: "sleep".to_owned(), ..quiet(50, "0.3") };
    assert_eq!(body.runs(2, spec).end, End::Success);
}

#[test]
fn a_family_that_ignores_term_is_gone_within_5_seconds_after_a_cancel() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    body.runner.run(&dispatch(1, sh(FAMILY)));
    let pids = body.printed_pids(attempt(1), 3);
    let told = Instant::now();
    body.runner.kill(attempt(1));
    let outcome = body.end_of(attempt(1));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert_eq!((outcome.error.as_deref(), outcome.signal), (Some("cancelled"), Some(Signal::SIGKILL as i32)));
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    body.nothing_left();
}

/// Takes 1 GiB, page by page, and would print when it has it.
const GIBIBYTE: &str =
    "held = bytearray(1 << 30)\nfor at in range(0, len(held), 4096): held[at] = 1\nprint('has it')";

fn limited(limit_bytes: u64, spec: JobSpec) -> JobSpec {
    JobSpec { memory_bytes: limit_bytes, ..spec }
}

fn killed_for(limit_bytes: u64) -> (End, Option<String>) {
    let text = format!("killed: it took more than its memory limit of {limit_bytes} bytes");
    (End::Failure(Reason::Memory), Some(text))
}

#[test]
fn a_program_that_takes_a_gibibyte_under_a_limit_of_256_mib_fails_for_memory() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let limit = 256 << 20;
    let outcome = body.runs(1, limited(limit, job("python", GIBIBYTE)));
    assert_eq!((outcome.end, outcome.error), killed_for(limit));
    assert_eq!((&outcome.output[..], outcome.signal), (&b""[..], Some(Signal::SIGKILL as i32)));
    assert!(outcome.memory_peak_bytes.unwrap() > limit / 2);
    // A child of it counts as well, also when the program only waits.
    let spec = job("sh", "python3 -c \"$1\"; echo never");
    let outcome = body.runs(2, limited(limit, JobSpec { args: vec![GIBIBYTE.to_owned()], ..spec }));
    assert_eq!((outcome.end, outcome.error), killed_for(limit));
}

#[test]
fn what_a_program_only_reserves_or_shares_is_not_held_against_it() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let reserves = "import mmap\nheld = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nprint('has it')";
    let outcome = body.runs(1, limited(256 << 20, job("python", reserves)));
    assert_eq!((outcome.end, &outcome.output[..]), (End::Success, &b"has it\n"[..]), "{:?}", outcome.error);
    // Four processes with the same 100 MiB, for as long as several measurings take.
    let shares = "import os, time\nheld = b'x' * (100 << 20)\nfor _ in range(3): os.fork() or (time.sleep(0.6), os._exit(0))\n\
        [os.wait() for _ in range(3)]\nprint('shared')";
    let outcome = body.runs(2, limited(256 << 20, job("python", shares)));
    assert_eq!((outcome.end, &outcome.output[..]), (End::Success, &b"shared\n"[..]), "{:?}", outcome.error);
}

#[test]
fn progress_is_told_while_a_program_runs_and_is_no_output() {
    let folder = TempDir::new().unwrap();
    let body = Body::new(folder.path());
    let script = "echo one; echo ::progress 0.25 a quarter; echo two; printf '::prog'; exec sleep 1000";
    body.runner.run(&dispatch(1, sh(script)));
    let told = eventually(|| body.outputs.progress().pop());
    assert_eq!((told.attempt, told.permille, told.text.as_str()), (attempt(1), 250, "a quarter"));
    eventually(|| (body.outputs.read(attempt(1))?.0 == "one\ntwo\n").then_some(()));
    body.runner.kill(attempt(1));
    let outcome = body.end_of(attempt(1));
    assert_eq!((&outcome.output[..], outcome.output_bytes), (&b"one\ntwo\n::prog"[..], 14));
    assert_eq!(body.outputs.progress(), []);
    let outcome = body.runs(2, sh("echo ::progress 1 >&2; echo oops >&2"));
    assert_eq!(&outcome.stderr[..], b"oops\n");
}
