//! Who gets a job, and why.
//!
//! **Wishes.** A job goes only to a node that
//! 1. is alive: heard within the liveness, in the start the ledger knows of it;
//! 2. is not draining;
//! 3. serves its class, itself or by a worker attached to it;
//! 4. carries what it requires: an equal header value, one of `a|b`, `*` for any value at all, and for numbers at
//!    least: `4` or `>=4` (`>=` asks for numbers, a plain number also matches the same text);
//! 5. has a free slot, or a free attached worker of its class (or, where no node has one, ends attempts of its class so fast
//!    that a spare one may wait there: `pace`);
//! 6. has the reserved processor time and memory left, after what its other attempts have reserved;
//! 7. is not the leader, unless the leader runs jobs: always, never, or (auto) only where no other node could ever. (A worker
//!    attached to the leader costs it nothing, so it takes jobs like any other.)
//!
//! **The rule.** Among those the one with the lowest score: processor use, half of its memory use, its slots in use (so
//! that a burst spreads before any load shows), and a core for each attempt its last report did not hold yet; all per
//! mille of what it has. Ties: fewest attempts, then the next node after the last chosen one, in the order of ids.
//!
//! The choice and its explanation are one function: [`hurdles`] names what keeps a node from a job, in the order above.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::limits::{SENT_CPU_MILLI, SLOTS_PERMILLE};
use crate::roster::attached_free;
use crate::shares::held_back;
use protocol::{Job, JobSpec, JobState, NodeId, NodeLoad, Offer};

/// Whether the leader runs jobs itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunsJobs {
    /// Only where no other node could ever take the job.
    #[default]
    Auto,
    /// Like any node.
    Always,
    /// Not at all.
    Never,
}

/// A place a job might get: a node, with what only the leader knows about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) node: &'a NodeLoad,
    /// A worker of the job's class is attached there and free.
    pub(crate) attached_free: bool,
    /// Slots of its own, with those attempts that may be sent ahead of them.
    pub(crate) own_slots: u32,
    /// Attempts that take a slot of its own, or wait for one.
    pub(crate) own_used: u32,
    /// Attempts it shall run that its last report did not hold yet.
    pub(crate) sent: u32,
    /// Reserved by the attempts it holds, thousandths of a core.
    pub(crate) reserved_cpu_milli: u64,
    /// Reserved by the attempts it holds.
    pub(crate) reserved_memory_bytes: u64,
    pub(crate) leads: bool,
}

/// What keeps a node from a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hurdle<'a> {
    Silent,
    Draining,
    Class(&'a str),
    Requires { name: &'a str, wanted: &'a str },
    Slots { used: u32, of: u32 },
    Attached { of: u32 },
    Cpu { wanted_milli: u64, left_milli: u64 },
    Memory { wanted_bytes: u64, left_bytes: u64 },
    Leads,
}

/// Names every hurdle between a job and a seat, in the order of the wishes; `others_could` says whether any other node
/// could ever run it (the leader's own seat asks).
pub(crate) fn hurdles<'a>(
    spec: &'a JobSpec,
    seat: &Seat<'_>,
    runs_jobs: RunsJobs,
    others_could: bool,
    mut found: impl FnMut(Hurdle<'a>),
) {
    let node = seat.node;
    if !node.alive {
        found(Hurdle::Silent);
    }
    if node.offer.draining {
        found(Hurdle::Draining);
    }
    suits(spec, &node.offer, &mut found);
    if !seat.attached_free {
        slots(spec, seat, &mut found);
    }
    let left_milli = u64::from(node.load.cpu_total_milli).saturating_sub(seat.reserved_cpu_milli);
    if u64::from(spec.cpu_milli) > left_milli {
        found(Hurdle::Cpu { wanted_milli: u64::from(spec.cpu_milli), left_milli });
    }
    let left_bytes = node.load.memory_total_bytes.saturating_sub(seat.reserved_memory_bytes);
    if spec.memory_bytes > left_bytes {
        found(Hurdle::Memory { wanted_bytes: spec.memory_bytes, left_bytes });
    }
    let barred = match runs_jobs {
        RunsJobs::Always => false,
        RunsJobs::Auto => others_could,
        RunsJobs::Never => true,
    };
    if seat.leads && barred && !seat.attached_free {
        found(Hurdle::Leads);
    }
}

