//! The attempts a worker holds and the results it keeps, brought into step with the leader by full lists.
//!
//! ```text
//!   Dispatch ─▶ waiting ─(slot free)─▶ running ─(ended)─▶ kept ─(Settled)─▶ gone
//!                  ├───────────(not in the leader's list)──▶ ended here, reported as such
//!                  └───────────(asked back by the leader)──▶ back, and never begun here
//! ```
//! What waits are spare attempts: sent ahead, so that the next one begins the moment a slot is free. A slot is held from `running` until the runner says that the attempt is gone, whatever became of the job meanwhile.
//! Where foreign workers are attached ([`crate::attached`]), an attempt of their class goes to a free one of them first. It
//! stays with that worker until it answers; when it is late or gone, the leader is asked to give the job to another one too.

mod attaching;
mod hosting;
mod leaving;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use protocol::limits::{PROGRESS_SHOWN, REPORT_MS, RESEND_MS};
use protocol::recodex::CLASS;
use protocol::{
    Answered, AttemptRef, Checkpoint, Dispatch, End, LAB_HEADER, Load, LossCause, Offer, Outcome, Progress,
    Reason, Report, ToMaster, ToNode,
};

use crate::attached::{Attached, AttachedId, Windows, stronger};
use crate::guests::{GUESTS_LIVE_MS, GuestId, Guests};
use crate::waiting::Waiting;

/// What the worker wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this to the leader.
    Send(ToMaster),
    /// Start this attempt.
    Run(Dispatch),
    /// End this attempt; the runner still says when it is gone.
    Kill(AttemptRef),
    /// Give this attempt to an attached worker.
    Hand {
        /// Which worker.
        worker: AttachedId,
        /// What.
        dispatch: Dispatch,
    },
    /// An attached worker's window is over: the job is offered to others as well.
    Late {
        /// Which worker.
        worker: AttachedId,
        /// With what.
        attempt: AttemptRef,
    },
    /// Give this evaluation to a worker of ReCodEx.
    HandGuest {
        /// Which worker.
        guest: GuestId,
        /// What.
        dispatch: Dispatch,
    },
    /// A worker of ReCodEx is none any more: it was silent for too long, or another one says that it is at work at what it has.
    GuestGone {
        /// Which worker.
        guest: GuestId,
        /// What it had: what it brings of that is late.
        attempt: Option<AttemptRef>,
    },
}

/// An attempt that occupies a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Running,
    /// The leader no longer wants it and the runner was told.
    Ending,
    /// This node ends and the runner was told: without a success it goes back to the leader.
    GivenUp,
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
    /// Nothing new is to come here for now.
    holds_back: bool,
    /// This node is about to end.
    leaves: bool,
    /// Somebody asked that nothing new comes here.
    rests: bool,
    load: Load,
    checkpoint: Option<Checkpoint>,
    progress: Vec<Progress>,
    held: BTreeMap<AttemptRef, Held>,
    waiting: Waiting,
    attached: Attached,
    windows: Windows,
    guests: Guests,
    guests_live_ms: u64,
    guests_in_turn: bool,
    /// What guests have that the ledger does not know yet as this node's: what they bring of it waits.
    adopting: BTreeSet<AttemptRef>,
    /// Attempts the leader shall give to somebody else.
    back: BTreeMap<AttemptRef, LossCause>,
    kept: BTreeMap<AttemptRef, Kept>,
    following: bool,
    reported: u64,
    echo: u64,
    since_report_ms: u64,
    outputs: Vec<Output>,
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

/// A rule broken on purpose, to show that the invariants find it.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// What runs is ended when the lead changes.
    EndsWithLead,
    /// Where two attempts run, the result of one is reported as the other's.
    SwapsResults,
}

