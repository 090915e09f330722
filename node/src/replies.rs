//! Who asked over HTTP and waits: for an answer, for a job's end, for a look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cast::Cast;
use master::Ledger;
use protocol::{Answer, Job, JobId, Member};
use tokio::sync::oneshot;

use crate::ask::{DigestAt, Held, Reply, Told, View};

/// How long an acknowledged job may take to reach this node's ledger; then it is answered without.
const APPLY_PATIENCE: Duration = Duration::from_secs(5);

/// All that wait. Each is a request on a connection of its own, so their number is bounded by the door.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    open: BTreeMap<u64, oneshot::Sender<Reply>>,
    /// Decided since that was asked last.
    answered: usize,
    /// The leader accepted these; this node's own ledger is a moment behind.
    unapplied: BTreeMap<JobId, Vec<Unapplied>>,
    /// Jobs that came into the ledger in this turn: who asked for one hears of it before the turn ends, and it need not be
    /// put together twice.
    came: BTreeMap<JobId, Arc<Job>>,
    endings: BTreeMap<JobId, Vec<oneshot::Sender<Held>>>,
    readers: BTreeMap<u64, oneshot::Sender<View>>,
    /// Who wants a digest of the ledger, and at which index.
    comparers: Vec<(Option<u64>, oneshot::Sender<DigestAt>)>,
}

#[derive(Debug)]
struct Unapplied {
    since: Instant,
    told: Told,
    reply: oneshot::Sender<Reply>,
}

impl Replies {
    pub(crate) fn asked(&mut self, ticket: u64, reply: oneshot::Sender<Reply>) {
        self.open.insert(ticket, reply);
    }

    /// How many requests were decided since this was asked last.
    pub(crate) fn answered(&mut self) -> usize {
        std::mem::take(&mut self.answered)
    }

    pub(crate) fn reads(&mut self, ticket: u64, reply: oneshot::Sender<View>) {
        self.readers.insert(ticket, reply);
    }

    pub(crate) fn reader(&mut self, ticket: u64) -> Option<oneshot::Sender<View>> {
        self.readers.remove(&ticket)
    }

    /// Shows this moment to those who wait under these tickets.
    pub(crate) fn show(&mut self, tickets: Vec<u64>, view: impl Fn() -> View) {
        for reader in tickets.into_iter().filter_map(|ticket| self.readers.remove(&ticket)) {
            // The reader may have gone away meanwhile.
            let _ = reader.send(view());
        }
    }

    /// Somebody wants the digest of the ledger at an index, or where it is now.
    pub(crate) fn compares(&mut self, index: Option<u64>, reply: oneshot::Sender<DigestAt>) {
        self.comparers.push((index, reply));
    }

    /// A turn is over: answers those who compare.
    pub(crate) fn turned(&mut self, cast: &Cast) {
        self.came.clear();
        for (index, reply) in self.comparers.drain(..) {
            let applied = cast.status().applied;
            let at = index.unwrap_or(applied);
            let digest = if at <= applied { cast.digest_at(at) } else { None };
            // The asker may have gone away meanwhile.
            let _ = reply.send(DigestAt { applied, digest });
        }
    }

    /// Somebody waits for the end of a job. Nobody is answered about a job that the ledger does not hold (any more).
    pub(crate) fn awaits(
        &mut self,
        job: JobId,
        reply: oneshot::Sender<Held>,
        ledger: &Ledger,
        members: &Arc<Vec<Member>>,
    ) {
        match ledger.job(job) {
            Some(ended) if ended.state.is_terminal() => {
                // The asker may have gone away meanwhile; so below.
                let _ = reply.send(held(&ended, members));
            }
            Some(_) => self.endings.entry(job).or_default().push(reply),
            None => {}
        }
    }

