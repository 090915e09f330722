//! One sentence on where a job stands. Each is true of the roster and the ledger that it was made from.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::why::{Cluster, Judged};
use super::{Hurdle, Policy, RunsJobs, Shortage, Stuff, carries, could_ever, suits, wishes};
use protocol::amount::text_of_milli;
use protocol::recodex::{CLASS, Evaluation};
use protocol::{AttemptState, Chosen, Job, JobSpec, NodeId, NodeLoad};

/// Nodes named in one sentence.
const NAMED: usize = 3;

/// Of a job that runs: what spoke for its node. Which nodes could run it, and how busy they are, is as of now; that the
/// least busy one with room got it is the rule.
pub(super) fn runs(job: &Job, node: NodeId, judged: &[Judged<'_>], cluster: &Cluster<'_>) -> String {
    let name = (cluster.name)(node);
    if judged.iter().any(|one| one.node.id == node && !one.node.alive) {
        return format!("was given to {name}, which has not been heard within the liveness");
    }
    let able: Vec<&Judged<'_>> = judged
        .iter()
        .filter(|one| one.node.id == node || (one.node.alive && could_ever(&job.spec, one.node)))
        .filter(|one| one.node.id == node || !is_barred(one))
        .collect();
    let others: Vec<String> = able
        .iter()
        .filter(|one| one.node.id != node)
        .map(|one| format!("{} {}", (cluster.name)(one.node.id), one.score))
        .collect();
    if others.is_empty() {
        return format!("runs on {name} because it is the only present node that could run it");
    }
    if cluster.policy == Policy::Multi {
        return format!(
            "runs on {name} because it was its turn among the {} nodes that could run it (policy multi)",
            able.len()
        );
    }
    let score = able.iter().find(|one| one.node.id == node).map_or(0, |one| one.score);
    format!(
        "runs on {name} because {} when attempt {} was given out; {} nodes could run it, scores now: {name} {score}, {}",
        spoke_for(job),
        job.attempts.len(),
        able.len(),
        listed(&others)
    )
}

/// What the leader saw that gave the attempt out, where it wrote that down.
fn spoke_for(job: &Job) -> String {
    match job.current().and_then(|attempt| attempt.more.why) {
        None => "it was the least busy of those with room".to_string(),
        Some(Chosen::Only) => "only it had room".to_string(),
        Some(Chosen::Least { of, score }) => {
            format!("it was the least busy of {of} with room, score {score},")
        }
        Some(Chosen::Ahead { .. }) => "none had room, and here it would begin the soonest".to_string(),
        Some(Chosen::Turn { .. }) => "its turn had come".to_string(),
    }
}

/// The leader leaves it to others, whatever room there is.
fn is_barred(judged: &Judged<'_>) -> bool {
    judged.hurdles.contains(&Hurdle::Leads)
}

/// Of a job that waits for a node: what has to happen.
pub(super) fn waits(spec: &JobSpec, judged: &[Judged<'_>], cluster: &Cluster<'_>) -> String {
    if let Some(reason) = out_of_reach(spec, cluster) {
        return reason;
    }
    let able: Vec<&Judged<'_>> = judged
        .iter()
        .filter(|one| one.node.alive && !one.node.offer.draining && could_ever(spec, one.node))
        .filter(|one| !is_barred(one))
        .collect();
    let name = |one: &&Judged<'_>| (cluster.name)(one.node.id);
    if able.is_empty() {
        let unknown = cluster.roster.iter().filter(|node| node.alive && !node.has_spoken());
        let names: Vec<String> = unknown.map(|node| (cluster.name)(node.id)).collect();
        if names.is_empty() {
            return "what the nodes can do has not been heard yet".to_string();
        }
        return format!("no other node could run it, and not heard yet is what {} can do", listed(&names));
    }
    if let [one] = able.as_slice() {
        let lines: Vec<String> = one.hurdles.iter().map(|hurdle| hurdle.line().text).collect();
        return format!("only {} could run it, and there {}", name(one), lines.join("; "));
    }
    let who = format!("the {} nodes that could run it", able.len());
    let slots: Option<u32> = able.iter().map(|one| full_slots(one)).sum();
    if let Some(slots) = slots {
        return format!("all {slots} slots of {who} are in use");
    }
    let shortages: Vec<Shortage<'_>> = able.iter().filter_map(|one| first_shortage(one)).collect();
    if let Some(most) = shortages.iter().max_by_key(|short| short.left)
        && shortages.len() == able.len()
        && shortages.iter().all(|short| short.what == most.what)
    {
        let (what, wanted, left) = (most.what, most.what.amount(most.wanted), most.what.amount(most.left));
        return format!("asks for {wanted}{}, and of {who} none has more left than {left}", what.unit());
    }
    let each = able.iter().map(|one| match one.hurdles.first() {
        Some(hurdle) => format!("{}: {}", name(one), hurdle.line().text),
        None => name(one),
    });
    let each: Vec<String> = each.collect();
    format!("none of {who} has room: {}", some(&each, "; ", "; "))
}

/// Slots of a node where that they are full is all that is in the way.
fn full_slots(judged: &Judged<'_>) -> Option<u32> {
    match judged.hurdles.as_slice() {
        [Hurdle::Slots { used, of }] if used == of => Some(*of),
        _ => None,
    }
}

fn first_shortage<'a>(judged: &Judged<'a>) -> Option<Shortage<'a>> {
    match judged.hurdles.as_slice() {
        [Hurdle::Short(short)] => Some(*short),
        _ => None,
    }
}

