//! What must hold after every step. Each check has the one name of its invariant; its definition stands at the check.
//!
//! The *agreed history* is made of facts in the order of their numbers, each taken when the first node tells it. All that
//! is promised to anybody is compared with it, and so is what every node tells later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use master::Ledger;
use protocol::{AttemptRef, Boot, Dispatch, Fact, Job, JobId, NodeId};

use crate::fold::Fold;
use crate::history::Known;
use crate::limits::{CALM_AFTER_US, READ_RESULTS, STARVE_US};
use crate::shelf::Shelf;

/// What was promised and did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) detail: String,
}

pub(crate) type Held = Result<(), Broken>;

/// The answer of a check.
pub(crate) fn must(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(Broken { invariant, detail: detail() }) }
}

/// What a client asked for, under the id that its gateway chose.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: Option<String>,
    pub(crate) payload: Bytes,
    /// It differs from what the key was made for.
    pub(crate) misuse: bool,
    /// A front end's id.
    pub(crate) evaluation: Option<String>,
}

/// Everything the checks remember.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) asked: BTreeMap<JobId, Asked>,
    /// The agreed history, job by job.
    pub(crate) jobs: BTreeMap<JobId, Known>,
    /// Which job each key made.
    pub(crate) keys: BTreeMap<String, JobId>,
    /// Which jobs keys had made that are forgotten with them.
    pub(crate) old_keys: BTreeSet<(String, JobId)>,
    /// Digest of each fact, by its number less 1.
    facts: Vec<u64>,
    /// Digest of the ledger at each index that a turn ended with.
    digests: BTreeMap<u64, u64>,
    /// Highest index applied anywhere.
    pub(crate) reached: u64,
    leaders: BTreeMap<u64, NodeId>,
    /// Wall time of the last fact.
    pub(crate) wall_ms: u64,
    /// Every start of an attempt: who ran it, in which start.
    pub(crate) starts: BTreeMap<AttemptRef, (NodeId, Boot)>,
    /// Where workers of ReCodEx brought what they did of a job. They know the job alone, so their node says which attempt it was.
    pub(crate) brought: BTreeSet<(JobId, NodeId, Boot)>,
    /// Jobs that run, by the key they share bounds by; some that ended since.
    pub(crate) sharing: BTreeMap<String, BTreeSet<JobId>>,
    /// Jobs in the order in which clients heard that they are safe.
    pub(crate) acknowledged: Vec<JobId>,
    /// Jobs of which somebody was told that they have ended, in this order.
    pub(crate) ended: Vec<JobId>,
    /// Ids under which clients asked and heard that nothing of it was taken.
    pub(crate) not_taken: BTreeSet<JobId>,
    /// Evaluations that are to be taken back, and those of which that is known to be done.
    pub(crate) withdrawing: BTreeSet<JobId>,
    pub(crate) withdrawn: BTreeSet<JobId>,
    /// Jobs that a client wanted cancelled.
    pub(crate) cancelling: BTreeSet<JobId>,
    /// Attempts that an attached worker was late with or lost.
    pub(crate) given_up: BTreeSet<AttemptRef>,
    /// Nodes that get no new attempts because somebody asked.
    pub(crate) draining: BTreeSet<NodeId>,
    /// Starts of nodes that ended what ran there because they were told to end.
    pub(crate) leaving: BTreeSet<(NodeId, Boot)>,
    /// How many have not ended.
    pub(crate) open: usize,
    starving: BTreeMap<JobId, u64>,
    /// Faults under way now, and when the last one began or ended.
    faults: usize,
    disturbed_us: u64,
}

impl Watch {
    /// A fault begins (1), ends (-1), or only has happened (0).
    pub(crate) fn disturbed(&mut self, now_us: u64, change: isize) {
        self.faults = self.faults.saturating_add_signed(change);
        self.disturbed_us = now_us;
        self.starving.clear();
    }

    pub(crate) fn all_mended(&mut self) {
        self.faults = 0;
    }

    /// *Calm*: no fault is under way, and none was for so long that elections, liveness and links have settled. Since when.
    pub(crate) fn calm_since(&self, now_us: u64) -> Option<u64> {
        let since = self.disturbed_us + CALM_AFTER_US;
        (self.faults == 0 && now_us >= since).then_some(since)
    }