impl Worker {
    /// A worker that holds nothing, as after every start.
    #[must_use]
    pub fn new(offer: Offer) -> Self {
        Self {
            offer,
            holds_back: false,
            leaves: false,
            rests: false,
            load: Load::default(),
            checkpoint: None,
            progress: Vec::new(),
            held: BTreeMap::new(),
            waiting: Waiting::default(),
            attached: Attached::default(),
            windows: Windows::default(),
            guests: Guests::default(),
            guests_live_ms: GUESTS_LIVE_MS,
            guests_in_turn: false,
            adopting: BTreeSet::new(),
            back: BTreeMap::new(),
            kept: BTreeMap::new(),
            following: false,
            reported: 0,
            echo: 0,
            since_report_ms: 0,
            outputs: Vec::new(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// A worker with a broken rule.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(self, mutant: Option<Mutant>) -> Self {
        Self { mutant, ..self }
    }

    /// How long attached workers have for a job.
    #[must_use]
    pub fn with_windows(self, windows: Windows) -> Self {
        Self { windows, ..self }
    }

    /// There is a new session with a leader (numbering restarts, everything is said again), or none.
    pub fn follow(&mut self, following: bool) {
        self.following = following;
        self.reported = 0;
        self.echo = 0;
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::EndsWithLead) {
            self.outputs.extend(self.held.keys().map(|attempt| Output::Kill(*attempt)));
        }
        if following {
            self.report();
            let kept: Vec<AttemptRef> = self.kept.keys().copied().collect();
            for attempt in kept {
                self.send_result(attempt);
            }
        }
    }

    /// The leader said something. What is the gateway's or the whole node's is ignored here.
    pub fn heard(&mut self, message: ToNode) {
        match message {
            ToNode::Dispatch(dispatch) => self.dispatched(dispatch),
            ToNode::Answered(answered) => self.answered(&answered),
            ToNode::Settled { attempt, .. } => {
                self.kept.remove(&attempt);
            }
            ToNode::Recall { attempts } => self.recalled(&attempts),
            ToNode::Forwarded { .. } | ToNode::Odd { .. } => {}
        }
    }

    /// The runner says that an attempt is gone: its slot is free, its result is kept until the leader settles it.
    pub fn ended(&mut self, attempt: AttemptRef, outcome: Outcome) {
        let Some(was) = self.held.remove(&attempt) else { return };
        if was == Held::GivenUp && outcome.end != End::Success {
            self.give_back(attempt, LossCause::Abandoned);
            self.report();
            return;
        }
        #[cfg(feature = "mutants")]
        let attempt = match self.held.first_entry() {
            Some(other) if self.mutant == Some(Mutant::SwapsResults) => other.remove_entry().0,
            _ => attempt,
        };
        self.keep(attempt, outcome);
        self.fill_own();
    }

    /// Whether results wait for the leader's word.
    #[must_use]
    pub fn keeps_results(&self) -> bool {
        !self.kept.is_empty()
    }

    /// This node's ledger passed a checkpoint: the next report says so.
    pub fn passed(&mut self, checkpoint: Checkpoint) {
        self.checkpoint = Some(checkpoint);
    }

    /// The probe measured.
    pub fn loaded(&mut self, load: Load) {
        self.load = load;
    }

    /// How far programs say they are, all that say so: the next reports tell of the first [`PROGRESS_SHOWN`].
    pub fn progressed(&mut self, mut progress: Vec<Progress>) {
        progress.truncate(PROGRESS_SHOWN);
        self.progress = progress;
    }

    /// This many milliseconds passed.
    pub fn tick(&mut self, elapsed_ms: u64) {
        self.look_at_attached(elapsed_ms);
        self.look_at_guests(elapsed_ms);
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
        let own = self.held.keys().copied();
        let guests = self.guests.held().map(|(attempt, _)| attempt);
        own.chain(self.attached.held()).chain(guests).chain(self.waiting.attempts())
    }

    /// Attempts that wait for a slot or an attached worker, the next one first.
    pub fn waiting(&self) -> impl Iterator<Item = AttemptRef> + '_ {
        self.waiting.attempts()
    }

    /// Attempts the runner has; never more than there are slots (`never_over_capacity`).
    #[must_use]
    pub fn running(&self) -> usize {
        self.held.len()
    }

    /// The same attempt twice is one attempt: a dispatch is repeated when the leader cannot tell whether it arrived.
    fn dispatched(&mut self, dispatch: Dispatch) {
        let attempt = dispatch.attempt;
        let known = self.held.contains_key(&attempt)
            || self.attached.holds(attempt)
            || self.guests.holds(attempt)
            || self.waiting.contains(attempt)
            || self.kept.contains_key(&attempt)
            || self.back.contains_key(&attempt);
        let takes_none = self.offer.draining || self.holds_back;
        if !known && (takes_none || !self.begin(&dispatch)) {
            self.waiting.push(dispatch);
            self.give_back_unserved();
            self.give_back_waiting();
        }
    }