    /// A request is decided. A job is shown as this node's ledger holds it, once it does.
    pub(crate) fn decided(&mut self, ticket: u64, told: Told, ledger: &Ledger, members: &Arc<Vec<Member>>) {
        let Some(reply) = self.open.remove(&ticket) else { return };
        self.answered += 1;
        let Told::Answer(Answer::Accepted { job: id, .. }) = &told else {
            let _ = reply.send(Reply { told, held: None });
            return;
        };
        match self.came.remove(id).or_else(|| ledger.job(*id)) {
            Some(job) => {
                let _ = reply.send(Reply { told, held: Some(held(&job, members)) });
            }
            // What was made before may be history by now: whoever asked looks there.
            None if matches!(told, Told::Answer(Answer::Accepted { replayed: true, .. })) => {
                let _ = reply.send(Reply { told, held: None });
            }
            None => {
                let since = Instant::now();
                self.unapplied.entry(*id).or_default().push(Unapplied { since, told, reply });
            }
        }
    }

    /// The ledger took in a job, or changed it.
    pub(crate) fn changed(&mut self, job: &Arc<Job>, members: &Arc<Vec<Member>>) {
        if !self.unapplied.is_empty() {
            for Unapplied { told, reply, .. } in self.unapplied.remove(&job.id).unwrap_or_default() {
                let _ = reply.send(Reply { told, held: Some(held(job, members)) });
            }
        }
        if job.attempts.is_empty() || self.came.contains_key(&job.id) {
            self.came.insert(job.id, Arc::clone(job));
        }
        if job.state.is_terminal() && !self.endings.is_empty() {
            for reply in self.endings.remove(&job.id).unwrap_or_default() {
                let _ = reply.send(held(job, members));
            }
        }
    }

    /// The ledger went on in one step: whoever waits for a job is answered by what it is now. A job that has left the
    /// ledger meanwhile is answered without.
    pub(crate) fn look_again(&mut self, ledger: &Ledger, members: &Arc<Vec<Member>>) {
        self.came.clear();
        let waited: Vec<JobId> = self.unapplied.keys().chain(self.endings.keys()).copied().collect();
        for id in waited {
            match ledger.job(id) {
                Some(job) => self.changed(&job, members),
                None => drop(self.endings.remove(&id)),
            }
        }
    }

    /// Answers who has waited too long for this node's own ledger, and forgets who is gone. For once a second.
    pub(crate) fn sweep(&mut self) {
        self.endings.retain(|_, waiting| {
            waiting.retain(|reply| !reply.is_closed());
            !waiting.is_empty()
        });
        let late = |waiting: &Vec<Unapplied>| waiting.iter().any(|one| one.since.elapsed() >= APPLY_PATIENCE);
        let over: Vec<JobId> =
            self.unapplied.iter().filter(|(_, waiting)| late(waiting)).map(|(job, _)| *job).collect();
        for job in over {
            for Unapplied { told, reply, .. } in self.unapplied.remove(&job).unwrap_or_default() {
                let _ = reply.send(Reply { told, held: None });
            }
        }
    }

    /// Drops them all: the node falls silent.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn held(job: &Arc<Job>, members: &Arc<Vec<Member>>) -> Held {
    Held { job: Arc::clone(job), members: Arc::clone(members) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Boot, Change, Command, Entry, NodeId, Origin, Outcome, submit};

    fn apply(ledger: &mut Ledger, commands: Vec<Command>) {
        let index = ledger.applied() + 1;
        ledger.apply(index, &Entry { clock_ms: index, wall_ms: index, term: 1, commands });
    }

    fn accept(ledger: &mut Ledger, job: JobId) {
        let origin = Origin { gateway: NodeId(1), boot: Boot(1), number: 1, floor: 1 };
        let spec = Arc::new(submit::defaults("echo"));
        apply(ledger, vec![Command::Submit { job, spec, key: None, fingerprint: [0; 32], origin }]);
    }

