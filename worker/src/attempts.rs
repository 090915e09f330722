//! The attempts a worker holds and the results it keeps, brought into step with the leader by full lists.
//!
//! ```text
//!   Dispatch ─▶ waiting ─(slot free)─▶ running ─(ended)─▶ kept ─(Settled)─▶ gone
//!                  └───────────(not in the leader's list)──▶ ended here, reported as such
//! ```
//! A slot is held from `running` until the runner says that the attempt is gone, whatever became of the job meanwhile.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use protocol::limits::{REPORT_MS, RESEND_MS};
use protocol::{Answered, AttemptRef, Dispatch, Load, Offer, Outcome, Reason, Report, ToMaster, ToNode};

/// What the worker wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this to the leader.
    Send(ToMaster),
    /// Start this attempt.
    Run(Dispatch),
    /// End this attempt; the runner still says when it is gone.
    Kill(AttemptRef),
}

/// An attempt that occupies a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Running,
    /// The leader no longer wants it and the runner was told.
    Ending,
}

/// A result the leader has not settled yet.
#[derive(Clone, Debug)]
struct Kept {
    outcome: Arc<Outcome>,
    since_sent_ms: u64,
}

/// The worker's mind.
#[derive(Clone, Debug)]
pub struct Worker {
    offer: Offer,
    load: Load,
    held: BTreeMap<AttemptRef, Held>,
    waiting: VecDeque<Dispatch>,
    kept: BTreeMap<AttemptRef, Kept>,
    following: bool,
    reported: u64,
    echo: u64,
    since_report_ms: u64,
    outputs: Vec<Output>,
}

impl Worker {
    /// A worker that holds nothing, as after every start.
    #[must_use]
    pub fn new(offer: Offer) -> Self {
        Self {
            offer,
            load: Load::default(),
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            kept: BTreeMap::new(),
            following: false,
            reported: 0,
            echo: 0,
            since_report_ms: 0,
            outputs: Vec::new(),
        }
    }

    /// There is a new session with a leader (numbering restarts, everything is said again), or none.
    pub fn follow(&mut self, following: bool) {
        self.following = following;
        self.reported = 0;
        self.echo = 0;
        if following {
            self.report();
            let kept: Vec<AttemptRef> = self.kept.keys().copied().collect();
            for attempt in kept {
                self.send_result(attempt);
            }
        }
    }

    /// The leader said something. `Forwarded` is the gateway's and ignored here.
    pub fn heard(&mut self, message: ToNode) {
        match message {
            ToNode::Dispatch(dispatch) => self.dispatched(dispatch),
            ToNode::Answered(answered) => self.answered(&answered),
            ToNode::Settled { attempt, .. } => {
                self.kept.remove(&attempt);
            }
            ToNode::Forwarded { .. } => {}
        }
    }

    /// The runner says that an attempt is gone: its slot is free, its result is kept until the leader settles it.
    pub fn ended(&mut self, attempt: AttemptRef, outcome: Outcome) {
        if self.held.remove(&attempt).is_none() {
            return;
        }
        self.keep(attempt, outcome);
        self.fill_slots();
    }

    /// The probe measured.
    pub fn loaded(&mut self, load: Load) {
        self.load = load;
    }

    /// What this worker offers changed.
    pub fn offers(&mut self, offer: Offer) {
        self.offer = offer;
        self.report();
    }

    /// This many milliseconds passed.
    pub fn tick(&mut self, elapsed_ms: u64) {
        self.since_report_ms = self.since_report_ms.saturating_add(elapsed_ms);
        if self.since_report_ms >= REPORT_MS {
            self.report();
        }
        let mut again = Vec::new();
        for (attempt, kept) in &mut self.kept {
            kept.since_sent_ms = kept.since_sent_ms.saturating_add(elapsed_ms);
            if kept.since_sent_ms >= RESEND_MS {
                again.push(*attempt);
            }
        }
        for attempt in again {
            self.send_result(attempt);
        }
    }

    /// Takes what is to be done, in order.
    pub fn drain(&mut self) -> Vec<Output> {
        core::mem::take(&mut self.outputs)
    }

    /// What it offers now.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Attempts that occupy a slot or wait for one.
    pub fn held(&self) -> impl Iterator<Item = AttemptRef> + '_ {
        self.held.keys().copied().chain(self.waiting.iter().map(|d| d.attempt))
    }

    /// Attempts the runner has; never more than there are slots (`never_over_capacity`).
    #[must_use]
    pub fn running(&self) -> usize {
        self.held.len()
    }

    /// The same attempt twice is one attempt: a dispatch is repeated when the leader cannot tell whether it arrived.
    fn dispatched(&mut self, dispatch: Dispatch) {
        let known =
            self.held().any(|held| held == dispatch.attempt) || self.kept.contains_key(&dispatch.attempt);
        if !known {
            self.waiting.push_back(dispatch);
            self.fill_slots();
        }
    }

    fn fill_slots(&mut self) {
        while self.held.len() < self.offer.slots as usize {
            let Some(dispatch) = self.waiting.pop_front() else { return };
            self.held.insert(dispatch.attempt, Held::Running);
            self.outputs.push(Output::Run(dispatch));
        }
    }

    /// The leader's full list: what is not on it is not wanted any more.
    fn answered(&mut self, answered: &Answered) {
        if answered.number <= self.echo {
            return;
        }
        self.echo = answered.number;
        let wanted: BTreeSet<AttemptRef> = answered.hold.iter().copied().collect();
        self.waiting.retain(|dispatch| wanted.contains(&dispatch.attempt));
        for (attempt, held) in &mut self.held {
            if *held == Held::Running && !wanted.contains(attempt) {
                *held = Held::Ending;
                self.outputs.push(Output::Kill(*attempt));
            }
        }
    }

    /// An attempt the runner could not even take: as good as ended.
    pub fn could_not_run(&mut self, attempt: AttemptRef, why: &str) {
        self.ended(attempt, Outcome::failure(Reason::Exit, why.to_string()));
    }

    fn keep(&mut self, attempt: AttemptRef, outcome: Outcome) {
        self.kept.insert(attempt, Kept { outcome: Arc::new(outcome), since_sent_ms: 0 });
        self.send_result(attempt);
    }

    fn send_result(&mut self, attempt: AttemptRef) {
        let Some(kept) = self.kept.get_mut(&attempt) else { return };
        kept.since_sent_ms = 0;
        if self.following {
            let outcome = Arc::clone(&kept.outcome);
            self.outputs.push(Output::Send(ToMaster::Result { attempt, outcome }));
        }
    }

    fn report(&mut self) {
        self.since_report_ms = 0;
        if !self.following {
            return;
        }
        self.reported += 1;
        let report = Report {
            number: self.reported,
            echo: self.echo,
            held: self.held().collect(),
            kept: self.kept.keys().copied().collect(),
            offer: self.offer.clone(),
            load: self.load,
        };
        self.outputs.push(Output::Send(ToMaster::Report(report)));
    }
}
