//! A pretend cluster in virtual time: events in their order, each followed by the checks.

use std::collections::{BTreeMap, BTreeSet};

use cast::{AttachedId, Cast, Input};
use protocol::{AttemptRef, Boot, Load, NodeId, Request};

use crate::Plan;
use crate::chance::Chance;
use crate::clients::{Clients, Op};
use crate::disk::Ill;
use crate::faults::{Fault, Heal};
use crate::fold::Fold;
use crate::foreign::Step;
use crate::guests::{self, Guests};
use crate::hearing::Hearing;
use crate::limits::{CLIENTS, EVENTS, JOIN_US, KEEP_JOBS, LOOK_US, MS, PROBE_US, RETRY_US, SECOND, TICK_MS};
use crate::network::{Network, Way};
use crate::node::{self, Common, LAB_CLASS, Live, Node};
use crate::snapshots;
use crate::watch::{Broken, Held, Watch, must};

/// Wall time at the beginning of every history, milliseconds since 1970.
const WALL_MS: u64 = 1_700_000_000_000;

/// Something that will happen.
pub(crate) enum Event {
    Start(usize),
    /// A node's turn. Events of a start that is over are dropped.
    Turn(usize, Boot),
    Tick(usize, Boot),
    Probe(usize, Boot),
    Join(usize, Boot),
    Synced(usize, Boot),
    Snapshot(usize, Boot, Box<snapshots::Step>),
    DiskFailed(usize, Boot),
    /// A write that this one waits for is under way for long.
    DiskHangs(usize, Boot, u64),
    Foreign(usize, Boot, AttachedId, Step),
    /// The end of a leader's wait for a fuller entry.
    Gathered(usize, Boot, u64),
    Guest(usize, guests::Step),
    /// The front end that asked a node under this ticket for this job waits no longer.
    Verdict(usize, Boot, u64, protocol::JobId),
    Ends(usize, Boot, AttemptRef, bool),
    /// A consensus message from one node to another, of this session of their link.
    Peer(usize, usize, u64, Box<consensus::Message>),
    /// The first letter of a broker session is due.
    Letter(Way),
    /// The first node notices that its link with the second one closed.
    LinkClosed(usize, usize, NodeId, bool),
    Client(usize),
    Again(Box<Op>),
    Fault,
    Heal(Heal),
    Look,
}

/// The cluster, its surroundings, and what is remembered of its history.
pub(crate) struct World<'a> {
    pub(crate) common: Common,
    pub(crate) chance: Chance,
    pub(crate) now_us: u64,
    pub(crate) steps: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) guests: Guests,
    pub(crate) watch: Watch,
    pub(crate) hearing: Hearing,
    pub(crate) fold: Fold,
    pub(crate) counts: Counts,
    /// Faults happen until then.
    pub(crate) faults_until_us: u64,
    /// Clients ask until then.
    pub(crate) clients_until_us: u64,
    verbose: bool,
    story: &'a mut dyn FnMut(&str),
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) crashes: u64,
    pub(crate) faults: [u64; Fault::ALL.len()],
    pub(crate) reads: u64,
    pub(crate) starts: u64,
    pub(crate) snapshots: u64,
    pub(crate) restored: u64,
}

