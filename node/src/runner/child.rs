//! One attempt that is a program: its keeper, its pipes, its end.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::time::{TimeVal, TimeValLike};
use protocol::{AttemptRef, End, Outcome, Reason};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use super::builtin::{CANCELLED, quiet_text, timeout_text};
use super::files;
use super::leftovers::{self, Sessions};
use super::live::{Live, Wish};
use super::order::{self, ForMemory, Order, Report, WORD_TERM, WORK};
use super::outputs::Capture;
use crate::keeper::{GRACE, SWEEP_PATIENCE};

/// How long a new keeper may take to take its order.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);
/// What a keeper has, beyond its grace and its sweep, to report an attempt that must end.
const REPORT_PATIENCE: Duration = Duration::from_secs(2);
/// How long the pipes may stay open after everything is gone.
const PIPE_PATIENCE: Duration = Duration::from_secs(1);
/// A timer that is later than this speaks of the node, not of the program.
const LATE: Duration = Duration::from_millis(200);
/// What is read from a pipe at once.
const PIECE_BYTES: usize = 64 << 10;

/// A program to run, as its class says.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) order: Order,
    pub(super) limits: Limits,
    /// Files that belong to its result.
    pub(super) outputs: Vec<String>,
}

/// When a program is told to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest run.
    pub(super) timeout_ms: Option<u64>,
    /// Longest silence.
    pub(super) quiet_ms: Option<u64>,
}

/// Where attempts live on disk.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// This program.
    pub(super) keeper: PathBuf,
    /// One folder an attempt.
    pub(super) attempts: PathBuf,
    /// One note a living keeper.
    pub(super) groups: PathBuf,
    /// Where attempts may have cgroups, if anywhere.
    pub(super) fences: Option<PathBuf>,
}

/// Whole milliseconds of a kernel time.
pub(crate) fn milliseconds(time: TimeVal) -> u64 {
    u64::try_from(time.num_milliseconds()).unwrap_or(0)
}

/// Runs a program to its end: all its processes are gone, and its folder, when this returns.
pub(super) async fn run(
    places: &Places,
    attempt: AttemptRef,
    folder_name: String,
    mut plan: Plan,
    live: &Live,
    capture: Arc<Capture>,
) -> Outcome {
    let program = plan.order.program.clone();
    let (limits, outputs) = (plan.limits, std::mem::take(&mut plan.outputs));
    plan.order.fence = places.fences.clone().map(|jobs| (jobs, folder_name.clone()));
    let (places, folder) = (places.clone(), places.attempts.join(folder_name));
    let (held, to_clean) = (folder.clone(), folder.clone());
    let started = spawn_blocking(move || Kept::start(&places, attempt, held))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    let mut kept = match started {
        Ok(kept) => kept,
        Err(error) => {
            clean(to_clean, None).await;
            return Outcome::failure(Reason::Exit, format!("cannot start `{program}`: no keeper: {error}"));
        }
    };
    let pumps = [pump(kept.child.stdout.take(), Arc::clone(&capture), Capture::take_stdout)]
        .into_iter()
        .chain([pump(kept.child.stderr.take(), Arc::clone(&capture), Capture::take_stderr)]);
    let pumps: Vec<JoinHandle<()>> = pumps.collect();
    let seen = kept.watch(&plan, &capture, live).await;
    live.release();
    kept.bury(
        &folder,
        matches!(seen.report, Some(Report::NotStarted { .. } | Report::Ended { left: false, .. })),
    )
    .await;
    for mut pump in pumps {
        // Everything that could write is gone: what is in the pipe is all there is.
        if timeout(PIPE_PATIENCE, &mut pump).await.is_err() {
            pump.abort();
        }
    }
    capture.end();
    let outcome = with_files(outcome(seen, limits, &capture), folder.join(WORK), outputs).await;
    clean(folder, Some(kept.note)).await;
    outcome
}

/// A success with the files it was to leave; without one of them it is none.
async fn with_files(outcome: Outcome, folder: PathBuf, names: Vec<String>) -> Outcome {
    if outcome.end != End::Success || names.is_empty() {
        return outcome;
    }
    let collected = spawn_blocking(move || files::collect(&folder, &names)).await;
    match collected.unwrap_or_else(|error| Err(format!("its output files cannot be read: {error}"))) {
        Ok(files) => Outcome { files, ..outcome },
        Err(error) => Outcome { end: End::Failure(Reason::Exit), error: Some(error), ..outcome },
    }
}

