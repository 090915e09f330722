//! A pretend cluster in virtual time: events in their order, each followed by the checks.

use std::collections::BTreeMap;

use cast::{Cast, Input};
use protocol::{AttemptRef, Boot, Load, Request};

use crate::Plan;
use crate::chance::Chance;
use crate::clients::{Clients, Op};
use crate::faults::Heal;
use crate::fold::Fold;
use crate::hearing::Hearing;
use crate::limits::{CLIENTS, EVENTS, JOIN_US, LOOK_US, MS, PROBE_US, SECOND, TICK_MS};
use crate::network::{Network, Way};
use crate::node::{self, Common, Live, Node};
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
    Ends(usize, Boot, AttemptRef, bool),
    Peer(usize, usize, Box<consensus::Message>),
    /// The first letter of a broker session is due.
    Letter(Way),
    /// The first node notices that its link with the second one closed.
    LinkClosed(usize, usize, bool),
    Client(usize),
    Again(Op),
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
    pub(crate) faults: u64,
    pub(crate) reads: u64,
    pub(crate) starts: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: &Plan, story: &'a mut dyn FnMut(&str)) -> Self {
        let mut chance = Chance::new(plan.seed);
        let nodes: Vec<Node> = (0..plan.nodes).map(|_| new_node(&mut chance)).collect();
        let voters = if nodes.len() == 5 && chance.percent(50) { 5 } else { 3 };
        let runs_jobs = if chance.percent(25) { master::RunsJobs::Always } else { master::RunsJobs::Auto };
        let common = Common { seed: plan.seed, expect: 3, voters, runs_jobs, mutant: plan.mutant };
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
            let after_us = self.chance.below(2 * SECOND);
            self.after(after_us, Event::Start(place));
        }
        for client in 0..CLIENTS {
            self.after(SECOND, Event::Client(client));
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
            Event::Ends(place, boot, attempt, by_itself) => self.ends(place, boot, attempt, by_itself),
            Event::Peer(from, to, message) => {
                if !self.network.is_cut(from, to) {
                    self.hand(to, Input::Peer(*message));
                }
            }
            Event::Letter(way) => self.letter(way),
            Event::LinkClosed(at, peer, gone) => self.link_closed(at, peer, gone),
            Event::Client(client) => self.client_asks(client),
            Event::Again(op) => self.ask(op),
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
        node.boot.0 += 1;
        let boot = node.boot;
        let name = place + 1;
        let opened = node.disk.open(node::id(place).0);
        let (hard, entries) = opened.map_err(|error| cannot_start(name, &error))?;
        let settings = node::settings(self.common, place, boot, node.slots);
        let cast = Cast::open(settings, hard, entries).map_err(|error| cannot_start(name, &error))?;
        node.live = Some(Live::new(cast));
        self.counts.starts += 1;
        self.watch.disturbed(self.now_us, 0);
        self.tell(|| format!("n{name} starts, boot {}", boot.0));
        let first_us = self.chance.below(TICK_MS * MS);
        self.after(first_us, Event::Tick(place, boot));
        self.after(first_us, Event::Probe(place, boot));
        self.after(first_us, Event::Join(place, boot));
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
        };
        self.hand(place, Input::Load(load));
        self.after(PROBE_US, Event::Probe(place, boot));
    }

    /// A start makes itself known by asking any node it reaches, as `--join` does, until one says that it is done.
    fn join(&mut self, place: usize, boot: Boot) {
        let node = &self.nodes[place];
        if node.boot != boot || node.live.as_ref().is_none_or(|live| live.joined) {
            return;
        }
        let near =
            |to: &usize| *to != place && !self.network.is_cut(place, *to) && !self.network.is_cut(*to, place);
        let others: Vec<usize> = (0..self.nodes.len()).filter(near).collect();
        if let Some(through) = self.chance.pick(&others) {
            let ticket = self.clients.ticket(Op::Join { of: place, boot }, through, self.nodes[through].boot);
            self.hand(through, Input::Ask { ticket, request: Request::Join(node::member(place, boot)) });
        }
        self.after(JOIN_US, Event::Join(place, boot));
    }

    fn synced(&mut self, place: usize, boot: Boot) {
        let node = &mut self.nodes[place];
        if node.boot != boot || node.live.is_none() {
            return;
        }
        if let Some(number) = node.disk.finish() {
            self.hand(place, Input::Synced(number));
        }
        self.flush(place);
    }

    fn ends(&mut self, place: usize, boot: Boot, attempt: AttemptRef, by_itself: bool) {
        let node = &mut self.nodes[place];
        let Some(live) = node.live.as_mut().filter(|_| node.boot == boot) else { return };
        if let Some(outcome) = live.runner.end(attempt, by_itself) {
            self.hand(place, Input::Ended { attempt, outcome });
        }
    }

    fn link_closed(&mut self, at: usize, peer: usize, gone: bool) {
        if gone || self.network.is_cut(at, peer) || self.network.is_cut(peer, at) {
            self.hand(at, Input::LinkClosed { peer: node::id(peer), gone });
            let follows =
                self.nodes[at].live.as_ref().and_then(|live| live.lead).map(|lead| lead.0) == Some(peer);
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
        let queued: Vec<_> = ledger.queued().chain(spares).collect();
        let always = self.common.runs_jobs == master::RunsJobs::Always;
        let free = self.nodes.iter().enumerate().filter(|(place, _)| *place != leader || always);
        let free = free.map(|(place, node)| {
            let running = node.live.as_ref().map_or(usize::MAX, |live| live.runner.len());
            let given = ledger.attempts_on(node::id(place)).count();
            (node.slots as usize).saturating_sub(running.max(given))
        });
        let free_slots = free.sum();
        self.watch.queue(self.now_us, &queued, free_slots)
    }

    /// The node that acts as leader; of several the one of the highest term.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leading = |(place, node): (usize, &Node)| {
            let cast = &node.live.as_ref()?.cast;
            cast.is_master().then(|| (cast.status().term, place))
        };
        self.nodes.iter().enumerate().filter_map(leading).max().map(|(_, place)| place)
    }

    pub(crate) fn wall_ms(&self, place: usize) -> u64 {
        WALL_MS + self.nodes[place].skew_ms + self.now_us / MS
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
        let delay_us = self.chance.below(200);
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

fn new_node(chance: &mut Chance) -> Node {
    Node {
        boot: Boot(0),
        disk: crate::disk::Disk::default(),
        live: None,
        slots: chance.between(1, 4) as u32,
        skew_ms: chance.below(20_000),
        tick_us: TICK_MS * MS + chance.below(MS),
        sync_us: chance.between(MS, 8 * MS),
    }
}

/// `acked_survives`: whatever a crash does to a disk, a node starts again from what was synced.
fn cannot_start(name: usize, error: &dyn std::fmt::Display) -> Broken {
    Broken { invariant: "acked_survives", detail: format!("n{name} cannot start from its disk: {error}") }
}
