//! Facts become the sentences people read. The wording of the seed programs is kept word for word; scripts look for it.
//!
//! ```text
//!   gateway   Created payload: J ─▶ Sent payload: J for execution to port: P (the leader's)
//!   leader    Received payload: J ─▶ Sent payload: J for execution to port: P (the worker's)
//!   worker    Received payload: J ─▶ Sent result: J for leader to port: P
//!   leader    Received result: J ─▶ Sent result: J for client to port: P (the gateway's)
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use logdb::{Level, Log, Record};
use master::Ledger;
use protocol::{AttemptRef, Fact, JobId, JobState, Load, LossCause, Member, NodeId, Reason, What};

/// Open jobs whose gateway is remembered for the line that names it; beyond that the line says `?`.
const GATEWAYS: usize = 100_000;
/// Loads are told at most this often.
const LOADS_EVERY: Duration = Duration::from_secs(1);
/// The source of facts of the ledger.
const CLUSTER: &str = "cluster";

/// Looks a member up in the ledger.
pub type Members<'a> = &'a dyn Fn(NodeId) -> Option<&'a Member>;

/// Writes one node's story into its own log.
#[derive(Debug)]
pub struct Narrator {
    me: NodeId,
    log: Log,
    gateways: BTreeMap<JobId, NodeId>,
    loads_at: Option<Instant>,
}

impl Narrator {
    /// A narrator for node `me`.
    #[must_use]
    pub fn new(me: NodeId, log: Log) -> Self {
        Self { me, log, gateways: BTreeMap::new(), loads_at: None }
    }

    /// The ledger recorded a fact. Only the leader tells it (`leading`); the others learn from it what later lines need.
    pub fn fact(&mut self, fact: &Fact, ledger: &Ledger, leading: bool) {
        self.heard(fact, &|id| ledger.member(id), leading);
    }

    fn heard(&mut self, fact: &Fact, members: Members<'_>, leading: bool) {
        match &fact.what {
            What::Accepted { job, gateway } if self.gateways.len() < GATEWAYS => {
                self.gateways.insert(*job, *gateway);
            }
            What::Joined { node, .. } if *node == self.me => {
                if let Some(member) = members(*node) {
                    self.log.set_number(member.number);
                }
            }
            _ => {}
        }
        if leading {
            self.tell(&fact.what, members);
        }
        if let Some(job) = ended_job(&fact.what) {
            self.gateways.remove(&job);
        }
    }

    fn tell(&self, what: &What, members: Members<'_>) {
        if let What::Accepted { job, .. } = what {
            return self.say("received", Some(*job), format!("Received payload: {job}"));
        }
        let told = tale(what, members);
        match what {
            What::Finished { attempt, .. } => {
                let job = attempt.job;
                self.log.record(told.level, "result", Some(job), &told.message);
                let port = self.gateways.get(&job).map_or("?", |gateway| port_of(*gateway, members));
                self.say("answered", Some(job), format!("Sent result: {job} for client to port: {port}"));
            }
            What::Requeued { attempt, node, cause, .. } => {
                let lost = lost_sentence(*attempt, name_of(*node, members), *cause);
                self.log.record(Level::Warn, "lost", Some(attempt.job), &lost);
                self.log.record(told.level, told.event, Some(attempt.job), &told.message);
            }
            _ => self.log.record(told.level, told.event, what.job(), &told.message),
        }
    }

    /// This node took a user's request.
    pub fn created(&self, job: JobId) {
        self.say("accepted", Some(job), format!("Created payload: {job}"));
    }

    /// This node took a user's batch.
    pub fn created_all(&self, first: JobId, last: JobId, jobs: usize) {
        self.say("accepted", Some(first), format!("Created payloads: {first} to {last} ({jobs})"));
    }

    /// The request left for the leader, whose HTTP port is named.
    pub fn sent_to_leader(&self, job: JobId, port: &str) {
        self.say("forwarded", Some(job), format!("Sent payload: {job} for execution to port: {port}"));
    }

