//! Whether a ledger fits together: every count, index and promise, walked through from end to end.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ledger::{Ledger, Totals, bytes_of, place_of};
use protocol::{AttemptState, Job, JobId, JobState};

impl Ledger {
    /// Asserts that all of it fits together. Walks everything: for tests and the simulator.
    pub fn check(&self) {
        let mut found = Totals::default();
        let (mut running, mut ended, mut ended_bytes, mut open_keys) = (0, 0, 0, 0);
        for (id, held) in self.jobs.iter() {
            let job = &held.job(*id);
            assert!(
                job.id == *id && self.order.get(job.order) == Some(*id),
                "acked_survives: {id} has its place"
            );
            found.by_state[place_of(job.state)] += 1;
            found.bytes += bytes_of(job);
            if job.state.is_terminal() {
                ended += 1;
                ended_bytes += bytes_of(job);
            }
            running += u64::from(job.state == JobState::Running);
            if let Some(key) = &held.key {
                let known = self.keys.get(key).is_some_and(|record| record.job == *id);
                assert!(known || job.state.is_terminal(), "key_is_one_job: an open job's key is remembered");
                open_keys += usize::from(!job.state.is_terminal());
            }
            check_job(job);
        }
        self.check_ends(&found, ended, ended_bytes);
        assert!(self.order.len() as usize == self.jobs.len(), "acked_survives: every held job has a place");
        assert!(open_keys + self.keys.ended_len() == self.keys.len(), "keys and jobs match");
        let in_state = |state: JobState, id: JobId| self.state(id) == Some(state);
        let queued: Vec<JobId> = self.queued().collect();
        assert!(
            queued.len() as u64 == found.by_state[place_of(JobState::Queued)],
            "every queued job is indexed"
        );
        assert!(queued.iter().all(|id| in_state(JobState::Queued, *id)), "the queue holds queued jobs");
        let scheduled: Vec<JobId> = self.scheduled().collect();
        assert!(
            scheduled.len() as u64 == found.by_state[place_of(JobState::Scheduled)],
            "every wait is indexed"
        );
        assert!(scheduled.iter().all(|id| in_state(JobState::Scheduled, *id)), "waits are of scheduled jobs");
        let held = self.busy_nodes().flat_map(|node| self.attempts_on(node).map(move |a| (node, a)));
        let on_nodes: Vec<_> = held.collect();
        assert!(on_nodes.len() as u64 == running, "every running attempt is indexed");
        for (node, (attempt, boot)) in on_nodes {
            let current = self.changed_job(attempt.job).and_then(|job| job.current());
            assert!(current.is_some_and(|a| a.node == node && a.boot == boot), "it is on the node it is on");
        }
        self.check_shares();
        let open = self.jobs.iter().filter(|(_, held)| !held.state().is_terminal());
        self.recodex.check(open.map(|(id, held)| (*id, &**held.terms(), held.state())));
        self.members.check();
        self.gateways.check();
    }

    /// Of each key as many run as are counted.
    fn check_shares(&self) {
        let mut running: BTreeMap<&str, u32> = BTreeMap::new();
        let held = self.jobs.iter().filter(|(_, held)| held.state() == JobState::Running);
        for share in held.filter_map(|(_, held)| held.terms().more.limits.as_ref()) {
            *running.entry(&share.key).or_default() += 1;
        }
        assert!(running == self.shares.all_running(), "running jobs of each key are counted right");
    }

    /// Every accepted job is open, held as ended, or history: none is lost on the way.
    fn check_ends(&self, found: &Totals, ended: u64, ended_bytes: u64) {
        let mut ever = 0;
        for (place, state) in JobState::ALL.iter().enumerate() {
            if state.is_terminal() {
                ever += self.totals.by_state[place];
            } else {
                let same = found.by_state[place] == self.totals.by_state[place];
                assert!(same, "counts match the jobs that are {}", state.word());
            }
        }
        assert!(found.bytes == self.totals.bytes, "bytes match the jobs");
        assert!((ended, ended_bytes) == (self.tail.len(), self.tail.bytes()), "ended jobs are counted right");
        assert!(ever == self.tail.last() || self.is_mutant(), "terminal_is_final: every job ends once");
        let accepted = self.open_jobs() + self.tail.last();
        assert!(
            accepted == self.order.last() || self.is_mutant(),
            "acked_survives: every job is open or ended"
        );
        assert!(self.forgotten.upto <= self.tail.last(), "only what has ended is forgotten");
    }
}

fn check_job(job: &Job) {
    let id = job.id;
    // What the simulator breaks on purpose, it has to find.
    assert!(
        cfg!(feature = "mutants") || !job.spec.more.at_most_once || job.attempts.len() <= 1,
        "at_most_once: {id} has one attempt at most"
    );
    let of = |state: AttemptState| job.attempts.iter().filter(|a| a.state == state).count();
    for (place, attempt) in job.attempts.iter().enumerate() {
        assert!(attempt.number as usize == place + 1, "attempts of {id} are numbered from 1");
    }
    let running = usize::from(job.state == JobState::Running);
    assert!(
        of(AttemptState::Running) == running,
        "no_run_while_held: {id} runs once while running, else never"
    );
    let succeeded = usize::from(job.state == JobState::Succeeded);
    assert!(of(AttemptState::Succeeded) == succeeded, "one_result: one attempt made the success of {id}");
    assert!(
        job.finished_wall_ms.is_some() == job.state.is_terminal(),
        "{id} has one end, and then a time of it"
    );
    assert!(job.ending.is_some() == job.state.is_terminal(), "{id} has one place among the ends");
    assert!(job.reason.is_some() == (job.state == JobState::Failed), "{id} has a reason when it failed");
    assert!(job.not_before_ms.is_some() == (job.state == JobState::Scheduled), "{id} waits for a named time");
    match job.state {
        JobState::Succeeded => assert!(job.result.is_some(), "one_result: {id} succeeded with a result"),
        JobState::Failed => {}
        _ => assert!(job.result.is_none(), "one_result: {id} has none before its end"),
    }
}
