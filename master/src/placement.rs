//! Who gets a job, and why.
//!
//! **Wishes.** A job goes only to a node that
//! 1. is alive: heard within the liveness, in the start the ledger knows of it;
//! 2. is not draining;
//! 3. serves its class, itself or by a worker attached to it;
//! 4. carries what it requires, in one of the forms of [`protocol::requires`];
//! 5. has a free slot, or a free attached worker of its class (or, where no node has one, ends attempts of its class so fast
//!    that a spare one may wait there: `pace`);
//! 6. has the reserved processor time, memory and resources left, after what its other attempts have reserved;
//! 7. is not the leader, unless the leader runs jobs: always, never, or (auto) only where no other node could ever. (A worker
//!    attached to the leader costs it nothing, so it takes jobs like any other.)
//!
//! **The rule.** Among those the one with the lowest score: processor use, half of its memory use, its slots in use (so
//! that a burst spreads before any load shows), and a core for each attempt its last report did not hold yet; all per
//! mille of what it has; and a part of the time in which something waited there for a processor or for memory. Ties: fewest attempts, then the next node after the last chosen one, in the order of ids.
//!
//! **Policies.** That is `single`. With `multi` each worker has a queue of its own (what is sent ahead of its slots, up to
//! [`crate::limits::SPARES`] of a class), and a job goes at once to the next worker in turn whose queue has room, however
//! busy; it is not asked back. What a job reserves counts from then on, so what reserves much waits in the leader's queue all
//! the same: no node is ever over its capacity.
//!
//! The choice and its explanation are one function: [`hurdles`] names what keeps a node from a job, in the order above;
//! [`why`] only puts it into words.

mod sentence;
mod why;

use crate::limits::{CPU_PRESSURE_PERMILLE, MEMORY_PRESSURE_PERMILLE, SENT_CPU_MILLI, SLOTS_PERMILLE};
use crate::reserved::Reserved;
use protocol::recodex::pool_class;
use protocol::requires::satisfies;
use protocol::{Chosen, JobSpec, NodeId, NodeLoad, Offer};

pub use why::{Cluster, ReasonLine, Verdict, Why, warning, why};

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

/// How the leader hands jobs to workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One queue: a job waits in it until a worker has room, and then goes to the least busy one.
    #[default]
    Single,
    /// A queue for each worker: a job goes at once to the next one in turn that could run it, waits there, and is given to
    /// another only when that one is lost.
    Multi,
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
    /// Reserved by the attempts it holds.
    pub(crate) reserved: &'a Reserved,
    pub(crate) leads: bool,
}

/// What keeps a node from a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurdle<'a> {
    Silent,
    Draining,
    /// It has not said yet what it has.
    Unknown,
    Class(&'a str),
    Requires {
        name: &'a str,
        wanted: &'a str,
    },
    /// It runs nothing itself, and no worker of the class is attached to it.
    NoSlots,
    /// It is asked for more than it has, or than is left of it.
    Short(Shortage<'a>),
    Slots {
        used: u32,
        of: u32,
    },
    Attached {
        of: u32,
    },
    /// No worker of ReCodEx here has the headers it asks for.
    Headers,
    Leads,
}

/// Too little of something that attempts reserve. In thousandths, or in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage<'a> {
    pub(crate) what: Stuff<'a>,
    pub(crate) wanted: u64,
    pub(crate) left: u64,
    pub(crate) of: u64,
}