/// Reads a pipe to its end.
fn pump<Pipe: AsyncRead + Unpin + Send + 'static>(
    pipe: Option<Pipe>,
    capture: Arc<Capture>,
    take: fn(&Capture, &[u8]),
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Some(mut pipe) = pipe else { return };
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read) = pipe.read(&mut piece).await {
            if read == 0 {
                return;
            }
            take(&capture, &piece[..read]);
        }
    })
}

/// Removes the attempt's folder and the note of its keeper. What cannot be removed, the next start tries again.
async fn clean(folder: PathBuf, note: Option<PathBuf>) {
    let cleaned = spawn_blocking(move || {
        if let Some(note) = note {
            fs::remove_file(note)?;
        }
        fs::remove_dir_all(folder)
    });
    match cleaned.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot remove an attempt's scratch folder"),
        Err(error) => tracing::warn!(%error, "cannot remove an attempt's scratch folder"),
    }
}

/// Why the attempt was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Timeout,
    Quiet,
    Cancel,
}

/// What the node saw of an attempt.
#[derive(Debug)]
struct Seen {
    report: Option<Report>,
    told: Option<Told>,
}

/// A living keeper.
struct Kept {
    child: Child,
    socket: Option<(UnixStream, StdStream)>,
    keeper: i32,
    start_ticks: u64,
    note: PathBuf,
}

impl Kept {
    /// Starts a keeper, which waits for its order, and notes it on disk. Blocks for some milliseconds.
    fn start(places: &Places, attempt: AttemptRef, folder: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder.join(WORK))?;
        let (ours, theirs) = StdStream::pair()?;
        let spare = ours.try_clone()?;
        ours.set_nonblocking(true)?;
        let mut child = Command::new(&places.keeper)
            .arg("keeper")
            .arg(format!("{}.{}", attempt.job, attempt.attempt))
            .env_clear()
            .current_dir(folder)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let keeper = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| io::Error::other("it has no pid"))?;
        match leftovers::note(&places.groups, keeper).and_then(|note| Ok((note, UnixStream::from_std(ours)?)))
        {
            Ok(((note, start_ticks), socket)) => {
                Ok(Self { child, socket: Some((socket, spare)), keeper, start_ticks, note })
            }
            Err(error) => {
                // Without a note it must not start anything. It has no order, so there is nothing below it.
                child.start_kill()?;
                Err(error)
            }
        }
    }

    /// Gives the order and waits for the report, ending the attempt when its time or the node's wish says so.
    async fn watch(&mut self, plan: &Plan, capture: &Capture, live: &Live) -> Seen {
        let mut seen = Seen { report: None, told: None };
        let Some((socket, spare)) = self.socket.take() else { return seen };
        live.hold(spare);
        let (mut read, mut write) = socket.into_split();
        let Ok(bytes) = order::frame(&plan.order) else { return seen };
        if !matches!(timeout(ORDER_PATIENCE, write.write_all(&bytes)).await, Ok(Ok(()))) {
            return seen;
        }
        drop(bytes);
        let report = receive(&mut read);
        tokio::pin!(report);
        let far = Instant::now() + Duration::from_millis(protocol::limits::DURATION_MS);
        let limit = plan.limits.timeout_ms.map_or(far, |ms| Instant::now() + Duration::from_millis(ms));
        let quiet = silence(plan.limits.quiet_ms, capture);
        tokio::pin!(quiet);
        let mut give_up = far;
        let mut stopping = false;
        loop {
            let told = tokio::select! {
                report = &mut report => {
                    seen.report = report.ok();
                    return seen;
                }
                () = sleep_until(limit), if plan.limits.timeout_ms.is_some() && seen.told.is_none() => Told::Timeout,
                () = &mut quiet, if seen.told.is_none() => Told::Quiet,
                () = live.wished(Wish::Cancel), if seen.told.is_none() => Told::Cancel,
                () = live.wished(Wish::Stop), if !stopping => {
                    // The keeper's end of file has been seen to by the wish itself.
                    stopping = true;
                    give_up = Instant::now() + SWEEP_PATIENCE;
                    continue;
                }
                () = sleep_until(give_up), if give_up < far => return seen,
            };
            seen.told = Some(told);
            give_up = give_up.min(Instant::now() + GRACE + SWEEP_PATIENCE + REPORT_PATIENCE);
            // A keeper that cannot be told has ended, and the end of its socket says so.
            let _ = write.write_all(&[WORD_TERM]).await;
        }
    }

    /// Waits for the keeper's end. Without its word that all is gone, sees to that from outside.
    async fn bury(&mut self, folder: &Path, all_gone: bool) {
        if !all_gone {
            // Before the keeper is buried: until then its number names its session and nothing else.
            let (sessions, folder) =
                (Sessions::from([(self.keeper, self.start_ticks)]), folder.to_path_buf());
            let killed =
                spawn_blocking(move || leftovers::kill_all(&sessions, &folder, SWEEP_PATIENCE)).await;
            if !matches!(killed, Ok(0)) {
                tracing::warn!(keeper = self.keeper, ?killed, "processes of an attempt could not be killed");
            }
        }
        if timeout(REPORT_PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = timeout(REPORT_PATIENCE, self.child.wait()).await;
        }
    }
}