    /// `same_ledger`: a fact of a number is the same on every node. `logs_complete`: facts are numbered without holes (that
    /// each node tells them so is looked at where it tells them).
    pub(crate) fn fact(&mut self, now_us: u64, fact: &Fact, job: Option<&Arc<Job>>) -> Held {
        let digest = Fold::of(fact);
        let place = (fact.number - 1) as usize;
        must(place <= self.facts.len(), "logs_complete", || format!("fact {} leaves a hole", fact.number))?;
        match self.facts.get(place) {
            Some(known) => {
                must(*known == digest, "same_ledger", || {
                    format!("fact {} differs: {:?}", fact.number, fact.what)
                })?;
            }
            None => {
                self.facts.push(digest);
                self.news(now_us, fact, job)?;
            }
        }
        // A job shown with a fact is as the whole entry left it: its end may be told only by a later fact of that entry.
        let ended = job.filter(|job| self.jobs.get(&job.id).is_some_and(|known| known.state.is_terminal()));
        ended.map_or(Ok(()), |job| self.ended_job_is_as_it_ended(job))
    }

    /// `same_ledger`: after the same index, the same digest on every node.
    pub(crate) fn ledger(&mut self, name: usize, ledger: &Ledger) -> Held {
        let (index, digest) = (ledger.applied(), ledger.digest());
        let known = *self.digests.entry(index).or_insert(digest);
        must(known == digest, "same_ledger", || format!("n{name} differs from others after index {index}"))
    }

    /// `one_leader_a_term`, and `acked_survives`: whoever begins to act as leader has applied all that anyone has applied.
    pub(crate) fn promoted(&mut self, name: NodeId, term: u64, applied: u64) -> Held {
        let first = *self.leaders.entry(term).or_insert(name);
        must(first == name, "one_leader_a_term", || format!("{first:?} and {name:?} both lead term {term}"))?;
        let reached = self.reached;
        must(applied >= reached, "acked_survives", || {
            format!(
                "{name:?} acts as leader of term {term} at index {applied}, index {reached} was applied elsewhere"
            )
        })
    }

    /// `one_leader_a_term`: whoever follows in a term follows the one that leads it.
    pub(crate) fn led(&mut self, name: usize, term: u64, leader: Option<NodeId>) -> Held {
        let Some(leader) = leader else { return Ok(()) };
        let first = *self.leaders.entry(term).or_insert(leader);
        must(first == leader, "one_leader_a_term", || {
            format!("n{name} follows {leader:?} in term {term}, which {first:?} leads")
        })
    }

