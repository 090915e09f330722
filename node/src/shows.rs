//! What one node shows of itself: lines for its log, events for whoever watches, and views for whoever asks.

use std::sync::Arc;
use std::time::Instant;

use cast::{Cast, Output};
use protocol::{Batch, Fact, Job, JobId, Load, Member, NodeId};
use tokio::sync::broadcast;

use crate::ask::{Event, View};
use crate::disk::Identity;
use crate::narrate::Narrator;

/// Jobs taken while no leader was known, whose line `Sent payload` waits for one; beyond that the line is left out.
const UNSENT: usize = 1_024;

/// The showing side of one start.
pub(crate) struct Shows {
    narrator: Narrator,
    events: broadcast::Sender<Event>,
    /// Somebody watches jobs: else their events are not even made.
    jobs_watched: bool,
    views_wanted: Vec<u64>,
    redial: bool,
    /// Who leads and where its HTTP is, for lines.
    leader: Option<NodeId>,
    previous: Option<NodeId>,
    leaderless_since: Instant,
    unsent: Vec<JobId>,
    members: Arc<Vec<Member>>,
    voters: Vec<consensus::Peer>,
}

impl Shows {
    pub(crate) fn new(events: broadcast::Sender<Event>, narrator: Narrator) -> Self {
        Self {
            narrator,
            events,
            jobs_watched: false,
            views_wanted: Vec::new(),
            redial: true,
            leader: None,
            previous: None,
            leaderless_since: Instant::now(),
            unsent: Vec::new(),
            members: Arc::default(),
            voters: Vec::new(),
        }
    }

    /// Who leads, as far as this node has shown it.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The members, as the ledger last named them.
    pub(crate) fn members(&self) -> &Arc<Vec<Member>> {
        &self.members
    }

    /// A turn begins; `jobs_wanted`: the news have somebody to tell of jobs. One reader is the teller of news itself. Whoever comes
    /// to read in the middle of a turn looks at the state first, and sees it after that turn.
    pub(crate) fn turn(&mut self, jobs_wanted: bool) -> bool {
        self.jobs_watched = jobs_wanted || self.events.receiver_count() > 1;
        self.jobs_watched
    }

    pub(crate) fn want_view(&mut self, ticket: u64) {
        self.views_wanted.push(ticket);
    }

