//! What the leader knows of each node: which start and session it was last heard in, what it offers, how busy it is, and
//! which slots are taken. *A slot is held until its worker says that it is gone.*

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::limits::SPARES;
use crate::pace::{Pace, Use};
use crate::placement::Seat;
use protocol::limits::{LIVENESS_MS, PROGRESS_SHOWN};
use protocol::recodex::{CLASS, Evaluation, pool_class, pool_number};
use protocol::{AttemptRef, Boot, JobSpec, NodeId, NodeLoad, Offer, Report, Share};

/// A node, heard or only known from the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What is told to everybody. `alive` and `running` are kept true here.
    pub(crate) shown: NodeLoad,
    pub(crate) boot: Boot,
    pub(crate) session: u64,
    /// The start the ledger knows; none: it is no member.
    pub(crate) member_boot: Option<Boot>,
    /// It has reported in this start, so that its offer is known.
    pub(crate) reported: bool,
    /// It was a member before this leader led: alive until its silence says otherwise.
    pub(crate) trusted: bool,
    /// Somebody asked that it gets no new attempts: so it is shown, whether it has heard of that or not.
    drained: bool,
    /// Cluster time of its last believable sign of life.
    fresh_ms: u64,
    /// Cluster time at which its session began.
    session_ms: u64,
    /// Number of its last report in this session.
    report: u64,
    /// Number of our last answer in this session.
    pub(crate) answered: u64,
    /// Our latest answers with their times: an echo of one is a sign of life.
    answers: VecDeque<(u64, u64)>,
    slots: BTreeMap<AttemptRef, Slot>,
    /// Sums over `slots`, changed with each of them.
    sums: Use,
    /// How fast attempts of each class end here.
    pace: Pace,
}

/// One slot in use.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Its `Assign` is not applied yet.
    pub(crate) planned: bool,
    /// Number of our last answer when it was dispatched: a later answer's echo shows that the dispatch had its chance.
    pub(crate) sent_after: u64,
    /// A report held it.
    pub(crate) seen: bool,
    /// Cluster time since when it is taken.
    pub(crate) since_ms: u64,
    /// What it is for, as far as that is known.
    pub(crate) spec: Option<Arc<JobSpec>>,
    /// The pool of the worker of ReCodEx that has it, or is meant to, in the place of its class.
    pool: Option<Arc<str>>,
}

impl Slot {
    pub(crate) fn new(spec: Option<&Arc<JobSpec>>, planned: bool, sent_after: u64, now_ms: u64) -> Self {
        Self { planned, sent_after, seen: false, since_ms: now_ms, spec: spec.cloned(), pool: None }
    }

    /// The same, taken from this pool's workers.
    pub(crate) fn in_pool(self, pool: Option<u32>) -> Self {
        Self { pool: pool.map(|number| Arc::from(pool_class(number))), ..self }
    }

    /// A worker of this pool has it.
    pub(crate) fn is_in_pool(&mut self, number: u32) {
        if self.pool_number() != Some(number) {
            self.pool = Some(Arc::from(pool_class(number)));
        }
    }

    pub(crate) fn pool_number(&self) -> Option<u32> {
        self.pool.as_deref().and_then(pool_number)
    }

    pub(crate) fn class(&self) -> &str {
        match &self.pool {
            Some(pool) => pool,
            None => self.spec.as_ref().map_or("", |spec| &spec.class),
        }
    }

    /// The bounds that its job shares with others.
    pub(crate) fn share(&self) -> Option<&Share> {
        self.spec.as_ref().and_then(|spec| spec.more.limits.as_ref())
    }
}

/// How many attempts may wait on a node for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spares {
    /// None.
    None,
    /// As many as end there soon.
    Quick,
    /// As many as a queue of its own holds.
    Queue,
}

/// What a report meant for placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It came twice, or too late.
    Old,
    /// As before.
    Same,
    /// The node offers or has something else than before.
    Changed,
}

impl Peer {
    /// A node nobody has heard yet; it gets the full liveness to show itself.
    pub(crate) fn new(id: NodeId, now_ms: u64) -> Self {
        let (offer, load) = Default::default();
        Self {
            shown: NodeLoad { id, alive: true, offer, load, running: 0, progress: Vec::new() },
            boot: Boot(0),
            session: 0,
            member_boot: None,
            reported: false,
            trusted: false,
            drained: false,
            fresh_ms: now_ms,
            session_ms: now_ms,
            report: 0,
            answered: 0,
            answers: VecDeque::new(),
            slots: BTreeMap::new(),
            sums: Use::default(),
            pace: Pace::default(),
        }
    }