    /// Starts an attempt: with a free attached worker of its class, else in a free slot if this node runs it itself. False:
    /// there is neither.
    fn begin(&mut self, dispatch: &Dispatch) -> bool {
        let (class, attempt) = (&dispatch.spec.class, dispatch.attempt);
        if dispatch.spec.more.recodex.is_some() {
            return self.hand_to_guest(dispatch);
        }
        let window_ms = self.windows.of(class);
        if let Some(worker) = self.attached.hand(class, attempt, window_ms, dispatch.spec.timeout_ms) {
            self.outputs.push(Output::Hand { worker, dispatch: dispatch.clone() });
        } else if self.held.len() < self.offer.slots as usize && self.offer.runs_itself(class) {
            self.held.insert(attempt, Held::Running);
            self.outputs.push(Output::Run(dispatch.clone()));
        } else {
            return false;
        }
        true
    }

    /// A slot of this node is free: the next one that it runs itself begins.
    fn fill_own(&mut self) {
        while self.held.len() < self.offer.slots as usize {
            let next = self.waiting.first_where(|class| self.offer.runs_itself(class)).cloned();
            let Some(next) = next else { break };
            if !self.begin(&next) {
                break;
            }
            self.waiting.remove(next.attempt);
        }
    }

    /// What waits and whose class nobody serves here goes back: whoever did has left since the leader looked.
    fn give_back_unserved(&mut self) {
        let unserved = |class: &str| class != CLASS && !self.offer.serves(class);
        let mut back = Vec::new();
        while let Some(attempt) = self.waiting.first_where(unserved).map(|dispatch| dispatch.attempt) {
            self.waiting.remove(attempt);
            back.push(attempt);
        }
        for attempt in self.unsuited() {
            self.waiting.remove(attempt);
            back.push(attempt);
        }
        back.into_iter().for_each(|attempt| self.give_back(attempt, LossCause::Unbegun));
    }

    /// Another node could begin them now: they go back, unless they have begun here.
    fn recalled(&mut self, attempts: &[AttemptRef]) {
        let mut given_back = false;
        for attempt in attempts {
            if self.waiting.remove(*attempt).is_some() {
                self.give_back(*attempt, LossCause::Unbegun);
                given_back = true;
            }
        }
        if given_back {
            self.report();
        }
    }

    fn give_back(&mut self, attempt: AttemptRef, cause: LossCause) {
        if !self.kept.contains_key(&attempt) {
            let known = self.back.get(&attempt).map_or(cause, |known| stronger(cause, *known));
            self.back.insert(attempt, known);
        }
    }

    /// Who is attached, or what they hold, is another than before: the leader hears it at once. What waited for a worker that is
    /// no more, and that nobody else here can do, goes back.
    fn attached_changed(&mut self) {
        self.offer.attached = self.attached.counts();
        self.offer.pools = self.guests.pools();
        for class in self.waiting.classes() {
            self.fill_attached(&class);
        }
        self.fill_guests();
        self.give_back_unserved();
        self.report();
    }

    /// The leader's full list: what is not on it is not wanted any more.
    fn answered(&mut self, answered: &Answered) {
        if answered.number <= self.echo {
            return;
        }
        self.echo = answered.number;
        let wanted: BTreeSet<AttemptRef> = answered.hold.iter().copied().collect();
        let unwanted: Vec<AttemptRef> = self.waiting.attempts().filter(|a| !wanted.contains(a)).collect();
        unwanted.into_iter().for_each(|attempt| drop(self.waiting.remove(attempt)));
        self.back.retain(|attempt, _| wanted.contains(attempt));
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
        if self.following && !self.adopting.contains(&attempt) {
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
            waiting: self.waiting.attempts().collect(),
            kept: self.kept.keys().copied().collect(),
            back: self.back.iter().map(|(attempt, cause)| (*attempt, *cause)).collect(),
            offer: self.offer_now(),
            load: self.load,
            checkpoint: self.checkpoint,
            progress: self.progress.clone(),
            pools: self.guests.held().collect(),
        };
        self.outputs.push(Output::Send(ToMaster::Report(report.into())));
    }

    /// What is attached here is open to strangers: it is theirs.
    fn offer_now(&self) -> Offer {
        let mut offer = self.offer.clone();
        offer.draining |= self.holds_back;
        if !offer.attached.is_empty() {
            let open = offer.headers.entry(LAB_HEADER.to_string()).or_default();
            open.extend(offer.attached.keys().cloned());
        }
        offer
    }
}