    /// An attempt of the job starts here.
    pub fn started(&self, job: JobId) {
        self.say("started", Some(job), format!("Received payload: {job}"));
    }

    /// An attempt of the job ended here; its result goes to the leader, whose HTTP port is named.
    pub fn finished(&self, job: JobId, leader_port: &str) {
        self.say("finished", Some(job), format!("Sent result: {job} for leader to port: {leader_port}"));
    }

    /// A placement looked at these workers, by name. Told at most once a second, so that a burst does not drown the story.
    pub fn loads<Name: AsRef<str>>(&mut self, loads: &[(Name, Load)]) {
        let now = Instant::now();
        if self.loads_at.is_some_and(|at| now.duration_since(at) < LOADS_EVERY) {
            return;
        }
        self.loads_at = Some(now);
        for (name, load) in loads {
            let cpu = percent(load.cpu_used_milli.into(), load.cpu_total_milli.into());
            let memory = percent(load.memory_used_bytes, load.memory_total_bytes);
            let name = name.as_ref();
            self.log.record_of(name, Level::Info, "load", None, format!("The CPU usage is: {cpu}"));
            self.log.record_of(name, Level::Info, "load", None, format!("RAM memory /%/ used: {memory}"));
        }
    }

    /// This node leads from here on.
    pub fn promoted(&self, term: u64) {
        self.say("promoted", None, "Is master container");
        self.log.record(Level::Debug, "promoted", None, format!("Leads in term {term}"));
    }

    /// This node leads no longer.
    pub fn demoted(&self) {
        self.say("demoted", None, "Is master container no longer");
    }

    /// As a leader this node saw the voters change; these vote from here on.
    pub fn voters(&self, names: &[String]) {
        self.say("voters", None, format!("Voters are: {}", names.join(", ")));
    }

    /// As a leader this node found another's ledger to differ from its own.
    pub fn differs(&self, name: &str, index: u64) {
        let line = format!("The ledger of {name} differs from this leader's at index {index}");
        self.log.record(Level::Error, "differs", None, &line);
    }

    /// The process ends, and so many attempts with it.
    pub fn left(&self, running: usize) {
        let (level, line) = match running {
            0 => (Level::Info, "has left".to_string()),
            _ => (Level::Warn, format!("has left; {running} attempts end unfinished and will run again")),
        };
        self.log.record(level, "left", None, &line);
    }

    /// The soft crash.
    pub fn stopped(&self) {
        self.log.record(Level::Warn, "stopped", None, "CRASH :(");
    }

    /// Back from the soft crash.
    pub fn resumed(&self) {
        self.say("resumed", None, "RECOVERED :)");
    }

    fn say<'m>(&self, event: &'static str, job: Option<JobId>, message: impl Into<Cow<'m, str>>) {
        self.log.record(Level::Info, event, job, message);
    }
}

/// A fact as a record of the source `cluster`: the same number and time on every node.
#[must_use]
pub fn cluster_record(fact: &Fact, members: Members<'_>) -> Record {
    let told = tale(&fact.what, members);
    let node = told.node.map_or("", |node| name_of(node, members));
    Record::new(
        CLUSTER,
        fact.number,
        fact.wall_ms,
        told.level,
        told.event,
        fact.what.job(),
        node,
        &told.message,
    )
}

/// What is told of a fact: how loud, its kind, the node it is about, the sentence.
struct Tale {
    level: Level,
    event: &'static str,
    node: Option<NodeId>,
    message: String,
}