    /// Believes a message of this start and session, or not. Says whether the start is a new one.
    pub(crate) fn admit(&mut self, boot: Boot, session: u64, now_ms: u64) -> Option<bool> {
        if (boot, session) < (self.boot, self.session) {
            return None;
        }
        let restarted = boot > self.boot;
        if (boot, session) > (self.boot, self.session) {
            (self.boot, self.session, self.session_ms) = (boot, session, now_ms);
            (self.report, self.answered) = (0, 0);
            self.answers.clear();
            // What was dispatched in the ended session may never arrive.
            self.slots.values_mut().for_each(|slot| slot.sent_after = 0);
        }
        if restarted {
            self.reported = false;
            self.slots.clear();
            self.pace = Pace::default();
            self.count();
        }
        Some(restarted)
    }

    /// Takes in a report, apart from what it holds.
    pub(crate) fn hear(&mut self, report: &Report, now_ms: u64) -> Heard {
        if report.number <= self.report {
            return Heard::Old;
        }
        self.report = report.number;
        let old = |at_ms: u64| now_ms.saturating_sub(at_ms) >= LIVENESS_MS;
        while self.answers.front().is_some_and(|(_, at_ms)| old(*at_ms)) {
            self.answers.pop_front();
        }
        let echoed = self.answers.iter().any(|(number, _)| *number == report.echo);
        let too_early_to_echo = report.echo == 0 && !old(self.session_ms);
        let was = self.shown.alive && self.reported;
        if echoed || too_early_to_echo {
            self.fresh_ms = now_ms;
            self.shown.alive = true;
        }
        self.reported = true;
        let totals = |load: &protocol::Load| (load.cpu_total_milli, load.memory_total_bytes);
        let offer = if self.drained && !report.offer.draining {
            Cow::Owned(Offer { draining: true, ..report.offer.clone() })
        } else {
            Cow::Borrowed(&report.offer)
        };
        let same = was == self.shown.alive
            && self.shown.offer == *offer
            && totals(&self.shown.load) == totals(&report.load);
        self.shown.load = report.load;
        self.shown.progress.clone_from(&report.progress);
        self.shown.progress.truncate(PROGRESS_SHOWN);
        self.pace.look(now_ms);
        if self.shown.offer != *offer {
            self.shown.offer = offer.into_owned();
            self.count();
        }
        if same { Heard::Same } else { Heard::Changed }
    }

    /// Counts an answer that leaves now, and says its number.
    pub(crate) fn answer(&mut self, now_ms: u64) -> u64 {
        self.answered += 1;
        self.answers.push_back((self.answered, now_ms));
        self.answered
    }

