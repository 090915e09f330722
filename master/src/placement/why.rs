//! The explanation of a choice, for people: what [`hurdles`] finds, in words. It is made from the ledger and the roster that
//! the leader tells every node, so any node can explain. (The leader alone also counts what it sent since a worker's last
//! report, a matter of 250 ms.)

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::sentence;
use super::{Hurdle, Policy, RunsJobs, Seat, choose, hurdles, others_could, score};
use crate::ledger::Ledger;
use crate::reserved::Reserved;
use crate::roster::{attached_free, pools_free};
use crate::shares::held_back;
use protocol::{Job, JobSpec, JobState, NodeId, NodeLoad};

/// The nodes, as the one who explains knows them.
#[derive(Clone, Copy)]
pub struct Cluster<'a> {
    /// As the leader last told it.
    pub roster: &'a [NodeLoad],
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Whether the leader runs jobs itself.
    pub runs_jobs: RunsJobs,
    /// How it hands them to workers.
    pub policy: Policy,
    /// What people call a node.
    pub name: &'a dyn Fn(NodeId) -> String,
}

impl core::fmt::Debug for Cluster<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cluster").field("roster", &self.roster).field("leader", &self.leader).finish()
    }
}

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Where it stands.
    pub state: JobState,
    /// One sentence.
    pub text: String,
    /// The node it runs on, or would get now.
    pub chosen: Option<NodeId>,
    /// Every node of the roster.
    pub nodes: Vec<Verdict>,
}

/// One node, judged for one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub node: NodeId,
    /// Whether it could take the job now; of a job that runs, whether it could do so beside the others.
    pub fits: bool,
    /// What keeps it from that; one line when it fits.
    pub reasons: Vec<ReasonLine>,
    /// How busy it is, per mille, all kinds added; the lowest is chosen.
    pub score: u64,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonLine {
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// One node with what keeps it from a job.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub(super) node: &'a NodeLoad,
    pub(super) hurdles: Vec<Hurdle<'a>>,
    pub(super) score: u64,
}

/// Explains a job. `wall_ms` is milliseconds since 1970.
#[must_use]
pub fn why(job: &Job, ledger: &Ledger, cluster: &Cluster<'_>, wall_ms: u64) -> Why {
    let spec = &job.spec;
    let others = others_could(spec, cluster.roster.iter(), cluster.leader);
    let held: Vec<Held> = cluster.roster.iter().map(|node| Held::on(node, ledger, job)).collect();
    let seats: Vec<Seat<'_>> =
        cluster.roster.iter().zip(&held).map(|(node, held)| held.seat(node, cluster.leader)).collect();
    let judged: Vec<Judged<'_>> = seats
        .iter()
        .map(|seat| {
            let mut found = Vec::new();
            hurdles(spec, seat, cluster.runs_jobs, others, |hurdle| found.push(hurdle));
            Judged { node: seat.node, hurdles: found, score: score(seat) }
        })
        .collect();
    let held_back = held_back(ledger, job);
    let chosen = match job.state {
        _ if held_back.is_some() => None,
        JobState::Running => job.current().map(|attempt| attempt.node),
        JobState::Queued if cluster.leader.is_some() => {
            let rules = (cluster.runs_jobs, cluster.policy);
            choose(spec, seats.iter().copied(), rules, others, NodeId(0)).map(|(node, _)| node)
        }
        _ => None,
    };
    let text = match (job.state, chosen) {
        (JobState::Queued, _) if let Some(text) = held_back => text,
        (JobState::Running, Some(node)) => sentence::runs(job, node, &judged, cluster),
        (JobState::Queued, Some(node)) => {
            format!("could start on {} now, and waits for its turn", (cluster.name)(node))
        }
        (JobState::Queued, None) if cluster.leader.is_none() => {
            "waits: the cluster has no leader now".to_string()
        }
        (JobState::Queued, None) => format!("waits: {}", sentence::waits(spec, &judged, cluster)),
        (JobState::Scheduled, _) => sentence::pauses(job, wall_ms),
        (JobState::Blocked, _) => "waits for other jobs".to_string(),
        (JobState::Failed, _) => {
            format!("has failed: {}", job.reason.map_or("unknown", |reason| reason.word()))
        }
        (state, _) => format!("is {}", state.word()),
    };
    let runs_on = chosen.filter(|_| job.state == JobState::Running);
    let nodes = judged.iter().map(|judged| verdict(judged, runs_on)).collect();
    Why { state: job.state, text, chosen, nodes }
}