    pub(crate) fn views_wanted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.views_wanted)
    }

    pub(crate) fn redial(&mut self) {
        self.redial = true;
    }

    pub(crate) fn redial_wanted(&mut self) -> bool {
        std::mem::take(&mut self.redial)
    }

    /// A user's job came to this node.
    pub(crate) fn created(&mut self, job: JobId) {
        self.narrator.created(job);
        match self.leader_port() {
            Some(port) => self.narrator.sent_to_leader(job, port),
            None if self.unsent.len() < UNSENT => self.unsent.push(job),
            None => {}
        }
    }

    /// A user's batch came to this node: one line for all of it.
    pub(crate) fn created_all(&self, batch: &Batch) {
        let jobs = batch.specs.len();
        let last = batch.first.following(jobs).last().unwrap_or(batch.first);
        self.narrator.created_all(batch.first, last, jobs);
    }

    /// An attempt begins here.
    pub(crate) fn started(&self, job: JobId) {
        self.narrator.started(job);
    }

    /// An attempt is gone here and its result is on its way.
    pub(crate) fn finished(&self, job: JobId) {
        self.narrator.finished(job, self.leader_port().unwrap_or_default());
    }

    /// The process ends, and so many attempts with it.
    pub(crate) fn left(&self, running: usize) {
        self.narrator.left(running);
    }

    /// `/stop` closed this node.
    pub(crate) fn stopped(&self) {
        self.narrator.stopped();
    }

    /// `/stop` opened it again.
    pub(crate) fn resumed(&self) {
        self.narrator.resumed();
    }

    /// Lines and events of one output.
    pub(crate) fn show(&mut self, cast: &Cast, output: Output) {
        match output {
            Output::Fact { fact, job } => self.fact(cast, fact, job),
            Output::Promoted { term } => {
                self.narrator.promoted(term);
                self.led(cast, term, Some(cast_id(cast)));
            }
            Output::Demoted => self.narrator.demoted(),
            Output::Led { term, leader } => self.led(cast, term, leader),
            Output::Looked(loads) => {
                let name =
                    |id: NodeId| cast.ledger().member(id).map_or_else(|| id.to_string(), |m| m.name.clone());
                let named: Vec<(String, Load)> =
                    loads.into_iter().map(|(id, load)| (name(id), load)).collect();
                self.narrator.loads(&named);
            }
            Output::Members => {
                self.members = Arc::new(cast.ledger().members().cloned().collect());
                self.redial = true;
                self.voters(cast);
                self.nodes(cast);
            }
            Output::Restored { .. } => {
                // Nobody may be watching.
                let _ = self.events.send(Event::Anew);
            }
            Output::Differs { node, index } => {
                let name = cast.ledger().member(node).map_or_else(|| node.to_string(), |m| m.name.clone());
                self.narrator.differs(&name, index);
            }
            Output::Roster => self.nodes(cast),
            _ => {}
        }
    }

    /// This moment of the node, whole.
    pub(crate) fn view(&self, cast: &Cast, identity: Identity) -> View {
        let status = cast.status();
        let ids = |peers: &[consensus::Peer]| peers.iter().map(|peer| NodeId(peer.0)).collect();
        View {
            ledger: cast.ledger().clone(),
            cluster: identity.cluster,
            node: identity.node,
            founder: identity.founder,
            leader: self.leader,
            term: status.term,
            commit: status.commit,
            applied: status.applied,
            // Until a change is through the cluster still needs a majority of those it goes away from.
            voters: if status.joint { ids(&self.voters) } else { ids(&status.voters) },
            learners: ids(&status.learners),
            roster: cast.roster().to_vec(),
            leaderless_ms: cast.leaderless_ms(),
            leaving: cast.is_leaving(),
        }
    }

    fn fact(&mut self, cast: &Cast, fact: Arc<Fact>, job: Option<Arc<Job>>) {
        self.narrator.fact(&fact, cast.ledger(), cast.is_master());
        // What one entry did to a job in several steps is shown once, under the revision of the last.
        if let Some(job) = job.filter(|job| self.jobs_watched && job.rev == fact.rev) {
            // Nobody may be watching.
            let _ = self.events.send(Event::Job { fact, job });
        }
    }

    fn led(&mut self, cast: &Cast, term: u64, leader: Option<NodeId>) {
        if leader == self.leader {
            return;
        }
        if leader.is_none() {
            self.leaderless_since = Instant::now();
            self.previous = self.leader;
        }
        let before = self.leader.or(self.previous);
        let gap_ms = if self.leader.is_some() {
            0
        } else {
            u64::try_from(self.leaderless_since.elapsed().as_millis()).unwrap_or(u64::MAX)
        };
        self.leader = leader;
        let Some(leader) = leader else { return };
        self.remember_port(cast);
        let _ = self.events.send(Event::Leader { term, leader, previous: before, gap_ms });
        let unsent = std::mem::take(&mut self.unsent);
        match self.leader_port() {
            Some(port) => unsent.into_iter().for_each(|job| self.narrator.sent_to_leader(job, port)),
            None => self.unsent = unsent,
        }
    }

    /// Who votes is worth a line of the leader, once a change is through.
    fn voters(&mut self, cast: &Cast) {
        let status = cast.status();
        if status.joint || status.voters == self.voters {
            return;
        }
        self.voters = status.voters;
        if cast.is_master() {
            let name = |peer: &consensus::Peer| {
                let member = cast.ledger().member(NodeId(peer.0));
                member.map_or_else(|| NodeId(peer.0).to_string(), |member| member.name.clone())
            };
            let names: Vec<String> = self.voters.iter().map(name).collect();
            self.narrator.voters(&names);
        }
    }

    fn remember_port(&mut self, cast: &Cast) {
        if self.members.is_empty() {
            self.members = Arc::new(cast.ledger().members().cloned().collect());
        }
    }

    fn leader_port(&self) -> Option<&str> {
        let leader = self.leader?;
        self.members.iter().find(|member| member.id == leader).map(Member::http_port)
    }

    fn nodes(&self, cast: &Cast) {
        let roster = Arc::new(cast.roster().to_vec());
        let _ = self.events.send(Event::Nodes { roster, members: Arc::clone(&self.members) });
    }
}

fn cast_id(cast: &Cast) -> NodeId {
    NodeId(cast.status().id.0)
}