/// Ends when the program has printed nothing for so long; never without a limit.
async fn silence(quiet_ms: Option<u64>, capture: &Capture) {
    let Some(limit) = quiet_ms.map(Duration::from_millis) else { return std::future::pending().await };
    let began = Instant::now();
    let mut wake = began + limit;
    loop {
        sleep_until(wake).await;
        let now = Instant::now();
        let heard = Instant::from_std(capture.heard()).max(began);
        wake = if now.saturating_duration_since(wake) > LATE {
            // This node stood still: it first reads what was printed meanwhile.
            now + LATE
        } else if now < heard + limit {
            heard + limit
        } else {
            return;
        };
    }
}

async fn receive(from: &mut OwnedReadHalf) -> io::Result<Report> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut body = vec![0; order::body_bytes(length)?];
    from.read_exact(&mut body).await?;
    order::parse(&body)
}

fn outcome(seen: Seen, limits: Limits, capture: &Capture) -> Outcome {
    let output = capture.output();
    let mut outcome = Outcome {
        output_bytes: output.output_bytes,
        truncated: output.truncated,
        stderr: capture.stderr(),
        ..Outcome::success(output.output)
    };
    let (end, error) = match seen.report {
        Some(Report::NotStarted { error }) => (End::Failure(Reason::Exit), Some(error)),
        Some(Report::Ended { exit_code, signal, told, cpu_ms, memory_peak_bytes, memory, .. }) => {
            outcome.exit_code = exit_code;
            outcome.signal = signal;
            outcome.cpu_ms = Some(cpu_ms);
            outcome.memory_peak_bytes = Some(memory_peak_bytes);
            match memory {
                Some(memory) => (End::Failure(Reason::Memory), Some(memory_text(memory))),
                None => ended(exit_code, signal, seen.told.filter(|_| told), limits),
            }
        }
        None => match seen.told {
            Some(told) => ended(None, None, Some(told), limits),
            None => (End::Failure(Reason::Signal), Some("its keeper was killed".into())),
        },
    };
    Outcome { end, error, ..outcome }
}

/// How a program ended that was started. What it was told counts only if it had heard it before its end.
fn ended(
    exit_code: Option<i32>,
    signal: Option<i32>,
    told: Option<Told>,
    limits: Limits,
) -> (End, Option<String>) {
    let (reason, error) = match (told, exit_code, signal) {
        (Some(Told::Timeout), _, _) => (Reason::Timeout, timeout_text(limits.timeout_ms.unwrap_or(0))),
        (Some(Told::Quiet), _, _) => (Reason::Quiet, quiet_text(limits.quiet_ms.unwrap_or(0))),
        (Some(Told::Cancel), _, _) => (Reason::Signal, CANCELLED.into()),
        (None, Some(0), _) => return (End::Success, None),
        (None, Some(code), _) => (Reason::Exit, format!("exit code {code}")),
        (None, None, Some(signal)) => (Reason::Signal, signal_text(signal)),
        (None, None, None) => (Reason::Signal, "it ended in a way unknown here".into()),
    };
    (End::Failure(reason), Some(error))
}

fn memory_text(memory: ForMemory) -> String {
    match memory {
        ForMemory::Limit { bytes } => format!("killed: it took more than its memory limit of {bytes} bytes"),
        ForMemory::Kernel => "killed by the kernel: no memory was left for it in its node's container".into(),
    }
}

fn signal_text(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(name) => format!("ended by signal {signal} ({name})"),
        Err(_) => format!("ended by signal {signal}"),
    }
}

/// The environment a program gets beside its own: where programs are, and plain text.
pub(super) fn base_env() -> BTreeMap<String, String> {
    let lang = std::env::var("LANG").unwrap_or_else(|_| "C.UTF-8".into());
    BTreeMap::from([("PATH".into(), search_path()), ("LANG".into(), lang)])
}

/// Where programs are looked for.
pub(super) fn search_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into())
}