/// No attached worker is free: is a slot of the node's own, for a class it runs itself?
fn slots<'a>(spec: &JobSpec, seat: &Seat<'_>, found: &mut impl FnMut(Hurdle<'a>)) {
    let offer = &seat.node.offer;
    let attached = offer.attached_to(&spec.class);
    if !offer.runs_itself(&spec.class) && attached > 0 {
        found(Hurdle::Attached { of: attached });
    } else if seat.own_used >= seat.own_slots {
        found(Hurdle::Slots { used: seat.own_used.min(offer.slots), of: offer.slots });
    }
}

/// The hurdles that do not pass by themselves: class and required headers.
fn suits<'a>(spec: &'a JobSpec, offer: &Offer, found: &mut impl FnMut(Hurdle<'a>)) {
    if !offer.serves(&spec.class) {
        found(Hurdle::Class(&spec.class));
    }
    let nothing = BTreeSet::new();
    for (name, wanted) in &spec.requires {
        if !satisfies(wanted, offer.headers.get(name).unwrap_or(&nothing)) {
            found(Hurdle::Requires { name, wanted });
        }
    }
}

/// Whether this node, were it idle, could run the job.
pub(crate) fn could_ever(spec: &JobSpec, node: &NodeLoad) -> bool {
    let mut suited = true;
    suits(spec, &node.offer, &mut |_| suited = false);
    let place = node.offer.slots > 0 || node.offer.attached_to(&spec.class) > 0;
    suited
        && place
        && spec.cpu_milli <= node.load.cpu_total_milli
        && spec.memory_bytes <= node.load.memory_total_bytes
}

/// Whether any node but the leader could ever run the job: present, and not about to leave.
pub(crate) fn others_could<'a>(
    spec: &JobSpec,
    mut nodes: impl Iterator<Item = &'a NodeLoad>,
    leader: Option<NodeId>,
) -> bool {
    nodes.any(|n| Some(n.id) != leader && n.alive && !n.offer.draining && could_ever(spec, n))
}

fn satisfies(wanted: &str, has: &BTreeSet<String>) -> bool {
    if wanted == "*" {
        return !has.is_empty();
    }
    wanted.split('|').map(str::trim).any(|one| {
        let least = one.strip_prefix(">=").map(str::trim);
        let least = least.unwrap_or(one).parse::<u64>().ok();
        let enough =
            |value: &String| least.is_some_and(|least| value.parse::<u64>().is_ok_and(|v| v >= least));
        has.contains(one) || has.iter().any(enough)
    })
}

/// How busy a seat is, per mille of what it has, all kinds added: the lowest gets the job.
pub(crate) fn score(seat: &Seat<'_>) -> u64 {
    let load = &seat.node.load;
    let per_mille = |used: u64, total: u64| used.saturating_mul(1_000).checked_div(total).unwrap_or(0);
    let sent_milli = u64::from(seat.sent) * SENT_CPU_MILLI;
    let cpu = per_mille(u64::from(load.cpu_used_milli) + sent_milli, u64::from(load.cpu_total_milli));
    let memory = per_mille(load.memory_used_bytes, load.memory_total_bytes) / 2;
    let slots =
        per_mille(u64::from(seat.own_used), u64::from(seat.node.offer.slots)) * SLOTS_PERMILLE / 1_000;
    cpu + memory + slots
}

