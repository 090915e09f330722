//! The task that makes the calls: each when it is due, those that wait in the order of their numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use logdb::Level;
use protocol::recodex::Call;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::Delivered;
use super::call::Target;

/// Calls under way at once.
const AT_ONCE: usize = 8;
/// Pause between two lines that say that calls fail.
const WORDS_EVERY: Duration = Duration::from_secs(60);

/// How long it waits before it tries again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// After the first failure; doubled with each further one.
    pub(super) first: Duration,
    /// At most.
    pub(super) most: Duration,
    /// Until a delivery is reported again that is still owed.
    pub(super) report: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let [first, most, report] = [1, 60, 5].map(Duration::from_secs);
        Self { first, most, report }
    }
}

impl Pace {
    fn after(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.most)
    }
}

/// A call that is owed.
struct Owed {
    call: Arc<Call>,
    failures: u32,
    stage: Stage,
}

enum Stage {
    /// To be made at this time.
    Due(Instant),
    /// Under way.
    Made(AbortHandle),
    /// It has reached the front end; to be reported again at this time.
    Reached(Instant),
}

pub(super) struct Work {
    target: Target,
    pace: Pace,
    log: logdb::Log,
    delivered: Delivered,
    calls: BTreeMap<u64, Owed>,
    /// When something is due for whom.
    due: BTreeSet<(Instant, u64)>,
    at_work: JoinSet<(u64, Result<(), String>)>,
    /// When calls began to fail, or the next line may say so.
    quiet_until: Option<Instant>,
}

impl Work {
    pub(super) fn new(target: Target, pace: Pace, log: logdb::Log, delivered: Delivered) -> Self {
        let (calls, due, at_work) = Default::default();
        Self { target, pace, log, delivered, calls, due, at_work, quiet_until: None }
    }

    pub(super) async fn serve(mut self, mut list: watch::Receiver<Vec<Arc<Call>>>) {
        loop {
            let next = self.due.first().map(|(at, _)| *at).filter(|_| self.at_work.len() < AT_ONCE);
            let alarm = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = list.changed() => match changed {
                    Ok(()) => {
                        let calls = list.borrow_and_update().clone();
                        self.compare(&calls);
                    }
                    // The handle is gone, and with it whoever owes.
                    Err(_) => return,
                },
                // One that was aborted is owed no more.
                Some(ended) = self.at_work.join_next() => if let Ok((number, outcome)) = ended {
                    self.ended(number, outcome);
                },
                () = alarm => self.begin(),
            }
        }
    }

    /// The list is the truth: what is new is due now, what is missing is over.
    fn compare(&mut self, calls: &[Arc<Call>]) {
        let owed: BTreeSet<u64> = calls.iter().map(|call| call.number).collect();
        let gone: Vec<u64> = self.calls.keys().filter(|number| !owed.contains(number)).copied().collect();
        for number in gone {
            match self.calls.remove(&number).map(|owed| owed.stage) {
                Some(Stage::Due(at) | Stage::Reached(at)) => drop(self.due.remove(&(at, number))),
                Some(Stage::Made(task)) => task.abort(),
                None => {}
            }
        }
        let now = Instant::now();
        for call in calls {
            if let std::collections::btree_map::Entry::Vacant(room) = self.calls.entry(call.number) {
                room.insert(Owed { call: Arc::clone(call), failures: 0, stage: Stage::Due(now) });
                self.due.insert((now, call.number));
            }
        }
    }

    /// Does what is due, as far as there is room.
    fn begin(&mut self) {
        let now = Instant::now();
        while self.at_work.len() < AT_ONCE {
            let Some((at, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) else { return };
            self.due.remove(&(at, number));
            let Some(owed) = self.calls.get_mut(&number) else { continue };
            if matches!(owed.stage, Stage::Reached(_)) {
                self.report(number);
                continue;
            }
            let (target, call) = (self.target.clone(), Arc::clone(&owed.call));
            let made = async move { (call.number, target.make(&call).await) };
            owed.stage = Stage::Made(self.at_work.spawn(made));
        }
    }

    fn ended(&mut self, number: u64, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.report(number);
                if self.quiet_until.take().is_some() {
                    let line = format!("The front end at {} is told again how jobs end", self.target.place());
                    self.log.record(Level::Info, "notifier", None, &line);
                }
            }
            Err(why) => {
                let Some(owed) = self.calls.get_mut(&number) else { return };
                owed.failures += 1;
                let at = Instant::now() + self.pace.after(owed.failures);
                owed.stage = Stage::Due(at);
                self.due.insert((at, number));
                self.warn(&why);
            }
        }
    }

    fn report(&mut self, number: u64) {
        let Some(owed) = self.calls.get_mut(&number) else { return };
        let at = Instant::now() + self.pace.report;
        owed.stage = Stage::Reached(at);
        self.due.insert((at, number));
        (self.delivered)(number);
    }

    fn warn(&mut self, why: &str) {
        let now = Instant::now();
        if self.quiet_until.is_some_and(|until| now < until) {
            return;
        }
        self.quiet_until = Some(now + WORDS_EVERY);
        let (place, owed) = (self.target.place(), self.calls.len());
        let line = format!(
            "The front end at {place} could not be told how a job ended: {why}. {owed} calls are owed; each is tried again"
        );
        self.log.record(Level::Warn, "notifier", None, &line);
    }
}