/// What a user should know who submits a job that no present node could ever run, whatever else goes on.
#[must_use]
pub fn warning(spec: &JobSpec, cluster: &Cluster<'_>) -> Option<String> {
    let reason = sentence::out_of_reach(spec, cluster)?;
    Some(format!("no present node could ever run this job: {reason}"))
}

fn verdict(judged: &Judged<'_>, runs_on: Option<NodeId>) -> Verdict {
    let Judged { node, hurdles, score } = judged;
    let mut reasons: Vec<ReasonLine> = hurdles.iter().map(Hurdle::line).collect();
    let fits = reasons.is_empty();
    if runs_on == Some(node.id) {
        reasons = vec![ReasonLine { code: "runs", text: "runs it".to_string() }];
    } else if fits {
        reasons.push(ReasonLine { code: "fits", text: format!("could take it, score {score}") });
    }
    Verdict { node: node.id, fits: fits || runs_on == Some(node.id), reasons, score: *score }
}

/// What the attempts on a node hold, without those of the job that is asked about.
struct Held {
    reserved: Reserved,
    attached_free: bool,
    own_used: u32,
}

impl Held {
    fn on(node: &NodeLoad, ledger: &Ledger, job: &Job) -> Self {
        let (mut reserved, mut classes, mut own_used) = (Reserved::default(), Vec::new(), node.running);
        for (attempt, _) in ledger.attempts_on(node.id) {
            let Some(terms) = ledger.terms(attempt.job) else { continue };
            if attempt.job == job.id {
                own_used = own_used.saturating_sub(1);
                continue;
            }
            reserved.take(Some(terms));
            classes.push(terms.class.as_str());
        }
        let attached_free = match &job.spec.more.recodex {
            Some(asked) => pools_free(&node.offer, asked, classes.iter().copied()),
            None => attached_free(&node.offer, &job.spec.class, classes.iter().copied()),
        };
        // What the leader counts itself is exact; it cannot say which of it attached workers have.
        if node.offer.all_attached() > 0 {
            own_used = node.offer.own_slots_in_use(classes.into_iter());
        }
        Self { reserved, attached_free, own_used }
    }

    fn seat<'a>(&'a self, node: &'a NodeLoad, leader: Option<NodeId>) -> Seat<'a> {
        Seat {
            node,
            attached_free: self.attached_free,
            own_slots: node.offer.slots,
            own_used: self.own_used,
            sent: 0,
            reserved: &self.reserved,
            leads: Some(node.id) == leader,
        }
    }
}

impl Hurdle<'_> {
    pub(super) fn line(&self) -> ReasonLine {
        let (code, text) = match self {
            Self::Silent => ("silent", "has not been heard within the liveness".to_string()),
            Self::Draining => ("draining", "takes no new jobs".to_string()),
            Self::Unknown => ("unknown", "has not said yet what it has".to_string()),
            Self::Class(class) => ("class", format!("does not serve class {class}")),
            Self::Requires { name, wanted: "*" } => ("requires", format!("does not carry any header {name}")),
            Self::Requires { name, wanted } => {
                ("requires", format!("does not carry the header {name}={wanted}"))
            }
            Self::NoSlots => ("slots", "has no slots".to_string()),
            Self::Slots { used, of } => ("slots", format!("{used} of {of} slots are in use")),
            Self::Attached { of: 1 } => ("slots", "the attached worker of its class is busy".to_string()),
            Self::Attached { of } => ("slots", format!("all {of} attached workers of its class are busy")),
            Self::Short(short) => (short.what.code(), short.text()),
            Self::Headers => ("requires", "no worker attached to it has the headers it asks for".to_string()),
            Self::Leads => ("master", "leads, and leaves jobs to the others".to_string()),
        };
        ReasonLine { code, text }
    }
}
