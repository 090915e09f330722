//! A lane with its sockets.

use std::time::{Duration, Instant};

use zmq::{PollEvents, PollItem};

use super::clients::Clients;
use super::frames;
use super::lane::{Lane, Refused, Rules, Want};
use super::link::{Link, Slot};
use super::trail::Trail;
use super::turn::Around;
use crate::limits;

/// Steps of one turn: a job that waits for nothing takes four from its coming to its answer.
const STEPS: usize = 8;
const AWAY: Duration = Duration::from_millis(limits::AWAY_MS);

pub(super) struct Line {
    number: usize,
    class: String,
    lane: Lane,
    worker: Slot,
    /// The first broker was told the class under the present name.
    is_registered: bool,
    clients: Clients,
    /// Since when the second broker is away.
    away_since: Option<Instant>,
}

impl Line {
    pub(super) fn new(number: usize, class: &str, rules: &Rules, around: &Around<'_>) -> Self {
        let usual = Trail::default().with(rules.id);
        Self {
            number,
            class: class.to_string(),
            lane: Lane::new(rules.clone()),
            worker: Slot::new(around.now),
            is_registered: false,
            clients: Clients::new(number, usual, around),
            away_since: Some(around.now),
        }
    }

    /// Whether the first broker knows it as a worker.
    pub(super) fn serves(&self) -> bool {
        self.is_registered && self.worker.is_up()
    }

    /// Whether the second broker is there.
    pub(super) fn reaches(&self) -> bool {
        self.clients.is_up()
    }

    /// Whether it has nothing under way and can be dropped.
    pub(super) fn is_free(&self) -> bool {
        self.lane.is_free()
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self, around: &Around<'_>) {
        self.look(around);
        if let Some(trail) = self.lane.tick(around.now) {
            self.clients.renew(&trail, around);
        }
        self.attend(around);
        for _ in 0..STEPS {
            if !self.step(around) {
                break;
            }
            // Without a delay the time for the next step has come already.
            self.lane.tick(around.now);
        }
        if self.lane.is_free() && !self.may_serve(around) {
            self.leave(around);
        }
    }

    /// Hears which connections ended.
    fn look(&mut self, around: &Around<'_>) {
        if self.worker.look(around.now) {
            self.is_registered = false;
            if let Some(trail) = self.lane.forget() {
                self.clients.renew(&trail, around);
            }
        }
        for trail in self.clients.look(around) {
            self.lane.lost(&trail);
        }
        self.away_since = match (self.clients.is_up(), self.away_since) {
            (true, _) => None,
            (false, None) => Some(around.now),
            (false, since) => since,
        };
    }

    /// Whether it may take jobs: a bridge that leads nowhere offers itself to nobody.
    fn may_serve(&self, around: &Around<'_>) -> bool {
        !around.stopping && self.away_since.is_none_or(|since| around.now < since + AWAY)
    }

    /// Is a worker of the first broker, where it may be one.
    fn attend(&mut self, around: &Around<'_>) {
        if self.clients.is_up() && self.may_serve(around) {
            let open = || {
                let name = around.names.worker(self.number);
                Link::open(around.context, around.workers_url, &name, limits::LINGER_MS, around.now)
            };
            if let Err(error) = self.worker.fill(around.now, open) {
                (around.say)(&format!("connecting to {}: {error}", around.workers_url));
            }
        }
        if let Some(link) = self.worker.link().filter(|_| !self.is_registered) {
            self.is_registered = link.send(&frames::registration(&self.class));
        }
    }

    fn leave(&mut self, around: &Around<'_>) {
        self.worker.close(around.now);
        self.is_registered = false;
    }

    /// One step, where one can be done.
    fn step(&mut self, around: &Around<'_>) -> bool {
        let worker = self.worker.link().filter(|_| self.is_registered);
        match self.lane.want() {
            Want::Time => false,
            Want::Job => match worker.and_then(Link::receive) {
                Some(message) => self.take(message, around),
                None => false,
            },
            Want::Ask { trail, message } => {
                let link = self.clients.link(trail, around);
                let sent = link.is_some_and(|link| link.ask(&frames::request(message, &self.class)));
                if sent {
                    self.lane.asked();
                }
                sent
            }
            Want::Reply { trail } => {
                match self.clients.link(trail, around).and_then(Link::receive).map(frames::reply) {
                    Some(Ok(reply)) => self.lane.reply(reply, around.now),
                    Some(Err(fault)) => {
                        (around.say)(&format!("{}: {fault}", around.clients_url));
                        self.lane.reply(b"ERROR frames".to_vec(), around.now);
                    }
                    None => return false,
                }
                true
            }
            Want::Answer { client, reply } => {
                let answer = frames::answer(client, reply, &self.class);
                let sent = worker.is_some_and(|link| link.send(&answer));
                if sent {
                    self.lane.answered();
                }
                sent
            }
        }
    }

    /// A message of the first broker: a job, one hopes.
    fn take(&mut self, message: Vec<Vec<u8>>, around: &Around<'_>) -> bool {
        match frames::job(message) {
            Ok((client, message)) => {
                if let Err(refused) = self.lane.take(client, message, around.now) {
                    (around.say)(&told(&refused, around));
                }
                true
            }
            Err(fault) => {
                // The broker takes this name for busy, and whom to answer is not known: it begins anew under another.
                (around.say)(&format!("{}: {fault}", around.workers_url));
                self.leave(around);
                false
            }
        }
    }

    /// When it wants a turn although nothing comes.
    pub(super) fn due(&self, around: &Around<'_>) -> Option<Instant> {
        let serving = self.clients.is_up() && self.may_serve(around);
        let worker = self.worker.due().filter(|_| serving);
        let away = self.away_since.map(|since| since + AWAY).filter(|at| *at > around.now);
        [self.lane.due(), worker, away, self.clients.due(around)].into_iter().flatten().min()
    }

    /// For a poll: exactly what the next step waits for, so that a poll never returns for nothing.
    pub(super) fn poll_items(&self) -> impl Iterator<Item = PollItem<'_>> {
        let mut worker = if self.is_registered { PollEvents::empty() } else { zmq::POLLOUT };
        let mut client = None;
        match self.lane.want() {
            Want::Time => {}
            Want::Job if self.is_registered => worker = zmq::POLLIN,
            Want::Job => {}
            Want::Answer { .. } => worker |= zmq::POLLOUT,
            Want::Ask { trail, .. } => client = Some((trail, zmq::POLLOUT)),
            Want::Reply { trail } => client = Some((trail, zmq::POLLIN)),
        }
        self.worker.poll_items(worker).chain(self.clients.poll_items(client))
    }
}

fn told(refused: &Refused, around: &Around<'_>) -> String {
    match refused {
        Refused::Loop(trail) => format!("refused as a loop: {} is in the trail {trail} already", around.id),
        Refused::Hops(trail) => {
            format!("refused: its trail {trail} has {} bridges, at most {}", trail.hops(), limits::HOPS)
        }
    }
}