    pub(crate) fn elections(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// An attempt starts on a worker, which has room for it.
    /// - `no_run_while_held`: only what an applied `Assign` gave to this very start of this worker, and never what it
    ///   gave back.
    /// - `result_is_of_its_payload`: it gets what the client asked for.
    /// - `no_repeat_in_calm`: one attempt starts once.
    pub(crate) fn started(&mut self, on: (NodeId, Boot), dispatch: &Dispatch) -> Held {
        let attempt = dispatch.attempt;
        let job = self.jobs.get(&attempt.job);
        let given = job.and_then(|job| job.attempts.get(attempt.attempt as usize - 1));
        must(given.is_some_and(|given| (given.node, given.boot) == on), "no_run_while_held", || {
            format!("{attempt:?} starts on {on:?}, the ledger gave it to {given:?}")
        })?;
        must(!given.is_some_and(|given| given.given_back), "no_run_while_held", || {
            format!("{attempt:?} starts on {on:?}, which gave it back")
        })?;
        let payload = job.map(|job| &job.payload);
        must(payload == Some(&dispatch.spec.payload), "result_is_of_its_payload", || {
            format!("{attempt:?} starts with {:?} instead of {payload:?}", dispatch.spec.payload)
        })?;
        let before = self.starts.insert(attempt, on);
        must(before.is_none(), "no_repeat_in_calm", || {
            format!("{attempt:?} starts on {on:?} and ran on {before:?}")
        })
    }

    /// `no_repeat_in_calm`: a worker never ends an attempt that the ledger has given to it and that still counts, unless it
    /// ends itself and waits no longer.
    pub(crate) fn killed(&self, on: (NodeId, Boot), attempt: AttemptRef) -> Held {
        let Some(job) = self.jobs.get(&attempt.job) else { return Ok(()) };
        let counts = job
            .current()
            .is_some_and(|(number, given)| number == attempt.attempt && (given.node, given.boot) == on);
        must(!counts || self.leaving.contains(&on), "no_repeat_in_calm", || {
            format!("{on:?} ends {attempt:?}, which the ledger still wants there")
        })
    }

    /// `acked_survives`: a client hears of a job only what an applied entry says. `key_is_one_job`: of one key always the
    /// same job.
    pub(crate) fn acknowledged(&mut self, now_us: u64, job: JobId, asked: JobId, key: Option<&str>) -> Held {
        let Some(known) = self.jobs.get_mut(&job) else {
            return must(false, "acked_survives", || {
                format!("{job} was acknowledged before any node applied it")
            });
        };
        if known.acknowledged_us.is_none() {
            known.acknowledged_us = Some(now_us);
            self.acknowledged.push(job);
        }
        let id_of = |job: &JobId| self.asked.get(job).and_then(|asked| asked.evaluation.clone());
        let same_id = id_of(&asked).is_some() && id_of(&asked) == id_of(&job);
        let made = key.map_or(asked == job || same_id, |key| self.made(key, job));
        must(made, "key_is_one_job", || {
            format!("{job} was acknowledged for key {key:?}, which did not make it")
        })
    }

    /// Whether this key makes this job, or did before both were forgotten.
    pub(crate) fn made(&self, key: &str, job: JobId) -> bool {
        self.keys.get(key) == Some(&job) || self.old_keys.contains(&(key.to_string(), job))
    }

    /// `acked_survives`: whoever reads sees every job that was acknowledged before the read began, and an ended one as it
    /// ended, in the ledger or in the archive, until it is forgotten. (Of the results of ended jobs each read compares a few.)
    /// An archive that came from a peer may be ahead of the ledger and have forgotten more: so has the agreed history then.
    pub(crate) fn read(&self, name: usize, ledger: &Ledger, shelf: &Shelf, told: Told) -> Held {
        let forgotten = ledger.forgotten().upto.max(shelf.forgotten());
        let look = |id: &JobId| ledger.job(*id).or_else(|| shelf.get(*id).cloned());
        let is_forgotten = |id: &JobId| self.jobs.get(id).is_some_and(|known| known.is_among(forgotten));
        let known = &self.acknowledged[..told.acknowledged];
        let gone = known.iter().find(|id| look(id).is_none() && !is_forgotten(id));
        must(gone.is_none(), "acked_survives", || format!("a read at n{name} does not see {gone:?}"))?;
        let open = |id: &&JobId| look(id).is_some_and(|job| !job.state.is_terminal());
        let open = self.ended[..told.ended].iter().find(open);
        must(open.is_none(), "acked_survives", || {
            format!("a read at n{name} does not see the end of {open:?}")
        })?;
        let every = known.len() / READ_RESULTS + 1;
        let some = known.iter().rev().step_by(every).filter_map(look);
        for job in some {
            self.ended_job_is_as_it_ended(&job)?;
        }
        Ok(())
    }

    /// All that was told so far.
    pub(crate) fn told(&self) -> Told {
        Told { acknowledged: self.acknowledged.len(), ended: self.ended.len() }
    }

    /// `acked_survives`: who hears that nothing of a request was taken finds no job of it, now or later.
    pub(crate) fn not_taken(&mut self, asked: JobId) -> Held {
        self.not_taken.insert(asked);
        must(!self.jobs.contains_key(&asked), "acked_survives", || {
            format!("{asked} was refused, and is there")
        })
    }

    /// `queue_moves`: in calm, no job waits for long while there is a free place that could take it.
    pub(crate) fn queue(&mut self, now_us: u64, queues: [(&Vec<JobId>, usize); 4]) -> Held {
        let moving = self.calm_since(now_us).is_some();
        let could_go = |(_, free): &&(&Vec<JobId>, usize)| moving && *free > 0;
        let waiting: BTreeSet<JobId> =
            queues.iter().filter(could_go).flat_map(|(jobs, _)| jobs.iter().copied()).collect();
        self.starving.retain(|job, _| waiting.contains(job));
        for job in waiting {
            let since = *self.starving.entry(job).or_insert(now_us);
            must(now_us - since < STARVE_US, "queue_moves", || {
                format!("{job} waits beside a free place since {} ms", (now_us - since) / 1_000)
            })?;
        }
        Ok(())
    }
}

/// How much had been told when a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Jobs that were acknowledged.
    acknowledged: usize,
    /// Jobs that had ended.
    ended: usize,
}
