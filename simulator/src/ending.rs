//! The end of a history: faults off, the cluster agrees, everything acknowledged has ended, and new work is served.

use crate::limits::{CONVERGE_US, LOOK_US, SERVE_US};
use crate::watch::{Held, must};
use crate::world::World;

impl World<'_> {
    /// The whole history.
    pub(crate) fn live(&mut self) -> Held {
        self.run(self.faults_until_us)?;
        self.mend_all();
        self.run(self.clients_until_us)?;
        self.settle(CONVERGE_US)?;
        for place in 0..self.nodes.len() {
            self.last_wish(place);
        }
        self.settle(SERVE_US)?;
        self.check_all()
    }

    /// `queue_moves`: without faults, within a bounded time the nodes agree, every question is answered and every job that
    /// the ledger has accepted has ended.
    fn settle(&mut self, within_us: u64) -> Held {
        let until_us = self.now_us + within_us;
        loop {
            self.run(self.now_us + LOOK_US)?;
            let Some(missing) = self.missing() else { return Ok(()) };
            must(self.now_us < until_us, "queue_moves", || {
                format!("{} s without faults, and {missing}", within_us / crate::limits::SECOND)
            })?;
        }
    }

    /// What keeps the cluster from being at rest.
    fn missing(&self) -> Option<String> {
        let casts: Vec<_> = self.nodes.iter().filter_map(|node| Some(&node.live.as_ref()?.cast)).collect();
        let leaders = casts.iter().filter(|cast| cast.is_master()).count();
        let ends: Vec<(u64, u64)> =
            casts.iter().map(|c| (c.ledger().applied(), c.ledger().digest())).collect();
        if casts.len() < self.nodes.len() {
            return Some(format!("{} of {} nodes run", casts.len(), self.nodes.len()));
        }
        if leaders != 1 {
            return Some(format!("{leaders} nodes lead"));
        }
        if ends.windows(2).any(|pair| pair[0] != pair[1]) {
            return Some(format!("the ledgers are at {ends:?}"));
        }
        if self.clients.waiting() > 0 {
            return Some(format!("{} questions are open", self.clients.waiting()));
        }
        if let Some(call) = casts.iter().flat_map(|cast| cast.ledger().calls()).next() {
            return Some(format!("a front end is owed {call:?}"));
        }
        let open = self.watch.jobs.iter().find(|(_, job)| !job.state.is_terminal());
        open.map(|(id, job)| format!("{id} has not ended: {job:?}"))
    }

    /// `acked_survives`, `one_result`: every node has every acknowledged job, ended as it ended.
    fn check_all(&mut self) -> Held {
        self.all_is_told()?;
        let told = self.watch.told();
        for (place, node) in self.nodes.iter().enumerate() {
            let Some(live) = &node.live else { continue };
            live.cast.ledger().check();
            self.watch.read(place + 1, live.cast.ledger(), &node.shelf, told)?;
            self.same_jobs(place)?;
            self.facts_without_holes(place)?;
        }
        Ok(())
    }

    /// `same_ledger`: not only the digest of what was applied is equal, but every job as it stands, and who is a member.
    fn same_jobs(&self, place: usize) -> Held {
        let ledger_of = |place: usize| self.nodes[place].live.as_ref().map(|live| live.cast.ledger());
        let (Some(one), Some(other)) = (ledger_of(0), ledger_of(place)) else { return Ok(()) };
        let jobs = one.newest(None).eq(other.newest(None));
        let others = one.members().eq(other.members()) && one.counts() == other.counts();
        must(jobs && others, "same_ledger", || format!("n1 and n{} differ in a job or a member", place + 1))
    }

    /// `logs_complete`: what a node keeps of the facts has no hole and ends with the last one; and of every acknowledged job
    /// beginning and end are among them.
    fn facts_without_holes(&self, place: usize) -> Held {
        let Some(live) = &self.nodes[place].live else { return Ok(()) };
        let ledger = live.cast.ledger();
        let first = ledger.first_fact_kept();
        let numbers = ledger.facts_after(0).map(|fact| fact.number);
        must(numbers.eq(first..=ledger.last_fact()), "logs_complete", || {
            format!("n{} keeps facts with a hole between {first} and {}", place + 1, ledger.last_fact())
        })
    }
}
