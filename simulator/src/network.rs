//! A pretend network: what is on its way takes time, may be lost, doubled or overtaken, and cables can be cut in one
//! direction or in both.
//!
//! A consensus link is worse here than a connection is in truth: within one session messages are doubled and overtake each
//! other. What was sent in a session that has ended never arrives. A broker session keeps its order, and delivers late.

use std::collections::{BTreeMap, VecDeque};

use protocol::{Envelope, ToMaster, ToNode};

use crate::chance::Chance;
use crate::limits::MS;

/// How things are at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Of a thousand consensus messages, so many are lost.
    pub(crate) lost_permille: u64,
    /// Of a thousand consensus messages, so many come twice.
    pub(crate) doubled_permille: u64,
    /// The longest way.
    pub(crate) delay_us: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self { lost_permille: 0, doubled_permille: 2, delay_us: 3 * MS };
}

/// Cables between all pairs, and the order on each broker session.
pub(crate) struct Network {
    nodes: usize,
    /// How many faults cut the way from one node to another.
    cuts: Vec<u32>,
    /// The present session of the consensus link between two nodes, under both orders of them.
    links: Vec<u64>,
    pub(crate) weather: Weather,
    /// Broker messages under way, first in, first out on each session.
    letters: BTreeMap<Way, VecDeque<Letter>>,
}

/// One direction of one broker session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) session: u64,
    pub(crate) to_leader: bool,
}

/// A broker message under way.
pub(crate) struct Letter {
    at_us: u64,
    pub(crate) body: Body,
}

/// What it says.
pub(crate) enum Body {
    ToMaster(Envelope<ToMaster>),
    ToNode(Envelope<ToNode>),
}

/// What became of the first letter of a session.
pub(crate) enum Post {
    /// It arrived. The next one is due then.
    Arrived(Box<Body>, Option<u64>),
    /// None arrived; look again then.
    Later(Option<u64>),
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            cuts: vec![0; nodes * nodes],
            links: vec![0; nodes * nodes],
            weather: Weather::FAIR,
            letters: BTreeMap::new(),
        }
    }

    /// Cuts the way from one node to another, or undoes one such cut.
    pub(crate) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        let count = &mut self.cuts[from * self.nodes + to];
        *count = if cut { *count + 1 } else { count.saturating_sub(1) };
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.nodes + to] > 0
    }

    /// The session of the consensus link between two nodes: what was sent in an earlier one never arrives.
    pub(crate) fn link(&self, one: usize, other: usize) -> u64 {
        self.links[one * self.nodes + other]
    }

    /// The connection ends, and all that is on its way with it.
    pub(crate) fn end_link(&mut self, one: usize, other: usize) {
        self.links[one * self.nodes + other] += 1;
        self.links[other * self.nodes + one] += 1;
    }

    pub(crate) fn delay(&self, chance: &mut Chance) -> u64 {
        chance.between(100, self.weather.delay_us)
    }

    /// How long each copy of a consensus message is under way: none, one, or two of them.
    pub(crate) fn copies(&self, chance: &mut Chance) -> [Option<u64>; 2] {
        if chance.permille(self.weather.lost_permille) {
            return [None, None];
        }
        let doubled = chance.permille(self.weather.doubled_permille);
        let first = self.delay(chance);
        // A copy may come much later.
        [Some(first), doubled.then(|| first + chance.below(20) * self.delay(chance))]
    }

    /// Sends a broker message. Says when its session has to be looked at, if that is not known yet.
    pub(crate) fn post(&mut self, way: Way, body: Body, now_us: u64, chance: &mut Chance) -> Option<u64> {
        let at_us = now_us + self.delay(chance);
        let letters = self.letters.entry(way).or_default();
        letters.push_back(Letter { at_us, body });
        (letters.len() == 1).then_some(at_us)
    }

    /// Delivers the first letter of a session. Over a cut cable it is lost, or the library keeps it and delivers it late,
    /// with all that follow.
    pub(crate) fn deliver(&mut self, way: Way, now_us: u64, chance: &mut Chance) -> Post {
        let cut = self.is_cut(way.from, way.to);
        let Some(letters) = self.letters.get_mut(&way) else { return Post::Later(None) };
        if cut && chance.percent(60) {
            return Post::Later(Some(now_us + chance.between(100 * MS, 600 * MS)));
        }
        let first = letters.pop_front();
        let next = letters.front().map(|letter| letter.at_us.max(now_us + 1));
        if next.is_none() {
            self.letters.remove(&way);
        }
        match first {
            Some(letter) if !cut => Post::Arrived(Box::new(letter.body), next),
            _ => Post::Later(next),
        }
    }
}