    /// Milliseconds of cluster time since its last believable sign of life.
    pub(crate) fn silence_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.fresh_ms)
    }

    /// What silence there was is no sign of its death.
    pub(crate) fn forget_silence(&mut self, now_ms: u64) {
        if self.shown.alive {
            self.fresh_ms = now_ms;
        }
    }

    /// It gets no new attempts from now on; or it may get some again, once it says itself that it takes them.
    pub(crate) fn drain(&mut self, drained: bool) {
        self.drained = drained;
        self.shown.offer.draining |= drained;
    }

    /// Whether it is about to end, or cannot start anything for now: more than that somebody asked to give it nothing.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shown.offer.draining && !self.drained
    }

    /// Whether it may get work: present, and in the start the ledger knows.
    pub(crate) fn fit(&self) -> bool {
        self.shown.alive && self.reported && self.member_boot == Some(self.boot)
    }

    fn spares_of(&self, class: &str, spares: Spares) -> u32 {
        match spares {
            Spares::None => 0,
            Spares::Quick => self.pace.spares(class),
            Spares::Queue => SPARES,
        }
    }

    /// Whether a worker of this class, or of the pool in its place, is free, or may be sent something ahead.
    fn attached_free(&self, class: &str, spares: Spares) -> bool {
        let attached = self.shown.offer.attached_to(class);
        let most = attached.saturating_add(self.spares_of(class, spares));
        attached > 0 && self.sums.held(class) < most
    }

    /// The pool that an evaluation counts in which is given to this node: one with a free worker, else one where it waits.
    pub(crate) fn pool_taken(&self, spec: &JobSpec) -> Option<u32> {
        [Spares::None, Spares::Quick, Spares::Queue]
            .into_iter()
            .find_map(|spares| self.pool_for(spec, spares))
    }

    /// The pool whose workers an evaluation gets one of; with `spares`, also one where it waits for that.
    fn pool_for(&self, spec: &JobSpec, spares: Spares) -> Option<u32> {
        let pools = self.shown.offer.pools_for(spec.more.recodex.as_ref()?);
        pools.into_iter().find(|number| self.attached_free(&pool_class(*number), spares))
    }

    /// This node as a place for a job; with `spares`, also for one that is to wait there for a free slot.
    pub(crate) fn seat(&self, leader: NodeId, spec: &JobSpec, spares: Spares) -> Seat<'_> {
        let class = &spec.class;
        let attached_free = match &spec.more.recodex {
            Some(_) => self.pool_for(spec, spares).is_some(),
            None => self.attached_free(class, spares),
        };
        let spares = self.spares_of(class, spares);
        Seat {
            node: &self.shown,
            attached_free,
            own_slots: self.shown.offer.slots.saturating_add(spares),
            own_used: self.sums.own,
            sent: self.sums.unseen,
            reserved: &self.sums.reserved,
            leads: self.shown.id == leader,
        }
    }

    /// Whether any attempt at all could begin here: a slot of its own is free, or an attached worker.
    pub(crate) fn has_room(&self) -> bool {
        self.fit() && (self.sums.own < self.shown.offer.slots || self.sums.attached_free > 0)
    }

    /// Slots of its own and attached workers that are free.
    pub(crate) fn room(&self) -> u32 {
        let own = self.shown.offer.slots.saturating_sub(self.sums.own);
        if self.fit() { own.saturating_add(self.sums.attached_free) } else { 0 }
    }

    /// Whether attempts may be sent here ahead of a free slot.
    pub(crate) fn takes_spares(&self) -> bool {
        self.fit() && self.pace.is_quick()
    }

    /// Sums over the slots in use.
    pub(crate) fn uses(&self) -> &Use {
        &self.sums
    }

    /// The slots in use.
    pub(crate) fn slots(&self) -> &BTreeMap<AttemptRef, Slot> {
        &self.slots
    }

    /// Changes the slots in use as a whole.
    pub(crate) fn change_slots(&mut self, change: impl FnOnce(&mut BTreeMap<AttemptRef, Slot>)) {
        change(&mut self.slots);
        self.count();
    }

    pub(crate) fn occupy(&mut self, attempt: AttemptRef, slot: Slot) {
        self.free(attempt);
        self.sums.take(&self.shown.offer, &slot);
        self.slots.insert(attempt, slot);
        self.shown.running = self.sums.running(&self.shown.offer);
    }

    /// Says whether the slot was in use.
    pub(crate) fn free(&mut self, attempt: AttemptRef) -> bool {
        let Some(slot) = self.slots.remove(&attempt) else { return false };
        self.sums.give(&self.shown.offer, &slot);
        self.shown.running = self.sums.running(&self.shown.offer);
        true
    }

    /// An attempt ended here by itself: its slot is free, and says how fast this node is. Says whether it was in use.
    pub(crate) fn ended(&mut self, attempt: AttemptRef) -> bool {
        if let Some(slot) = self.slots.get(&attempt) {
            self.pace.ended(slot.class());
        }
        self.free(attempt)
    }

    /// Brings the sums in line with all slots in use.
    fn count(&mut self) {
        self.sums = Use::of(&self.shown.offer, self.slots.values());
        self.shown.running = self.sums.running(&self.shown.offer);
    }
}

/// Whether a worker of this class attached to the node is free, when it holds attempts of these classes.
pub(crate) fn attached_free<'a>(offer: &Offer, class: &str, held: impl Iterator<Item = &'a str>) -> bool {
    let attached = offer.attached_to(class);
    attached > 0 && held.filter(|of| *of == class).count() < attached as usize
}

/// Whether a worker of ReCodEx that may have this evaluation is free, when the node holds attempts of these classes. Which of its
/// workers have them only the leader knows, so each counts as though one that may have this one had it.
pub(crate) fn pools_free<'a>(offer: &Offer, asked: &Evaluation, held: impl Iterator<Item = &'a str>) -> bool {
    let workers: u32 =
        offer.pools_for(asked).iter().map(|number| offer.attached_to(&pool_class(*number))).sum();
    held.filter(|class| *class == CLASS).count() < workers as usize
}
