//! `understudy keeper`: leads the processes of one attempt, and takes them along when it ends.
//!
//! ```text
//!   node ◀──socket (fd 0)──▶ keeper (session leader, subreaper) ──starts──▶ program (group leader) ──▶ …
//!                                        └── end of file, or the program's end: KILL all that is left
//! ```
//! It is a process of its own because nothing else outlives a `kill -9` of the node: a parent-death signal is not
//! inherited by grandchildren. One thread, no timers but the grace; the node decides about time limits.

mod memory;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, close, getpid, setsid};
use protocol::submit::is_file_name;

use self::memory::{Kills, Meter};
use crate::runner::child::milliseconds;
use crate::runner::fence::Fence;
use crate::runner::order::{ForMemory, Order, Report, WORD_TERM, WORK, receive, send};
use crate::runner::processes::{PROC, tree};

/// Between TERM and KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// How long the killing of what is left may take.
pub(crate) const SWEEP_PATIENCE: Duration = Duration::from_secs(3);
/// Between two passes of that killing.
const SWEEP_PAUSE_MS: u16 = 10;
/// Processes one pass looks at.
const SWEEP_PROCESSES: usize = 100_000;
/// Tasks (processes and their threads) a program may add to those there are.
const TASKS: u64 = 4_096;
/// How much nicer than the node a program is.
const NICE: libc::c_int = 10;

/// Runs as keeper; `args` are those after `keeper` (the attempt's name, for people who read `ps`).
#[must_use]
pub fn main(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the attempt's: with the node gone there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "keeper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn keep() -> Result<()> {
    close_inherited();
    setsid()?;
    set_child_subreaper(true)?;
    let mut node = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let order = match receive::<Order>(&mut node) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
        order => order?,
    };
    let kills = Kills::from_now(Path::new("/"));
    // Where there can be none, the keeper measures instead.
    let fence = order.fence.as_ref();
    let fence = fence.and_then(|(jobs, name)| Fence::make(jobs, name, order.memory_bytes, TASKS).ok());
    let program = match start(&order, fence.as_ref()) {
        Ok(program) => program,
        Err(error) => {
            fence.iter().for_each(Fence::remove);
            let error = format!("cannot start `{}`: {error}", order.program);
            return send(&mut node, &Report::NotStarted { error });
        }
    };
    let measured_bytes = if fence.is_some() { 0 } else { order.memory_bytes };
    let limit_bytes = order.memory_bytes;
    let meter = Meter::new(measured_bytes, Instant::now());
    drop(order);
    let mut keeper = Keeper::new(node, program, meter)?;
    let ended = keeper.watch();
    fence.iter().for_each(Fence::kill);
    // Whatever went wrong in the watch, nothing may be left.
    let left = keeper.sweep();
    if let Some(fence) = fence {
        if fence.has_killed() {
            keeper.memory = Some(ForMemory::Limit { bytes: limit_bytes });
        }
        fence.remove();
    }
    let reported = keeper.report(left, &kills);
    // A node that has hung up may still listen (it stops) or be gone: both are fine.
    if ended? == Watched::Ended { reported } else { Ok(()) }
}

/// Closes what the node inherited itself: a program gets descriptors 0 to 2 only.
fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for descriptor in open {
        // The descriptor of the listing itself is closed already.
        let _ = close(descriptor);
    }
}

fn start(order: &Order, fence: Option<&Fence>) -> Result<Pid> {
    let folder = env::current_dir()?;
    let mut command = Command::new(&order.program);
    if let Some(script) = &order.script {
        let path = folder.join("script");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(script)?;
        command.arg(path);
    }
    let work = folder.join(WORK);
    lay(&work, &order.files)?;
    command.args(&order.args).current_dir(&work).env_clear().env("HOME", &work);
    command.envs(&order.env).env("UNDERSTUDY_DIR", &work);
    command.stdin(order.stdin.as_ref().map_or(Ok(Stdio::null()), |bytes| stdin(bytes))?);
    // A group of its own: the keeper outlives the kill of it.
    command.process_group(0);
    limit(&mut command, fence.map(Fence::entrance));
    let child = command.spawn()?;
    Ok(Pid::from_raw(i32::try_from(child.id()).map_err(Error::other)?))
}