fn tale(what: &What, members: Members<'_>) -> Tale {
    let info = |event, node, message| Tale { level: Level::Info, event, node, message };
    let warn = |event, node, message| Tale { level: Level::Warn, event, node, message };
    match what {
        What::Accepted { job, gateway } => {
            info("accepted", Some(*gateway), format!("Created payload: {job}"))
        }
        What::Assigned { attempt, node } => {
            let (job, port) = (attempt.job, port_of(*node, members));
            info("dispatched", Some(*node), format!("Sent payload: {job} for execution to port: {port}"))
        }
        What::Finished { attempt, node, state, reason } => {
            let message = format!("Received result: {}{}", attempt.job, ending(*state, *reason));
            info("finished", Some(*node), message)
        }
        What::Failed { attempt, node, reason, .. } => {
            let AttemptRef { job, attempt } = attempt;
            let (name, reason) = (name_of(*node, members), reason.word());
            warn(
                "failed",
                Some(*node),
                format!("Attempt {attempt} of {job} failed on {name} ({reason}); it will be tried again"),
            )
        }
        What::Requeued { attempt, node, state: JobState::Failed, .. } => warn(
            "failed",
            Some(*node),
            format!("Gave up {}: too many workers were lost under it", attempt.job),
        ),
        What::Requeued { attempt, node, .. } => {
            let (job, name) = (attempt.job, name_of(*node, members));
            warn("requeued", Some(*node), format!("Requeued {job}: {name} is not counted on for it any more"))
        }
        What::Superseded { attempt, node } => {
            let (name, AttemptRef { job, attempt }) = (name_of(*node, members), attempt);
            let message = format!("Late result of attempt {attempt} of {job} from {name} changes nothing");
            info("superseded", Some(*node), message)
        }
        What::Cancelled { job } => info("cancelled", None, format!("Cancelled {job}: somebody asked")),
        What::Expired { job, reason } => {
            warn("expired", None, format!("Gave up {job} before it ran ({})", reason.word()))
        }
        What::Released { job } => {
            info("released", None, format!("The pause of {job} is over: it waits for a worker"))
        }
        What::Joined { node, name } => info("joined", Some(*node), format!("{name} is a member now")),
        What::Opened => info("opened", None, "Enough voters were in sync: jobs are accepted".to_string()),
        What::Forgotten { upto } => {
            let message = format!("History is past its retention up to the end of job number {upto}");
            info("forgotten", None, message)
        }
        What::Recovered { epoch, node, name } => warn(
            "recovered",
            Some(*node),
            format!(
                "Recovered by hand from the disk of {name}, epoch {epoch}: what was not on that disk is lost"
            ),
        ),
        What::Drained { node, draining } => drained(*node, name_of(*node, members), *draining),
        What::Adopted { attempt, node, .. } => adopted(*attempt, *node, name_of(*node, members)),
        What::Frozen { frozen } => frozen_or_not(*frozen),
        What::Unheard { call } => {
            warn("unheard", None, format!("Gave up call {call} to the front end: too many are owed to it"))
        }
        What::Left { node } => {
            let name = name_of(*node, members);
            warn("left", Some(*node), format!("{name} is no member any more"))
        }
    }
}

fn adopted(attempt: AttemptRef, node: NodeId, name: &str) -> Tale {
    let AttemptRef { job, attempt } = attempt;
    let message = format!("The worker with attempt {attempt} of {job} is attached to {name} now");
    Tale { level: Level::Info, event: "adopted", node: Some(node), message }
}

fn frozen_or_not(frozen: bool) -> Tale {
    let (level, event, message) = if frozen {
        (Level::Warn, "frozen", "No evaluations are taken")
    } else {
        (Level::Info, "thawed", "Evaluations are taken again")
    };
    Tale { level, event, node: None, message: message.to_string() }
}

fn drained(node: NodeId, name: &str, draining: bool) -> Tale {
    let (event, message) = if draining {
        ("draining", format!("{name} gets no new attempts; what runs there goes on"))
    } else {
        ("undrained", format!("{name} gets attempts again"))
    };
    Tale { level: Level::Info, event, node: Some(node), message }
}

fn ending(state: JobState, reason: Option<Reason>) -> String {
    match (state, reason) {
        (JobState::Succeeded, _) => String::new(),
        (_, Some(reason)) => format!(" ({}: {})", state.word(), reason.word()),
        (_, None) => format!(" ({})", state.word()),
    }
}