/// Of a job that no present node could ever take, however idle: why not. None: one could, or that is not known.
pub(super) fn out_of_reach(spec: &JobSpec, cluster: &Cluster<'_>) -> Option<String> {
    let takes = |node: &&NodeLoad| {
        let leads = cluster.runs_jobs == RunsJobs::Never && Some(node.id) == cluster.leader;
        !leads || node.offer.attached_to(&spec.class) > 0 || node.offer.suits(spec)
    };
    let nodes: Vec<&NodeLoad> = cluster.roster.iter().filter(takes).collect();
    let able: Vec<&NodeLoad> = nodes.iter().copied().filter(|node| could_ever(spec, node)).collect();
    let is_here = |node: &&NodeLoad| node.alive && !node.offer.draining;
    if cluster.roster.is_empty()
        || able.iter().any(is_here)
        || nodes.iter().any(|node| node.alive && !node.has_spoken())
    {
        return None;
    }
    if !able.is_empty() {
        let how = |node: &&NodeLoad| if node.alive { "draining" } else { "silent" };
        let names: Vec<String> =
            able.iter().map(|node| format!("{} ({})", (cluster.name)(node.id), how(node))).collect();
        return Some(format!("only {} could run it", listed(&names)));
    }
    let present: Vec<&NodeLoad> = nodes.into_iter().filter(|node| node.alive).collect();
    Some(misfit(spec, &present))
}