/// Lays files into a folder that is the program's alone, and empty.
fn lay(work: &Path, files: &BTreeMap<String, Bytes>) -> Result<()> {
    let named =
        |name: &str, error: Error| Error::new(error.kind(), format!("laying its file {name:?}: {error}"));
    for (name, bytes) in files {
        if !is_file_name(name) {
            return Err(named(name, Error::from(ErrorKind::InvalidInput)));
        }
        let path = work.join(name);
        let laid = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(bytes)
        });
        laid.map_err(|error| named(name, error))?;
    }
    Ok(())
}

/// A nameless file in memory: the program may read as much of it as it likes, and nobody has to feed it.
fn stdin(bytes: &[u8]) -> Result<Stdio> {
    let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}

/// Lets the program, not the keeper, be the one that is slowed down, limited and killed first.
#[expect(
    unsafe_code,
    reason = "limits of a child are set between its fork and its exec, which only `pre_exec` allows"
)]
fn limit(command: &mut Command, entrance: Option<PathBuf>) {
    let tasks = if entrance.is_some() { None } else { tasks_allowed() };
    let limits = move || {
        // Dying before the node is a courtesy; without the right to it the program still runs.
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        lower_priority();
        if let Some(entrance) = &entrance {
            fs::write(entrance, "0")?;
        }
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        if let Some(tasks) = tasks {
            setrlimit(Resource::RLIMIT_NPROC, tasks, tasks)?;
        }
        Ok(())
    };
    // SAFETY: `limits` runs in the forked child before its exec. The keeper has one thread, so no lock can be held
    // by another one at the fork; the closure makes plain system calls and touches no state of the parent.
    unsafe { command.pre_exec(limits) };
}

/// How many tasks the user of this process may have once the program runs: those there are, of whomever, and
/// [`TASKS`] more. None where that is not known. The kernel counts by user and lets root have any number.
fn tasks_allowed() -> Option<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    let line = fs::read_to_string("/proc/loadavg").ok()?;
    let there: u64 = line.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(most.min(there + TASKS))
}

/// Makes the calling thread (and what it starts) yield to the node.
#[expect(unsafe_code, reason = "no safe wrapper of setpriority is among the dependencies")]
pub(crate) fn lower_priority() {
    // SAFETY: setpriority takes three numbers and touches no memory; 0 is the calling thread. It fails only when the
    // thread is nicer already, which is as good.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Why the watch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    /// The program has ended; it is not buried yet, so its number still names its group.
    Ended,
    /// The node is gone, or wants everything to be.
    Abandoned,
}

struct Keeper {
    node: UnixStream,
    signals: SignalFd,
    program: Pid,
    told: bool,
    kill_at: Option<Instant>,
    meter: Option<Meter>,
    memory: Option<ForMemory>,
    status: Option<WaitStatus>,
}

