//! The one thread of a bridge: a poll over all its lanes, then a turn of each. Nothing in it waits for anything else.

use std::time::{Duration, Instant};

use zmq::{Context, PollItem};

use super::lane::Rules;
use super::line::Line;
use super::names::Names;
use super::trail::BridgeId;
use super::{LabError, LabSettings};
use crate::address::Address;
use crate::limits;
use crate::stop::Stop;

/// A poll ends after this even when nothing is due.
const LONGEST: Duration = Duration::from_secs(60);
const FINISH: Duration = Duration::from_millis(limits::FINISH_MS);

/// What a lane sees around it in a turn.
pub(super) struct Around<'a> {
    pub(super) context: &'a Context,
    pub(super) names: &'a Names,
    pub(super) id: BridgeId,
    pub(super) workers_url: &'a Address,
    pub(super) clients_url: &'a Address,
    pub(super) now: Instant,
    /// Take nothing new.
    pub(super) stopping: bool,
    pub(super) say: &'a dyn Fn(&str),
}

/// Serves until it is told to stop and has finished what was under way, as far as there is time.
pub(super) fn serve(settings: &LabSettings, stop: &Stop, say: &dyn Fn(&str)) -> Result<(), LabError> {
    let mut context = Context::new();
    let process = getrandom::u32().map_err(|cause| LabError::Start { why: cause.to_string() })?;
    let names = Names::new(&settings.host, process);
    let rules = Rules { id: settings.id(), half_delay: settings.delay / 2, patience: settings.patience };
    let mut around = Around {
        context: &context,
        names: &names,
        id: rules.id,
        workers_url: &settings.workers,
        clients_url: &settings.clients,
        now: Instant::now(),
        stopping: false,
        say,
    };
    let classes = settings.classes.iter().flat_map(|class| std::iter::repeat_n(class, settings.lanes));
    let mut lines: Vec<Line> =
        classes.enumerate().map(|(at, class)| Line::new(at + 1, class, &rules, &around)).collect();
    let mut told = Told::default();
    let mut until = None;
    loop {
        around.now = Instant::now();
        around.stopping = stop.is_told();
        for line in &mut lines {
            line.turn(&around);
        }
        told.tell(&lines, &around);
        if around.stopping {
            let until = *until.get_or_insert(around.now + FINISH);
            let left = lines.iter().filter(|line| !line.is_free()).count();
            if left == 0 || around.now >= until || stop.is_urgent() {
                if left > 0 {
                    say(&format!("ends with {left} requests under way: the first broker offers them again"));
                }
                break;
            }
        }
        wait(&lines, &around, until, stop)?;
    }
    drop(lines);
    // Returns when the last answers have left, or the time for that is over.
    context.destroy().map_err(|error| LabError::Socket { why: error.to_string() })
}

/// Sleeps until there is something to do.
fn wait(lines: &[Line], around: &Around<'_>, until: Option<Instant>, stop: &Stop) -> Result<(), LabError> {
    let due = lines.iter().filter_map(|line| line.due(around)).chain(until).min();
    let rest = due.map_or(LONGEST, |due| due.saturating_duration_since(Instant::now()).min(LONGEST));
    // Rounded up: a poll that ends before its time would be a turn for nothing.
    let rest_ms = i64::try_from(rest.as_micros().div_ceil(1_000)).unwrap_or(i64::MAX);
    let mut items = vec![PollItem::from_fd(stop.bell(), zmq::POLLIN)];
    items.extend(lines.iter().flat_map(Line::poll_items));
    match zmq::poll(&mut items, rest_ms) {
        Ok(_) | Err(zmq::Error::EINTR) => {
            stop.hush();
            Ok(())
        }
        Err(error) => Err(LabError::Socket { why: error.to_string() }),
    }
}

/// What was said of the two brokers last, so that each change is said once and not by every lane.
#[derive(Default)]
struct Told {
    serves: bool,
    reaches: bool,
}

impl Told {
    fn tell(&mut self, lines: &[Line], around: &Around<'_>) {
        let news = |told: &mut bool, now: bool, broker: &Address, yes: &str, no: &str| {
            if *told != now {
                *told = now;
                (around.say)(&format!("{broker}: {}", if now { yes } else { no }));
            }
        };
        let reaches = lines.iter().any(Line::reaches);
        let serves = lines.iter().any(Line::serves);
        news(&mut self.reaches, reaches, around.clients_url, "is there to be asked", "is away");
        news(&mut self.serves, serves, around.workers_url, "has us as its worker", "has us no more");
    }
}