fn lost_sentence(attempt: AttemptRef, name: &str, cause: LossCause) -> String {
    let AttemptRef { job, attempt } = attempt;
    match cause {
        LossCause::Silent => format!("Lost attempt {attempt} of {job}: {name} is silent"),
        LossCause::Restarted => format!("Lost attempt {attempt} of {job}: {name} started anew"),
        LossCause::Late => {
            format!(
                "Lost attempt {attempt} of {job}: a worker attached to {name} is late, so others may take it too"
            )
        }
        LossCause::Left => format!("Lost attempt {attempt} of {job}: the worker attached to {name} is gone"),
        LossCause::Abandoned => {
            format!("Took back attempt {attempt} of {job}: {name} was told to end and left it unfinished")
        }
        LossCause::Unbegun => {
            format!("Took back attempt {attempt} of {job}: {name} has not begun it and another node is free")
        }
    }
}

/// The job a fact ended for ever.
fn ended_job(what: &What) -> Option<JobId> {
    match what {
        What::Finished { .. }
        | What::Cancelled { .. }
        | What::Expired { .. }
        | What::Requeued { state: JobState::Failed, .. } => what.job(),
        _ => None,
    }
}

fn name_of<'a>(node: NodeId, members: Members<'a>) -> &'a str {
    members(node).map_or("a former member", |member| &member.name)
}

fn port_of<'a>(node: NodeId, members: Members<'a>) -> &'a str {
    members(node).map_or("?", Member::http_port)
}