impl Keeper {
    /// Made after the program's start: the program must not inherit the blocked signals.
    fn new(node: UnixStream, program: Pid, meter: Option<Meter>) -> Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { node, signals, program, told: false, kill_at: None, meter, memory: None, status: None })
    }

    fn watch(&mut self) -> Result<Watched> {
        loop {
            if self.bury_orphans()? {
                return Ok(Watched::Ended);
            }
            let now = Instant::now();
            if self.kill_at.is_some_and(|at| at <= now) {
                self.kill_at = None;
                let _ = killpg(self.program, Signal::SIGKILL);
            }
            self.memory =
                self.meter.as_mut().and_then(|m| m.measure(Path::new(PROC), getpid().as_raw(), now));
            if self.memory.is_some() {
                // The sweep kills it at once: a grace would be time to take more.
                return Ok(Watched::Ended);
            }
            let (word, abandoned) = self.wait_for_news(now)?;
            if abandoned || (word && self.read_words()? == Watched::Abandoned) {
                return Ok(Watched::Abandoned);
            }
        }
    }

    /// Waits for a word, a child's end or the end of the grace: is there a word, is all to end?
    fn wait_for_news(&self, now: Instant) -> Result<(bool, bool)> {
        let measure_at = self.meter.as_ref().map(Meter::next);
        let timeout = match self.kill_at.into_iter().chain(measure_at).min() {
            // A millisecond more: waking a moment too early would spin.
            Some(at) => PollTimeout::try_from(at.saturating_duration_since(now).as_millis() + 1)
                .map_err(Error::other)?,
            None => PollTimeout::NONE,
        };
        let mut polled = [
            PollFd::new(self.node.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let word = polled[0].any().unwrap_or(true);
        let mut abandoned = false;
        while let Some(signal) = self.signals.read_signal()? {
            abandoned |= i32::try_from(signal.ssi_signo) != Ok(Signal::SIGCHLD as i32);
        }
        Ok((word, abandoned))
    }

    fn read_words(&mut self) -> Result<Watched> {
        let mut words = [0; 16];
        let read = match self.node.read(&mut words) {
            Ok(0) => return Ok(Watched::Abandoned),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            // The node closed its end with our words unread: as gone as by end of file.
            Err(_) => return Ok(Watched::Abandoned),
        };
        if words[..read].contains(&WORD_TERM) && !self.told {
            self.told = true;
            self.kill_at = Some(Instant::now() + GRACE);
            // A stopped program must go on to hear it.
            let _ = killpg(self.program, Signal::SIGTERM);
            let _ = killpg(self.program, Signal::SIGCONT);
        }
        Ok(Watched::Ended)
    }

    /// Buries ended processes that were left to us; says whether the program itself has ended, and leaves it so.
    fn bury_orphans(&self) -> Result<bool> {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            match waitid(Id::All, look)?.pid() {
                None => return Ok(false),
                Some(pid) if pid == self.program => return Ok(true),
                Some(pid) => waitpid(pid, Some(WaitPidFlag::WNOHANG)).map(drop)?,
            }
        }
    }

    /// Kills the group and everything that descends from it; whether something could not be killed.
    fn sweep(&mut self) -> bool {
        let end = Instant::now() + SWEEP_PATIENCE;
        let me = getpid();
        let _ = killpg(self.program, Signal::SIGKILL);
        loop {
            if self.bury_all() {
                return false;
            }
            if Instant::now() >= end {
                return true;
            }
            // Those that left the group, also as daemons: a subreaper inherits every orphan below it.
            for pid in tree(Path::new(PROC), me.as_raw(), SWEEP_PROCESSES).into_iter().skip(1) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let mut polled = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut polled, SWEEP_PAUSE_MS);
            while let Ok(Some(_)) = self.signals.read_signal() {}
        }
    }

    /// Buries every ended child; whether there is none left, living or dead.
    fn bury_all(&mut self) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return false,
                Ok(status) if status.pid() == Some(self.program) => self.status = Some(status),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn report(&mut self, left: bool, kills: &Kills) -> Result<()> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let (exit_code, signal) = match self.status {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        // A shell says 128 + 9 when what it ran was killed. What was told to end may have been killed by us.
        let killed = !self.told && (signal == Some(Signal::SIGKILL as i32) || exit_code == Some(137));
        let memory = self.memory.or_else(|| (killed && kills.came()).then_some(ForMemory::Kernel));
        let report = Report::Ended {
            exit_code,
            signal,
            told: self.told,
            cpu_ms: milliseconds(usage.user_time()) + milliseconds(usage.system_time()),
            memory_peak_bytes: u64::try_from(usage.max_rss()).unwrap_or(0).saturating_mul(1024),
            memory,
            left,
        };
        send(&mut self.node, &report)
    }
}