/// What attempts reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stuff<'a> {
    Cpu,
    Memory,
    Resource(&'a str),
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
    if !node.has_spoken() {
        found(Hurdle::Unknown);
    }
    suits(spec, &node.offer, &mut found);
    if !seat.attached_free {
        slots(spec, seat, &mut found);
    }
    for (what, wanted, of) in wishes(spec, node) {
        let left = of.saturating_sub(seat.reserved.of(what));
        if wanted > left {
            found(Hurdle::Short(Shortage { what, wanted, left, of }));
        }
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
    if let Some(asked) = &spec.more.recodex {
        let of = offer.pools_for(asked).iter().map(|number| offer.attached_to(&pool_class(*number))).sum();
        found(Hurdle::Attached { of });
        return;
    }
    let attached = offer.attached_to(&spec.class);
    if !offer.runs_itself(&spec.class) && attached > 0 {
        found(Hurdle::Attached { of: attached });
    } else if offer.slots > 0 && seat.own_used >= seat.own_slots {
        found(Hurdle::Slots { used: seat.own_used.min(offer.slots), of: offer.slots });
    }
}

/// The hurdles that do not pass by themselves: class, required headers, and no place at all.
fn suits<'a>(spec: &'a JobSpec, offer: &Offer, found: &mut impl FnMut(Hurdle<'a>)) {
    if spec.more.recodex.is_some() {
        if offer.pools.is_empty() {
            found(Hurdle::Class(&spec.class));
        } else if !offer.suits(spec) {
            found(Hurdle::Headers);
        }
        return;
    }
    if !offer.serves(&spec.class) {
        found(Hurdle::Class(&spec.class));
    }
    for (name, wanted) in &spec.requires {
        if !carries(offer, name, wanted) {
            found(Hurdle::Requires { name, wanted });
        }
    }
    if offer.slots == 0 && offer.attached_to(&spec.class) == 0 {
        found(Hurdle::NoSlots);
    }
}

/// Whether a node carries a required header.
fn carries(offer: &Offer, name: &str, wanted: &str) -> bool {
    offer.headers.get(name).is_some_and(|values| satisfies(wanted, values))
}

/// All that a job reserves: what, how much of it, and how much the node has.
fn wishes<'a>(spec: &'a JobSpec, node: &NodeLoad) -> impl Iterator<Item = (Stuff<'a>, u64, u64)> {
    let cpu = (Stuff::Cpu, u64::from(spec.cpu_milli), u64::from(node.load.cpu_total_milli));
    let memory = (Stuff::Memory, spec.memory_bytes, node.load.memory_total_bytes);
    let resources = spec
        .more
        .resources
        .iter()
        .map(|(name, milli)| (Stuff::Resource(name.as_str()), *milli, node.offer.resource_milli(name)));
    [cpu, memory].into_iter().chain(resources)
}

/// Whether this node, were it idle, could run the job.
pub(crate) fn could_ever(spec: &JobSpec, node: &NodeLoad) -> bool {
    let mut suited = true;
    suits(spec, &node.offer, &mut |_| suited = false);
    suited && wishes(spec, node).all(|(_, wanted, of)| wanted <= of)
}

/// Whether any node but the leader could ever run the job: present, and not about to leave.
pub(crate) fn others_could<'a>(
    spec: &JobSpec,
    mut nodes: impl Iterator<Item = &'a NodeLoad>,
    leader: Option<NodeId>,
) -> bool {
    nodes.any(|n| Some(n.id) != leader && n.alive && !n.offer.draining && could_ever(spec, n))
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
    let pressure = u64::from(load.cpu_pressure_permille) * CPU_PRESSURE_PERMILLE / 1_000
        + u64::from(load.memory_pressure_permille) * MEMORY_PRESSURE_PERMILLE / 1_000;
    cpu + memory + slots + pressure
}

/// Chooses the seat for a job, and says by what. `last` is the node chosen last.
pub(crate) fn choose<'a>(
    spec: &JobSpec,
    seats: impl Iterator<Item = Seat<'a>>,
    (runs_jobs, policy): (RunsJobs, Policy),
    others_could: bool,
    last: NodeId,
) -> Option<(NodeId, Chosen)> {
    let mut of = 0;
    let fitting = seats.filter(|seat| {
        let mut fits = true;
        hurdles(spec, seat, runs_jobs, others_could, |_| fits = false);
        of += u32::from(fits);
        fits
    });
    let rank = |seat: &Seat<'_>| {
        let busy = match policy {
            Policy::Single => (score(seat), seat.node.running),
            Policy::Multi => (0, 0),
        };
        (busy, seat.node.id <= last, seat.node.id)
    };
    let seat = fitting.min_by_key(rank)?;
    let why = if of == 1 { Chosen::Only } else { Chosen::Least { of, score: score(&seat) } };
    Some((seat.node.id, why))
}
