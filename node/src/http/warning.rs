//! A word of warning with the acknowledgement of a job that no present node could ever run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use master::Cluster;
use protocol::{JobSpec, More, NodeId, NodeLoad, submit};

use super::desk::Desk;
use super::nodes::{policy, runs_jobs};
use crate::ask::View;

/// Kinds of jobs of one batch that are looked at.
const KINDS: usize = 100;

/// The nodes as this node last knew them.
#[derive(Debug)]
pub(super) struct Known {
    roster: Vec<NodeLoad>,
    names: BTreeMap<NodeId, String>,
    leader: Option<NodeId>,
    /// What was found about the job before this one: most ask for the same.
    last: Mutex<Option<(JobSpec, Option<String>)>>,
}

impl Known {
    pub(super) fn of(view: &View) -> Self {
        let names = view.ledger.members().map(|member| (member.id, member.name.clone())).collect();
        Self { roster: view.roster.clone(), names, leader: view.leader, last: Mutex::default() }
    }
}

/// What of a job says whether a node could run it.
fn kind(spec: &JobSpec) -> impl Ord {
    let evaluation = spec.more.recodex.as_ref().map(|asked| &asked.headers);
    (&spec.class, &spec.requires, spec.cpu_milli, spec.memory_bytes, &spec.more.resources, evaluation)
}

/// Why no present node could ever run this job.
pub(super) async fn of_one(desk: &Desk, spec: &JobSpec) -> Option<String> {
    let seen = desk.seen().await?;
    let last = || seen.nodes.last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, warning)) = &*last()
        && kind(known) == kind(spec)
    {
        return warning.clone();
    }
    let warning = warn(desk, &seen.nodes, spec);
    let kept = JobSpec {
        requires: spec.requires.clone(),
        cpu_milli: spec.cpu_milli,
        memory_bytes: spec.memory_bytes,
        more: More { resources: spec.more.resources.clone(), ..More::default() },
        ..submit::defaults(&spec.class)
    };
    // What an evaluation asks for is not kept, so that it is like none.
    if spec.more.recodex.is_none() {
        *last() = Some((kept, warning.clone()));
    }
    warning
}

/// The first job of a batch that no present node could ever run, why not, and how many more there are.
pub(super) async fn of_batch(desk: &Desk, specs: &[Arc<JobSpec>]) -> Option<String> {
    let seen = desk.seen().await?;
    let mut known = BTreeMap::new();
    let mut warned = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        let kind = kind(spec);
        if known.len() >= KINDS && !known.contains_key(&kind) {
            continue;
        }
        let warning = known.entry(kind).or_insert_with(|| warn(desk, &seen.nodes, spec));
        warned.extend(warning.as_ref().map(|warning| (place, warning.clone())));
    }
    let (place, first) = warned.first()?;
    Some(match warned.len() - 1 {
        0 => format!("[{place}]: {first}"),
        more => format!("[{place}]: {first}; and {more} more jobs of this batch that none could"),
    })
}

fn warn(desk: &Desk, nodes: &Known, spec: &JobSpec) -> Option<String> {
    let settings = &desk.served.settings;
    let name = |id: NodeId| nodes.names.get(&id).cloned().unwrap_or_else(|| id.to_string());
    let cluster = Cluster {
        roster: &nodes.roster,
        leader: nodes.leader,
        runs_jobs: runs_jobs(settings.runs_jobs),
        policy: policy(settings.policy),
        name: &name,
    };
    master::warning(spec, &cluster)
}