/// `used` of `total` in percent with one decimal, in integers.
fn percent(used: u64, total: u64) -> String {
    let tenths = (u128::from(used) * 1_000 + u128::from(total) / 2).checked_div(total.into()).unwrap_or(0);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use protocol::{Boot, Rev};

    use super::*;

    const JOB: JobId = JobId(7);
    const LEADER: NodeId = NodeId(1);
    const WORKER: NodeId = NodeId(2);
    const GATEWAY: NodeId = NodeId(3);

    fn member(id: NodeId, number: u32, name: &str, port: u16) -> Member {
        let at = |port: u16| format!("127.0.0.1:{port}");
        Member { id, number, boot: Boot(1), name: name.into(), http: at(port), link: at(1), broker: at(2) }
    }

    fn roster() -> Vec<Member> {
        vec![member(LEADER, 1, "m", 3002), member(WORKER, 2, "w1", 3004), member(GATEWAY, 3, "w2", 3005)]
    }

    fn fact(what: What) -> Fact {
        Fact { number: 9, rev: Rev::default(), wall_ms: 1_000, what }
    }

    fn attempt() -> AttemptRef {
        AttemptRef { job: JOB, attempt: 1 }
    }

    fn finished() -> What {
        What::Finished { attempt: attempt(), node: WORKER, state: JobState::Succeeded, reason: None }
    }

    fn messages(log: &Log) -> Vec<String> {
        log.after(0, 100).iter().map(|record| record.message.clone()).collect()
    }

    #[test]
    fn the_leader_tells_a_jobs_walk_in_the_words_of_the_contract() {
        let (roster, log) = (roster(), Log::in_memory("m"));
        let find = |id| roster.iter().find(|member| member.id == id);
        let mut narrator = Narrator::new(LEADER, log.clone());
        narrator.promoted(3);
        narrator.heard(&fact(What::Accepted { job: JOB, gateway: GATEWAY }), &find, true);
        narrator.heard(&fact(What::Assigned { attempt: attempt(), node: WORKER }), &find, true);
        narrator.heard(&fact(finished()), &find, true);
        assert_eq!(
            messages(&log),
            [
                "Is master container".to_string(),
                "Leads in term 3".to_string(),
                format!("Received payload: {JOB}"),
                format!("Sent payload: {JOB} for execution to port: 3004"),
                format!("Received result: {JOB}"),
                format!("Sent result: {JOB} for client to port: 3005"),
            ]
        );
        assert!(log.after(2, 9).iter().all(|record| record.job == Some(JOB)));
        assert_eq!(log.after(3, 1)[0].event, "dispatched");
        assert!(narrator.gateways.is_empty(), "an ended job is forgotten");
    }

    #[test]
    fn a_later_leader_knows_the_gateway_from_facts_it_did_not_tell() {
        let (roster, log) = (roster(), Log::in_memory("w1"));
        let find = |id| roster.iter().find(|member| member.id == id);
        let mut narrator = Narrator::new(WORKER, log.clone());
        narrator.heard(&fact(What::Accepted { job: JOB, gateway: GATEWAY }), &find, false);
        assert!(messages(&log).is_empty(), "only a leader tells facts");
        let lost = What::Requeued {
            attempt: attempt(),
            node: LEADER,
            cause: LossCause::Silent,
            state: JobState::Queued,
        };
        narrator.heard(&fact(lost), &find, true);
        narrator.heard(&fact(finished()), &find, true);
        let events: Vec<_> = log.after(0, 9).iter().map(|record| record.event.to_string()).collect();
        assert_eq!(events, ["lost", "requeued", "result", "answered"]);
        assert!(messages(&log)[3].ends_with("for client to port: 3005"));
    }

    #[test]
    fn gateway_worker_and_crash_use_the_seeds_words() {
        let log = Log::in_memory("w1");
        let narrator = Narrator::new(WORKER, log.clone());
        narrator.created(JOB);
        narrator.sent_to_leader(JOB, "3002");
        narrator.started(JOB);
        narrator.finished(JOB, "3002");
        narrator.stopped();
        narrator.resumed();
        assert_eq!(
            messages(&log),
            [
                format!("Created payload: {JOB}"),
                format!("Sent payload: {JOB} for execution to port: 3002"),
                format!("Received payload: {JOB}"),
                format!("Sent result: {JOB} for leader to port: 3002"),
                "CRASH :(".to_string(),
                "RECOVERED :)".to_string(),
            ]
        );
    }

    #[test]
    fn loads_have_one_decimal_name_their_node_and_come_once_a_second() {
        let log = Log::in_memory("m");
        let mut narrator = Narrator::new(LEADER, log.clone());
        let load = Load {
            cpu_used_milli: 1_234,
            cpu_total_milli: 2_000,
            memory_used_bytes: 1,
            memory_total_bytes: 3,
            ..Load::default()
        };
        narrator.loads(&[("w1", load), ("w2", Load::default())]);
        narrator.loads(&[("w1", load)]);
        assert_eq!(
            messages(&log),
            [
                "The CPU usage is: 61.7",
                "RAM memory /%/ used: 33.3",
                "The CPU usage is: 0.0",
                "RAM memory /%/ used: 0.0"
            ]
        );
        assert_eq!((&*log.after(0, 1)[0].node, &*log.after(2, 1)[0].node), ("w1", "w2"));
    }

    #[test]
    fn a_fact_of_the_ledger_is_a_record_numbered_by_the_ledger() {
        let roster = roster();
        let find = |id| roster.iter().find(|member| member.id == id);
        let record = cluster_record(&fact(What::Accepted { job: JOB, gateway: GATEWAY }), &find);
        assert_eq!((&*record.source, record.seq, record.time_ms), ("cluster", 9, 1_000));
        assert_eq!((&*record.event, record.job, &*record.node), ("accepted", Some(JOB), "w2"));
        let failed = What::Finished {
            attempt: attempt(),
            node: WORKER,
            state: JobState::Failed,
            reason: Some(Reason::Timeout),
        };
        let record = cluster_record(&fact(failed), &|_| None);
        assert_eq!(record.message, format!("Received result: {JOB} (failed: timeout)"));
        assert_eq!(&*record.node, "a former member");
    }
}
