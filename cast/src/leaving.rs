//! A node that is about to end: it hands over the lead, takes no new attempts, and stays until nothing here is of anybody's
//! concern. How long at most, its body says.

use crate::cast::Cast;

/// A leader that finds no heir in so long goes without one.
const HEIR_PATIENCE_MS: u64 = 2_000;
/// A hand-over that came to nothing is tried again after so long.
const AGAIN_MS: u64 = 500;
/// With no leader for so long there is nobody to hear what this node still has to say.
const LEADER_PATIENCE_MS: u64 = 1_000;

/// How far the farewell is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leaving {
    waited_ms: u64,
    since_asked_ms: u64,
    gave_up: bool,
}

impl Cast {
    /// The process is to end.
    pub(crate) fn leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(Leaving { waited_ms: 0, since_asked_ms: AGAIN_MS, gave_up: false });
            self.worker.leave();
            self.hand_over();
        }
    }

    /// What still runs here has had its time.
    pub(crate) fn give_up(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.gave_up = true;
            self.worker.give_up();
        }
    }

    /// The worker does as the ledger has it: whether this node gets no new attempts because somebody asked.
    pub(crate) fn obey_drain(&mut self) {
        let rests = self.ledger.is_draining(self.me());
        self.worker.rest(rests);
    }

    /// Whether this node is about to end.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether it may end now: it does not lead (or nobody could in its place), holds no attempt and no result, owes no user
    /// an answer, and the leader has said that no further attempt is on its way here.
    #[must_use]
    pub fn may_go(&self) -> bool {
        let Some(leaving) = self.leaving else { return false };
        if self.master.is_some() && leaving.waited_ms < HEIR_PATIENCE_MS && self.status().voters.len() > 1 {
            return false;
        }
        // What attached workers hold when all is given up is in the list of what goes back.
        if self.worker.running() > 0 || (self.worker.held().next().is_some() && !leaving.gave_up) {
            return false;
        }
        if self.following.is_none() {
            // A result is worth waiting for a leader as long as the body's patience lasts.
            return self.leaderless_ms >= LEADER_PATIENCE_MS && !self.worker.keeps_results();
        }
        if leaving.gave_up {
            return !self.worker.gives_back() && !self.worker.keeps_results() && !self.gateway.is_open();
        }
        let me = self.me();
        let nothing_comes = |line: &protocol::NodeLoad| line.offer.draining && line.running == 0;
        let told = self.roster.iter().find(|line| line.id == me).map_or(
            // One that is no member gets nothing.
            self.ledger.member(me).is_none(),
            nothing_comes,
        );
        told && self.roster_is_new && !self.worker.keeps_results() && !self.gateway.is_open()
    }

    /// A tick of a node that is about to end.
    pub(crate) fn tick_leaving(&mut self) {
        let tick_ms = self.settings.tick_ms;
        if let Some(leaving) = &mut self.leaving {
            leaving.waited_ms = leaving.waited_ms.saturating_add(tick_ms);
            leaving.since_asked_ms = leaving.since_asked_ms.saturating_add(tick_ms);
            self.hand_over();
        }
    }

    /// This node leads and should not: to whoever is fit.
    pub(crate) fn give_lead(&mut self) {
        if let Some(master) = &mut self.master {
            master.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let (Some(master), Some(leaving)) = (&mut self.master, &mut self.leaving) else { return };
        if leaving.since_asked_ms >= AGAIN_MS && master.hand_over() {
            leaving.since_asked_ms = 0;
        }
    }
}