/// What no present node is or has.
fn misfit(spec: &JobSpec, present: &[&NodeLoad]) -> String {
    let class = &spec.class;
    if present.is_empty() {
        return "no node that runs jobs is present".to_string();
    }
    if let Some(asked) = &spec.more.recodex {
        return match present.iter().any(|node| !node.offer.pools.is_empty()) {
            true => format!("no worker of ReCodEx that is there has {}", headers(asked)),
            false => "no worker of ReCodEx is there".to_string(),
        };
    }
    let serving: Vec<&NodeLoad> = present.iter().copied().filter(|node| node.offer.serves(class)).collect();
    if serving.is_empty() {
        let is_foreign = class == CLASS && present.iter().any(|node| !node.offer.pools.is_empty());
        if is_foreign {
            return format!("jobs of class {class} come from front ends of ReCodEx alone");
        }
        return format!("no present node serves class {class}");
    }
    let lacking =
        |(name, wanted): &(&String, &String)| !serving.iter().any(|n| carries(&n.offer, name, wanted));
    if let Some((name, wanted)) = spec.requires.iter().find(lacking) {
        let header =
            if wanted == "*" { format!("any header {name}") } else { format!("the header {name}={wanted}") };
        return format!("no present node that serves class {class} carries {header}");
    }
    let suited: Vec<&NodeLoad> = serving.into_iter().filter(|node| is_suited(spec, node)).collect();
    let required = if spec.requires.is_empty() { "" } else { " and carries what it requires" };
    let who = format!("no present node that serves class {class}{required}");
    if suited.is_empty() {
        return format!("{who} has a slot");
    }
    let most_of = |place: usize| {
        suited.iter().filter_map(|node| wishes(spec, node).nth(place)).map(|(_, _, of)| of).max()
    };
    let asked: Vec<(Stuff<'_>, u64)> = suited
        .iter()
        .take(1)
        .flat_map(|node| wishes(spec, node))
        .map(|(what, wanted, _)| (what, wanted))
        .collect();
    for (place, (what, wanted)) in asked.iter().enumerate() {
        let most = most_of(place).unwrap_or(0);
        if *wanted > most {
            let (wanted, most, unit) = (what.amount(*wanted), what.amount(most), what.unit());
            return format!("it asks for {wanted}{unit}, and {who} has more than {most}");
        }
    }
    let all: Vec<String> = asked
        .iter()
        .filter(|(_, wanted)| *wanted > 0)
        .map(|(what, wanted)| format!("{}{}", what.amount(*wanted), what.unit()))
        .collect();
    format!("{who} has all that it asks for: {}", listed(&all))
}

fn headers(asked: &Evaluation) -> String {
    let headers: Vec<String> = asked.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    listed(&headers)
}

fn is_suited(spec: &JobSpec, node: &NodeLoad) -> bool {
    let mut suited = true;
    suits(spec, &node.offer, &mut |_| suited = false);
    suited
}

/// Of a job that waits for a moment: what it waits for, and how long.
pub(super) fn pauses(job: &Job, wall_ms: u64) -> String {
    let left_ms = job.not_before_wall_ms.unwrap_or(0).saturating_sub(wall_ms);
    // Tenths of a second are enough for people.
    let until = match left_ms.div_ceil(100) * 100 {
        0 => "is over".to_string(),
        left_ms => format!("ends in {}s", text_of_milli(left_ms)),
    };
    let Some(last) = job.attempts.last() else {
        return format!("waits for its time: its pause {until}");
    };
    let number = last.number;
    let how = match (last.state, last.reason) {
        (AttemptState::Failed, Some(reason)) => format!("failed ({})", reason.word()),
        (AttemptState::Lost, _) => "was lost with its worker".to_string(),
        (state, _) => format!("is {}", state.word()),
    };
    format!("waits: attempt {number} {how}, and the pause before the next one {until}")
}

/// Names as people list them, the first ones of many.
fn listed(names: &[String]) -> String {
    some(names, ", ", " and ")
}

fn some(items: &[String], between: &str, before_last: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        all if all.len() > NAMED => {
            format!("{}{before_last}{} more", all[..NAMED].join(between), all.len() - NAMED)
        }
        [before @ .., last] => format!("{}{before_last}{last}", before.join(between)),
    }
}

impl Stuff<'_> {
    /// A word for programs.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Resource(_) => "resources",
        }
    }

    /// So much of it, as people read it.
    fn amount(self, amount: u64) -> String {
        match self {
            Self::Cpu | Self::Resource(_) => text_of_milli(amount),
            Self::Memory => bytes(amount),
        }
    }

    /// What stands behind an amount.
    fn unit(self) -> String {
        match self {
            Self::Cpu => " cores".to_string(),
            Self::Memory => " of memory".to_string(),
            Self::Resource(name) => format!(" {name}"),
        }
    }
}

impl Shortage<'_> {
    pub(super) fn text(&self) -> String {
        let Self { what, wanted, left, of } = *self;
        let (wanted_text, left, of_text, unit) =
            (what.amount(wanted), what.amount(left), what.amount(of), what.unit());
        if wanted > of {
            format!("has {of_text}{unit}, {wanted_text} asked for")
        } else {
            format!("{left} of {of_text}{unit} left, {wanted_text} asked for")
        }
    }
}

/// Bytes in the largest unit of which there is a whole one.
fn bytes(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, word)) => {
            let milli = u64::try_from(u128::from(bytes) * 1_000 / u128::from(unit)).unwrap_or(u64::MAX);
            format!("{}{word}", text_of_milli(milli))
        }
        None => format!("{bytes} bytes"),
    }
}
