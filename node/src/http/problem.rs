//! Errors as users see them: what only a node has to tell; the rest is every container's.

use master::Ledger;
use protocol::submit::FieldError;
use protocol::{JobId, Refusal};

use crate::archive::ArchiveError;

pub(super) use logdb::door::{Kind, Problem};

/// Faults of a submission: too large when that is all that is wrong.
pub(super) fn submission(errors: Vec<FieldError>) -> Problem {
    let only_size = errors.iter().all(|e| e.field == "payload" && e.limit.is_some());
    Problem::fields(if only_size { Kind::TooLarge } else { Kind::Invalid }, errors)
}

/// It may or may not become true.
pub(super) fn outcome_unknown(id: Option<JobId>) -> Problem {
    let detail = match id {
        Some(_) => {
            "the request may have been accepted: ask for this id, or repeat it with the same Idempotency-Key"
        }
        None => "the request may have been carried out: look, or repeat it",
    };
    Problem::new(Kind::OutcomeUnknown, detail).about(id)
}

/// This node's soft crash.
pub(super) fn stopped() -> Problem {
    Problem::stopped("node")
}

/// History cannot be read.
pub(super) fn history(error: &ArchiveError) -> Problem {
    Problem::new(Kind::Broken, error.to_string())
}

/// This node does not have all of history yet. To whoever asks for what it does not find here it is as one that is away: another
/// node answers.
pub(super) fn incomplete() -> Problem {
    out("this node does not know the job, and is still fetching history from the others; ask one of them")
}

/// No such job is known; where jobs of its time are past their retention, it may have been one of them.
pub(super) fn unknown_job(ledger: &Ledger, id: JobId) -> Problem {
    let made_ms = (id.0 >> 80) as u64;
    let forgotten = ledger.forgotten();
    if forgotten.upto > 0 && made_ms <= forgotten.wall_ms {
        let detail = "jobs of that time are past their retention: nothing is known of them any more";
        return Problem::new(Kind::Forgotten, detail);
    }
    Problem::new(Kind::NotFound, "no such job is known")
}

/// This node takes no part, for its disk failed. To whoever asks it is as one that is stopped: another node answers.
pub(super) fn out(why: impl Into<String>) -> Problem {
    Problem::new(Kind::Stopped, why)
}

/// The leader said no.
pub(super) fn refused(refusal: Refusal, id: Option<JobId>) -> Problem {
    let problem = Problem::new;
    match refusal {
        Refusal::NotLeader | Refusal::Stale => {
            problem(Kind::NoQuorum, "no leader took the request").not_accepted()
        }
        Refusal::Starting => {
            let detail = "too few voters have been in sync yet; writes open when they are";
            problem(Kind::Starting, detail).not_accepted()
        }
        Refusal::Full => problem(Kind::Full, "the queue is at its bound; try again later").not_accepted(),
        Refusal::Short(what) => problem(Kind::Full, &what).not_accepted(),
        Refusal::KeyReused { job } => {
            let detail = "this Idempotency-Key made another job from another request";
            problem(Kind::KeyReused, detail).about(Some(job))
        }
        Refusal::NameTaken { name } => {
            Problem::new(Kind::NameTaken, format!("a live node already bears the name {name:?}"))
        }
        Refusal::NotFound => problem(Kind::NotFound, "no such job is known").about(id),
        Refusal::Ended { job } => problem(Kind::Ended, "the job has ended already").about(Some(job)),
        Refusal::Impossible(why) => Problem::new(Kind::Invalid, why),
        // An evaluation of before, submitted again by hand.
        Refusal::NoWorker => {
            Problem::new(Kind::Invalid, "no worker of ReCodEx that is there has the headers it asks for")
        }
        Refusal::Frozen => Problem::new(Kind::NoQuorum, "no evaluations are taken now").not_accepted(),
        Refusal::Withdrawn => Problem::new(Kind::NoQuorum, "it was taken back").not_accepted(),
        Refusal::NotNow(why) => Problem::new(Kind::NoQuorum, why).not_accepted(),
    }
}
