//! Evaluations over ReCodEx's wire: many workers that ping each second and are through at once, front ends that keep so many
//! evaluations open, and how long the longest answer to a ping took meanwhile.

pub mod bare;
mod front_ends;
mod workers;

use std::time::{Duration, Instant};

use serde::Serialize;
use zmq::{Context, Socket, SocketType};

use crate::lab::BenchError;
use crate::limits::{HIGH_WATER, PATIENCE, SETTLE_LOOK, UNDECIDED};
use front_ends::{FrontEnds, Said};
use workers::Workers;

/// Where the nodes of a cluster are, or a bare broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// `tcp://HOST:PORT` for front ends, of each node.
    pub clients: Vec<String>,
    /// `tcp://HOST:PORT` for workers, of each node.
    pub workers: Vec<String>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Evaluations in all.
    pub evaluations: usize,
    /// Evaluations open at once.
    pub outstanding: usize,
    /// Workers attached, in turn to each node.
    pub workers: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Evaluations done, and counted by the broker.
    pub evaluations: usize,
    /// How many more a worker was given.
    pub repeated: usize,
    /// Milliseconds from the first question to the broker's count of all.
    pub elapsed_ms: u64,
    /// Evaluations a second.
    pub per_second: u64,
    /// Pings answered meanwhile.
    pub pongs: u64,
    /// The longest that one of them took, in microseconds, to where a worker's thread read it.
    pub longest_pong_us: u64,
}

/// The hardware group of the workers here: nobody else's.
const GROUP: &str = "bench";

/// Attaches workers, asks, and counts.
///
/// # Errors
/// [`BenchError`]: a socket failed, an evaluation was rejected, or nothing came for [`PATIENCE`].
pub fn measure(doors: &Doors, load: Load) -> Result<Measured, BenchError> {
    let workers = Workers::start(&doors.workers, load.workers)?;
    let context = Context::new();
    let mut front_ends = FrontEnds::new(&context, &doors.clients)?;
    wait(|| Ok(workers.known() >= load.workers), "waiting for the broker to know all workers")?;
    wait(
        || Ok(front_ends.counts("worker-count")? >= load.workers as u64),
        "waiting for all workers to be counted",
    )?;
    let before = front_ends.counts("evaluated-jobs")?;
    workers.forget_pongs();
    let began = Instant::now();
    let repeated = all_done(&mut front_ends, &workers, load)?;
    let goal = before + load.evaluations as u64;
    wait(
        || Ok(front_ends.counts("evaluated-jobs")? >= goal),
        "waiting for the broker to count the last evaluation",
    )?;
    let elapsed = began.elapsed();
    let (pongs, longest_pong_us) = workers.pongs();
    Ok(Measured {
        evaluations: load.evaluations,
        repeated,
        elapsed_ms: elapsed.as_millis() as u64,
        per_second: (load.evaluations as u128 * 1_000_000 / elapsed.as_micros().max(1)) as u64,
        pongs,
        longest_pong_us,
    })
}

/// Asks for all of them, never more than so many at once; how many were given to workers again.
fn all_done(front_ends: &mut FrontEnds, workers: &Workers, load: Load) -> Result<usize, BenchError> {
    let mut is_done = vec![false; load.evaluations];
    let (mut asked, mut accepted, mut done, mut repeated) = (0, 0, 0, 0);
    let mut last = Instant::now();
    // Another one's evaluations may have the same numbers.
    let mark = format!("bench-{}-{}-", std::process::id(), unique());
    while done < load.evaluations || accepted < load.evaluations {
        let has_room = |asked| asked - done < load.outstanding && asked - accepted < UNDECIDED;
        while asked < load.evaluations && has_room(asked) {
            front_ends.ask(asked, &format!("{mark}{asked}"))?;
            asked += 1;
        }
        for said in front_ends.hear()? {
            match said {
                Said::Accepted => accepted += 1,
                Said::Rejected(why) => return Err(BenchError::new("asking for an evaluation", why)),
                Said::Nothing | Said::Counts(_) => {}
            }
            last = Instant::now();
        }
        for id in workers.done() {
            let number = id.strip_prefix(&mark).and_then(|number| number.parse::<usize>().ok());
            let Some(place) = number.and_then(|number| is_done.get_mut(number)) else { continue };
            if std::mem::replace(place, true) {
                repeated += 1
            } else {
                done += 1
            }
            last = Instant::now();
        }
        if last.elapsed() > PATIENCE {
            let open = format!("nothing for {PATIENCE:?}; {accepted} accepted and {done} done of {asked}");
            return Err(BenchError::new("waiting for evaluations", open));
        }
    }
    Ok(repeated)
}

/// A number that no other measurement of this process has.
fn unique() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn wait(mut is_so: impl FnMut() -> Result<bool, BenchError>, what: &'static str) -> Result<(), BenchError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(5);
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(BenchError::new(what, format!("not so for {PATIENCE:?}")));
        }
        std::thread::sleep(pause);
        pause = SETTLE_LOOK.min(pause * 2);
    }
    Ok(())
}

fn failed(error: zmq::Error) -> BenchError {
    BenchError::new("speaking ReCodEx's wire", error)
}

fn socket(context: &Context, kind: SocketType) -> Result<Socket, BenchError> {
    let socket = context.socket(kind).map_err(failed)?;
    let set = || {
        socket.set_linger(0)?;
        socket.set_rcvhwm(HIGH_WATER)?;
        socket.set_sndhwm(HIGH_WATER)
    };
    set().map_err(failed)?;
    Ok(socket)
}

/// As a front end and a worker have it: it gives itself no name.
fn dealer(context: &Context, url: &str) -> Result<Socket, BenchError> {
    let dealer = socket(context, zmq::DEALER)?;
    dealer.connect(url).map_err(failed)?;
    Ok(dealer)
}