/// Chooses the seat for a job. `last` is the node chosen last.
pub(crate) fn choose<'a>(
    spec: &JobSpec,
    seats: impl Iterator<Item = Seat<'a>>,
    runs_jobs: RunsJobs,
    others_could: bool,
    last: NodeId,
) -> Option<NodeId> {
    let fitting = seats.filter(|seat| {
        let mut fits = true;
        hurdles(spec, seat, runs_jobs, others_could, |_| fits = false);
        fits
    });
    let rank = |seat: &Seat<'_>| (score(seat), seat.node.running, seat.node.id <= last, seat.node.id);
    fitting.min_by_key(rank).map(|seat| seat.node.id)
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
    /// Whether it could take the job now.
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

/// Explains a job by the very function that places it, on any node that has the leader's roster. (The leader alone also
/// counts what it sent since a worker's last report, a matter of 250 ms.)
#[must_use]
pub fn why(
    job: &Job,
    roster: &[NodeLoad],
    ledger: &Ledger,
    leader: Option<NodeId>,
    runs_jobs: RunsJobs,
) -> Why {
    let others = others_could(&job.spec, roster.iter(), leader);
    let seats: Vec<Seat<'_>> =
        roster.iter().map(|node| seat_of(node, ledger, leader, &job.spec.class)).collect();
    let nodes: Vec<Verdict> = seats.iter().map(|seat| judged(&job.spec, seat, runs_jobs, others)).collect();
    let chosen = match job.state {
        JobState::Running => job.current().map(|attempt| attempt.node),
        JobState::Queued if held_back(ledger, job).is_some() => None,
        JobState::Queued => choose(&job.spec, seats.iter().copied(), runs_jobs, others, NodeId(0)),
        _ => None,
    };
    Why { state: job.state, text: sentence(job, roster, ledger, chosen), chosen, nodes }
}

fn seat_of<'a>(node: &'a NodeLoad, ledger: &Ledger, leader: Option<NodeId>, class: &str) -> Seat<'a> {
    let (mut reserved_cpu_milli, mut reserved_memory_bytes) = (0, 0);
    let mut held = Vec::new();
    for (attempt, _) in ledger.attempts_on(node.id) {
        if let Some(terms) = ledger.terms(attempt.job) {
            reserved_cpu_milli += u64::from(terms.cpu_milli);
            reserved_memory_bytes += terms.memory_bytes;
            held.push(terms.class.as_str());
        }
    }
    let leads = Some(node.id) == leader;
    let attached_free = attached_free(&node.offer, class, held.iter().copied());
    // What the leader counts itself is exact; it cannot say which of it attached workers have.
    let own_used = match node.offer.attached.is_empty() {
        true => node.running,
        false => node.offer.own_slots_in_use(held.into_iter()),
    };
    let own_slots = node.offer.slots;
    Seat {
        node,
        attached_free,
        own_slots,
        own_used,
        sent: 0,
        reserved_cpu_milli,
        reserved_memory_bytes,
        leads,
    }
}

fn judged(spec: &JobSpec, seat: &Seat<'_>, runs_jobs: RunsJobs, others_could: bool) -> Verdict {
    let mut reasons = Vec::new();
    hurdles(spec, seat, runs_jobs, others_could, |hurdle| reasons.push(hurdle.line()));
    let (fits, score) = (reasons.is_empty(), score(seat));
    if fits {
        reasons.push(ReasonLine { code: "fits", text: format!("could take it, score {score}") });
    }
    Verdict { node: seat.node.id, fits, reasons, score }
}

impl Hurdle<'_> {
    fn line(&self) -> ReasonLine {
        let (code, text) = match self {
            Self::Silent => ("silent", "has not been heard within the liveness".to_string()),
            Self::Draining => ("draining", "takes no new jobs".to_string()),
            Self::Class(class) => ("class", format!("does not serve class {class}")),
            Self::Requires { name, wanted } => ("requires", format!("has no {name} of {wanted}")),
            Self::Slots { used, of } => ("slots", format!("{used} of {of} slots are in use")),
            Self::Attached { of: 1 } => ("slots", "the attached worker of its class is busy".to_string()),
            Self::Attached { of } => ("slots", format!("all {of} attached workers of its class are busy")),
            Self::Cpu { wanted_milli, left_milli } => {
                ("cpu", format!("{left_milli} thousandths of a core are left, {wanted_milli} are asked for"))
            }
            Self::Memory { wanted_bytes, left_bytes } => {
                ("memory", format!("{left_bytes} bytes are left, {wanted_bytes} are asked for"))
            }
            Self::Leads => ("master", "leads, and leaves jobs to the others".to_string()),
        };
        ReasonLine { code, text }
    }
}

fn sentence(job: &Job, roster: &[NodeLoad], ledger: &Ledger, chosen: Option<NodeId>) -> String {
    if let Some(text) = held_back(ledger, job) {
        return text;
    }
    let name = |id: NodeId| ledger.member(id).map_or_else(|| id.to_string(), |member| member.name.clone());
    let attempt = job.attempts.len();
    match (job.state, chosen) {
        (JobState::Running, Some(node)) => format!("attempt {attempt} runs on {}", name(node)),
        (JobState::Queued, Some(node)) => format!("is about to be given to {}", name(node)),
        (JobState::Queued, None) if roster.iter().any(|n| n.alive && could_ever(&job.spec, n)) => {
            "waits until a node that could run it has room".to_string()
        }
        (JobState::Queued, None) => {
            let served = roster.iter().any(|n| n.alive && n.offer.serves(&job.spec.class));
            if served {
                "waits: no present node has what it requires".to_string()
            } else {
                format!("waits: no present node serves class {}", job.spec.class)
            }
        }
        (JobState::Scheduled, _) => format!("waits for the end of its pause after attempt {attempt}"),
        (JobState::Failed, _) => {
            format!("has failed: {}", job.reason.map_or("unknown", |reason| reason.word()))
        }
        (state, _) => format!("is {}", state.word()),
    }
}