impl Counts {
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: &Plan, story: &'a mut dyn FnMut(&str)) -> Self {
        let mut chance = Chance::new(plan.seed);
        let mut nodes: Vec<Node> = (0..plan.nodes).map(|place| Node::new(place, &mut chance)).collect();
        // Somebody does what only attached workers do.
        nodes[1].foreigners += 1;
        let voters = if nodes.len() == 5 && chance.percent(50) { 5 } else { 3 };
        let runs_jobs = if chance.percent(25) { master::RunsJobs::Always } else { master::RunsJobs::Auto };
        let keep_jobs = if chance.percent(25) { KEEP_JOBS } else { u64::MAX };
        let window_ms = chance.between(500, 2_000);
        let seed = plan.seed;
        let policy = if chance.percent(20) { master::Policy::Multi } else { master::Policy::Single };
        let mutant = plan.mutant;
        let common = Common { seed, expect: 3, voters, runs_jobs, policy, keep_jobs, window_ms, mutant };
        let length_us = plan.minutes * 60 * SECOND;
        let mut this = Self {
            common,
            chance,
            now_us: 0,
            steps: 0,
            sequence: 0,
            events: BTreeMap::new(),
            network: Network::new(nodes.len()),
            nodes,
            clients: Clients::default(),
            guests: Guests::default(),
            watch: Watch::default(),
            hearing: Hearing::default(),
            fold: Fold::new(),
            counts: Counts::default(),
            faults_until_us: length_us / 100 * crate::limits::FAULT_SHARE_PERCENT,
            clients_until_us: length_us,
            verbose: plan.verbose,
            story,
        };
        this.begin();
        this
    }

    /// The founder starts alone, the others come when they come.
    fn begin(&mut self) {
        self.after(0, Event::Start(0));
        for place in 1..self.nodes.len() {
            // Three make the cluster; some of the others come when it is long at work.
            let late = place >= 3 && self.chance.percent(50);
            let latest_us = if late { self.faults_until_us * 2 / 3 } else { 2 * SECOND };
            let after_us = self.chance.below(latest_us);
            self.after(after_us, Event::Start(place));
        }
        for client in 0..CLIENTS {
            self.after(SECOND, Event::Client(client));
        }
        if guests::takes_part(self.common.seed) {
            self.guests_come();
        }
        let first_us = self.chance.between(3 * SECOND, 12 * SECOND);
        self.after(first_us, Event::Fault);
        self.after(LOOK_US, Event::Look);
    }

    /// Lets time go by until `until_us`.
    pub(crate) fn run(&mut self, until_us: u64) -> Held {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until_us {
                break;
            }
            let ((at_us, _), event) = entry.remove_entry();
            self.now_us = at_us;
            self.steps += 1;
            self.fold.word(at_us);
            self.happen(event)?;
        }
        self.now_us = until_us;
        must(self.events.len() <= EVENTS, "queue_moves", || {
            format!("{} events are under way", self.events.len())
        })
    }

    fn happen(&mut self, event: Event) -> Held {
        match event {
            Event::Start(place) => return self.start(place),
            Event::Turn(place, boot) => return self.turn(place, boot),
            Event::Tick(place, boot) => self.tick(place, boot),
            Event::Probe(place, boot) => self.probe(place, boot),
            Event::Join(place, boot) => self.join(place, boot),
            Event::Synced(place, boot) => self.synced(place, boot),
            Event::Snapshot(place, boot, step) => return self.snapshot(place, boot, *step),
            Event::Ends(place, boot, attempt, by_itself) => self.ends(place, boot, attempt, by_itself),
            Event::DiskHangs(place, boot, number) => self.disk_hangs(place, boot, number),
            Event::DiskFailed(place, boot) => self.disk_failed(place, boot),
            Event::Foreign(place, boot, worker, step) => self.foreign(place, boot, worker, step),
            Event::Gathered(place, boot, wait) => self.gathered(place, boot, wait),
            Event::Guest(number, step) => self.guest(number, step),
            Event::Verdict(place, boot, of, job) => self.verdict(place, boot, of, job),
            Event::Peer(from, to, session, message) => {
                if !self.network.is_cut(from, to) && self.network.link(from, to) == session {
                    self.hand(to, Input::Peer(*message));
                }
            }
            Event::Letter(way) => self.letter(way),
            Event::LinkClosed(at, peer, id, gone) => self.link_closed(at, peer, id, gone),
            Event::Client(client) => self.client_asks(client),
            Event::Again(op) => self.ask(*op),
            Event::Fault => self.fault(),
            Event::Heal(heal) => self.heal(heal),
            Event::Look => return self.look(),
        }
        Ok(())
    }

    /// Starts a node from its disk, in a new boot.
    fn start(&mut self, place: usize) -> Held {
        let node = &mut self.nodes[place];
        if node.live.is_some() {
            return Ok(());
        }
        if matches!(node.disk.ill, Some(Ill::Full | Ill::FailsOnce)) {
            // Not even the number of this start could be kept.
            if node.disk.ill == Some(Ill::FailsOnce) {
                node.disk.ill = None;
            }
            self.after(RETRY_US, Event::Start(place));
            return Ok(());
        }
        node.boot.0 += 1;
        let boot = node.boot;
        let name = place + 1;
        let opened = node.disk.open(node.id.0, self.common.mutant);
        if node.disk.damaged {
            self.tell(|| format!("n{name} refuses to start: {:?}", opened.as_ref().err()));
            return must(opened.is_err(), "acked_survives", || {
                format!("n{name} starts from a log that was changed")
            });
        }
        let (snapshot, hard, entries) = opened.map_err(|error| cannot_start(name, &error))?;
        let settings = node::settings(self.common, node);
        let cast =
            Cast::open_from(settings, snapshot, hard, entries).map_err(|error| cannot_start(name, &error))?;
        node.live = Some(Live::new(cast));
        self.counts.starts += 1;
        self.watch.disturbed(self.now_us, 0);
        self.tell(|| format!("n{name} starts, boot {}", boot.0));
        let first_us = self.chance.below(TICK_MS * MS);
        self.after(first_us, Event::Tick(place, boot));
        self.after(first_us, Event::Probe(place, boot));
        self.after(first_us, Event::Join(place, boot));
        self.foreigners_come(place, boot);
        self.wake(place);
        Ok(())
    }

    fn tick(&mut self, place: usize, boot: Boot) {
        let jitter_us = self.chance.below(2 * MS);
        let node = &mut self.nodes[place];
        let Some(live) = node.live.as_mut().filter(|_| node.boot == boot) else { return };
        live.inbox.tick_due = true;
        let next_us = node.tick_us + jitter_us;
        self.after(next_us, Event::Tick(place, boot));
        self.wake(place);
    }

    fn probe(&mut self, place: usize, boot: Boot) {
        if self.nodes[place].boot != boot {
            return;
        }
        let load = Load {
            cpu_used_milli: self.chance.below(1_000) as u32,
            cpu_total_milli: 4_000,
            memory_used_bytes: self.chance.below(1 << 30),
            memory_total_bytes: 4 << 30,
            disk_free_bytes: 0,
            disk_total_bytes: 0,
            cpu_pressure_permille: self.chance.below(1_000) as u32,
            memory_pressure_permille: 0,
        };
        self.hand(place, Input::Load(load));
        self.after(PROBE_US, Event::Probe(place, boot));
    }

    /// A start makes itself known by asking any node it reaches, as `--join` does, until one says that it is done; and again
    /// when it has known of no leader for long.
    fn join(&mut self, place: usize, boot: Boot) {
        let node = &self.nodes[place];
        let Some(live) = node.live.as_ref().filter(|_| node.boot == boot) else { return };
        let is_in = live.joined && !live.cast.may_be_forgotten();
        self.after(JOIN_US, Event::Join(place, boot));
        if is_in {
            return;
        }
        let near =
            |to: &usize| *to != place && !self.network.is_cut(place, *to) && !self.network.is_cut(*to, place);
        let others: Vec<usize> = (0..self.nodes.len()).filter(near).collect();
        if let Some(through) = self.chance.pick(&others) {
            let ticket = self.clients.ticket(Op::Join { of: place, boot }, through, self.nodes[through].boot);
            self.hand(through, Input::Ask { ticket, request: Request::Join(self.nodes[place].member()) });
        }
    }

    fn synced(&mut self, place: usize, boot: Boot) {
        let node = &mut self.nodes[place];
        if node.boot != boot || node.live.is_none() || node.disk.ill == Some(Ill::Hangs) {
            return;
        }
        if let Some(number) = node.disk.finish() {
            let hung = node.live.as_mut().is_some_and(|live| std::mem::take(&mut live.disk_hangs));
            self.hand(place, Input::Synced(number));
            if hung {
                self.hand(place, Input::DiskHangs(false));
            }
        }
        self.flush(place);
    }

    fn ends(&mut self, place: usize, boot: Boot, attempt: AttemptRef, by_itself: bool) {
        let node = &mut self.nodes[place];
        let Some(live) = node.live.as_mut().filter(|_| node.boot == boot) else { return };
        if let Some(outcome) = live.runner.end(attempt, by_itself) {
            live.runner.ended(self.now_us);
            self.hand(place, Input::Ended { attempt, outcome });
        }
    }

    fn link_closed(&mut self, at: usize, peer: usize, id: NodeId, gone: bool) {
        if gone || self.network.is_cut(at, peer) || self.network.is_cut(peer, at) {
            if !gone {
                self.network.end_link(at, peer);
            }
            self.hand(at, Input::LinkClosed { peer: id, gone });
            let follows =
                self.nodes[at].live.as_ref().and_then(|live| live.lead).map(|lead| lead.0) == Some(id);
            if !gone && follows && self.chance.percent(50) {
                self.hand(at, Input::SessionLost);
            }
        }
    }

    /// The whole cluster is looked at: in calm the queue moves.
    fn look(&mut self) -> Held {
        self.after(LOOK_US, Event::Look);
        let Some(leader) = self.leader() else { return Ok(()) };
        let Some(cast) = self.nodes[leader].live.as_ref().map(|live| &live.cast) else { return Ok(()) };
        let ledger = cast.ledger();
        // What waits on a node for a slot waits like what is queued.
        let live = self.nodes.iter().filter_map(|node| node.live.as_ref());
        let spares = live.flat_map(|live| live.cast.worker().waiting()).map(|attempt| attempt.job);
        let is_lab = |id: protocol::JobId| ledger.terms(id).is_some_and(|terms| terms.class == LAB_CLASS);
        // With a queue for each worker it waits for that worker alone. What asks for a resource may wait for that, and what its
        // key holds back waits beside a free slot.
        let spares = spares.filter(|_| self.common.policy == master::Policy::Single);
        let needs_slot =
            |id: &protocol::JobId| ledger.terms(*id).is_some_and(|t| t.more.resources.is_empty());
        let queued = ledger.queued().filter(|id| !ledger.is_held_back(*id));
        let waiting = queued.chain(spares).filter(needs_slot);
        let (asked, waiting): (Vec<_>, Vec<_>) = waiting.partition(|id| ledger.is_evaluation(*id));
        // Beside a free worker that may have it, on a node that takes something.
        let could_go = |id: &protocol::JobId| {
            let wanted = ledger.terms(*id).and_then(|terms| terms.more.recodex.as_ref());
            let open = |(place, _): &(usize, _)| !ledger.is_draining(self.nodes[*place].id);
            wanted.is_some_and(|wanted| {
                let mut free = self.guests.free().filter(open);
                free.any(|(_, headers)| protocol::recodex::fits(&wanted.headers, headers))
            })
        };
        let single = self.common.policy == master::Policy::Single;
        let asked: Vec<_> = asked.into_iter().filter(could_go).collect();
        let (lab, own): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|id| is_lab(*id));
        let always = self.common.runs_jobs == master::RunsJobs::Always;
        let (mut own_free, mut lab_free) = (0, 0);
        for (place, node) in self.nodes.iter().enumerate() {
            let Some(live) = node.live.as_ref().filter(|_| !ledger.is_draining(node.id)) else { continue };
            let given = ledger.attempts_on(node.id).map(|(attempt, _)| attempt);
            let given = given.filter(|attempt| !ledger.is_evaluation(attempt.job));
            let (lab_given, own_given): (BTreeSet<_>, BTreeSet<_>) =
                given.partition(|attempt| is_lab(attempt.job));
            if place != leader || always {
                let busy = own_given.into_iter().chain(live.runner.running()).collect::<BTreeSet<_>>();
                own_free += (node.slots as usize).saturating_sub(busy.len());
            }
            let busy: BTreeSet<_> = lab_given.into_iter().chain(live.foreigners.busy_with()).collect();
            lab_free += live.foreigners.present().saturating_sub(busy.len());
        }
        let waiting = ledger.clock_ms().saturating_sub(crate::limits::STARVE_US / MS);
        let overdue = |id: &protocol::JobId| {
            ledger.changed_job(*id).and_then(|job| job.not_before_ms).is_some_and(|due_ms| due_ms < waiting)
        };
        let overdue: Vec<_> = ledger.scheduled().filter(overdue).collect();
        let queues = [(&own, own_free), (&lab, lab_free), (&asked, usize::from(single)), (&overdue, 1)];
        self.watch.queue(self.now_us, queues)
    }

    /// The node that acts as leader; of several the one of the highest term.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leading = |(place, node): (usize, &Node)| {
            let cast = &node.live.as_ref()?.cast;
            cast.is_master().then(|| (cast.term(), place))
        };
        self.nodes.iter().enumerate().filter_map(leading).max().map(|(_, place)| place)
    }

    pub(crate) fn wall_ms(&self, place: usize) -> u64 {
        (WALL_MS + self.now_us / MS).saturating_add_signed(self.nodes[place].skew_ms)
    }

    /// Puts something into a node's inbox, if it runs, and lets it have its turn.
    pub(crate) fn hand(&mut self, place: usize, input: Input) {
        if let Some(live) = self.nodes[place].live.as_mut() {
            live.inbox.put(input);
            self.wake(place);
        }
    }

    /// What comes in shortly after each other is one turn's.
    pub(crate) fn wake(&mut self, place: usize) {
        let delay_us = self.chance.below(200 + self.nodes[place].lag_us);
        let boot = self.nodes[place].boot;
        let Some(live) = self.nodes[place].live.as_mut() else { return };
        if !live.woken && !live.paused {
            live.woken = true;
            self.after(delay_us, Event::Turn(place, boot));
        }
    }

    pub(crate) fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.now_us + delay_us, event);
    }

    pub(crate) fn at(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at_us, self.sequence), event);
    }

    /// Takes out all events that end a fault.
    pub(crate) fn take_heals(&mut self) -> Vec<Heal> {
        let places: Vec<_> =
            self.events.iter().filter(|(_, e)| matches!(e, Event::Heal(_))).map(|(at, _)| *at).collect();
        let taken = places.into_iter().filter_map(|at| self.events.remove(&at));
        taken.filter_map(|event| if let Event::Heal(heal) = event { Some(heal) } else { None }).collect()
    }

    /// A line of the story, when it is wanted.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.verbose {
            let (s, ms) = (self.now_us / SECOND, self.now_us % SECOND / MS);
            (self.story)(&format!("{s:>4}.{ms:03} s  {}", line()));
        }
    }
}

/// `acked_survives`: whatever a crash does to a disk, a node starts again from what was synced.
fn cannot_start(name: usize, error: &dyn std::fmt::Display) -> Broken {
    Broken { invariant: "acked_survives", detail: format!("n{name} cannot start from its disk: {error}") }
}