    fn open() -> Ledger {
        let mut ledger = Ledger::new();
        let at = String::from("127.0.0.1:1");
        let (http, link, broker) = (at.clone(), at.clone(), at);
        let me =
            Member { id: NodeId(1), number: 0, boot: Boot(1), name: String::from("n1"), http, link, broker };
        let changes = [Change::Member(me), Change::Open];
        apply(&mut ledger, changes.into_iter().map(Command::Configure).collect());
        ledger
    }

    #[test]
    fn an_answer_that_is_ahead_of_the_own_ledger_waits_for_it() {
        let (mut replies, mut ledger, members) = (Replies::default(), open(), Arc::default());
        let job = JobId(7);
        let (reply, mut told) = oneshot::channel();
        replies.asked(1, reply);
        replies.decided(1, Told::Answer(Answer::Accepted { job, replayed: false }), &ledger, &members);
        assert!(told.try_recv().is_err(), "nothing may be shown that is not applied here");
        accept(&mut ledger, job);
        replies.changed(&ledger.job(job).unwrap(), &members);
        let reply = told.try_recv().unwrap();
        assert_eq!(reply.held.map(|held| held.job.rev), ledger.job(job).map(|job| job.rev));
    }

    #[test]
    fn an_answer_shows_the_job_as_the_turn_left_it() {
        let (mut replies, mut ledger, members) = (Replies::default(), open(), Arc::default());
        let job = JobId(7);
        let (reply, mut told) = oneshot::channel();
        replies.asked(1, reply);
        accept(&mut ledger, job);
        replies.changed(&ledger.job(job).unwrap(), &members);
        apply(&mut ledger, vec![Command::Assign { job, attempt: 1, node: NodeId(1), boot: Boot(1) }]);
        replies.changed(&ledger.job(job).unwrap(), &members);
        replies.decided(1, Told::Answer(Answer::Accepted { job, replayed: false }), &ledger, &members);
        let held = told.try_recv().unwrap().held.unwrap();
        assert_eq!((held.job.attempts.len(), held.job.rev), (1, ledger.job(job).unwrap().rev));
        assert!(replies.came.is_empty());
    }

    #[test]
    fn who_waits_for_an_end_hears_it_once_whether_it_was_before_or_comes_after() {
        let (mut replies, mut ledger, members) = (Replies::default(), open(), Arc::default());
        let job = JobId(7);
        accept(&mut ledger, job);
        let (reply, mut before) = oneshot::channel();
        replies.awaits(job, reply, &ledger, &members);
        replies.changed(&ledger.job(job).unwrap(), &members);
        assert!(before.try_recv().is_err(), "it has not ended");
        apply(&mut ledger, vec![Command::Assign { job, attempt: 1, node: NodeId(1), boot: Boot(1) }]);
        let outcome = Arc::new(Outcome::success(bytes::Bytes::new()));
        apply(&mut ledger, vec![Command::Finish { job, attempt: 1, node: NodeId(1), outcome }]);
        replies.changed(&ledger.job(job).unwrap(), &members);
        assert!(before.try_recv().unwrap().job.state.is_terminal());
        let (reply, mut after) = oneshot::channel();
        replies.awaits(job, reply, &ledger, &members);
        assert!(after.try_recv().unwrap().job.state.is_terminal());
    }

    #[test]
    fn who_went_away_is_forgotten() {
        let (mut replies, mut ledger, members) = (Replies::default(), open(), Arc::default());
        let (reply, unknown) = oneshot::channel();
        replies.awaits(JobId(9), reply, &ledger, &members);
        assert!(unknown.blocking_recv().is_err(), "nobody waits for what is not there");
        accept(&mut ledger, JobId(9));
        let (reply, told) = oneshot::channel();
        replies.awaits(JobId(9), reply, &ledger, &members);
        replies.sweep();
        assert_eq!(replies.endings.len(), 1);
        drop(told);
        replies.sweep();
        assert!(replies.endings.is_empty());
    }
}
