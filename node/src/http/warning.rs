//! A word of warning with the acknowledgement of a job that no present node could ever run.

use std::collections::BTreeMap;
use std::sync::Arc;

use master::Cluster;
use protocol::{JobSpec, NodeId, NodeLoad};

use super::desk::Desk;
use super::nodes::{policy, runs_jobs};
use crate::ask::View;

/// Kinds of jobs of one batch that are looked at.
const KINDS: usize = 100;

/// The nodes as this node last knew them.
#[derive(Clone, Debug)]
pub(super) struct Known {
    roster: Vec<NodeLoad>,
    names: BTreeMap<NodeId, String>,
    leader: Option<NodeId>,
}

impl Known {
    pub(super) fn of(view: &View) -> Self {
        let names = view.ledger.members().map(|member| (member.id, member.name.clone())).collect();
        Self { roster: view.roster.clone(), names, leader: view.leader }
    }
}

/// Why no present node could ever run this job.
pub(super) async fn of_one(desk: &Desk, spec: &JobSpec) -> Option<String> {
    let seen = desk.seen().await?;
    warn(desk, &seen.nodes, spec)
}

/// The first job of a batch that no present node could ever run, why not, and how many more there are.
pub(super) async fn of_batch(desk: &Desk, specs: &[Arc<JobSpec>]) -> Option<String> {
    let seen = desk.seen().await?;
    let mut known = BTreeMap::new();
    let mut warned = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        let resources = &spec.more.resources;
        let kind = (&spec.class, &spec.requires, spec.cpu_milli, spec.memory_bytes, resources);
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
