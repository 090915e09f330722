//! Views: what was heard of each node, by kind, with when it was heard.
//!
//! ```text
//!   topic, body ──hear──▶ node ─▶ start ─▶ kind ─▶ (number, body, since)
//! ```
//! Taken is what is newer than what is there: a later start of the node empties its entry, within a start the higher
//! number wins. So repetitions, detours and circles of listeners change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::limits::MEMBERS;

use super::kinds::Kind;
use super::limits::{MESSAGES_A_NODE, MESSAGES_BYTES, SHARERS_LEAST, STALE, VALUE_BYTES};
use super::said::Said;
use super::topics::{AGAIN, Topic, info};

/// What became of something heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Took {
    /// It is in the view.
    New,
    /// The view has it, or something newer.
    Old,
    /// A job or the lead: nothing for a view.
    Event,
    /// It does not have the form, is too large, or its node is not wanted here.
    Refused,
}

/// A node whose news are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its id, hexadecimal.
    pub(crate) id: String,
    /// Its latest known start.
    pub(crate) boot: u64,
}

/// Everything heard. By itself it takes news of any node; [`Views::want`] limits it to some.
#[derive(Debug, Default)]
pub(crate) struct Views {
    nodes: BTreeMap<String, Entry>,
    wanted: Option<BTreeMap<String, Wanted>>,
}

/// What one start of one node said.
#[derive(Debug)]
struct Entry {
    id: String,
    boot: u64,
    /// When it last said something, by its own clock.
    at: String,
    /// When something new was last heard of it.
    since: Instant,
    infos: BTreeMap<Kind, Heard>,
    messages: BTreeMap<String, Heard>,
    /// Numbers of messages with their places: the oldest first.
    order: BTreeSet<(u64, String)>,
    message_bytes: usize,
}

/// One value.
#[derive(Clone, Debug)]
struct Heard {
    number: u64,
    body: Arc<str>,
    /// Where in the body the value stands.
    value: Range<usize>,
    since: Instant,
}

/// One value, to be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its place in the view of its node: `common`, …, `msg/KIND/NAME`.
    pub kind: String,
    body: Arc<str>,
    value: Range<usize>,
    /// Since when it is known here.
    pub age: Duration,
}

impl Shown {
    /// The value as JSON text.
    #[must_use]
    pub fn value(&self) -> &str {
        self.body.get(self.value.clone()).unwrap_or("null")
    }
}

impl Entry {
    fn new(said: &Said<'_>, now: Instant) -> Self {
        Self {
            id: said.id.to_string(),
            boot: said.boot,
            at: said.at.to_string(),
            since: now,
            infos: BTreeMap::new(),
            messages: BTreeMap::new(),
            order: BTreeSet::new(),
            message_bytes: 0,
        }
    }

    /// Whether `said` comes of a later start than this; none: of this very one.
    fn yields_to(&self, said: &Said<'_>) -> Option<bool> {
        match (self.id == said.id, self.boot == said.boot) {
            (true, true) => None,
            (true, false) => Some(said.boot > self.boot),
            // Another node of the same name: only their clocks can tell.
            (false, _) => Some(*said.at > *self.at),
        }
    }

    fn keep_message(&mut self, place: &str, heard: Heard) {
        self.message_bytes += heard.body.len();
        let number = heard.number;
        if let Some(before) = self.messages.insert(place.to_string(), heard) {
            self.message_bytes -= before.body.len();
            self.order.remove(&(before.number, place.to_string()));
        }
        self.order.insert((number, place.to_string()));
    }

    fn forget_oldest(&mut self, bytes: usize) {
        while self.messages.len() > MESSAGES_A_NODE || self.message_bytes > bytes {
            let Some((_, place)) = self.order.pop_first() else { return };
            if let Some(gone) = self.messages.remove(&place) {
                self.message_bytes -= gone.body.len();
            }
        }
    }

    fn all(&self, now: Instant) -> impl Iterator<Item = Shown> {
        let infos = self.infos.iter().map(|(kind, heard)| (kind.word(), heard));
        let messages = self.messages.iter().map(|(place, heard)| (place.as_str(), heard));
        infos.chain(messages).map(move |(kind, heard)| heard.shown(kind, now))
    }
}

impl Heard {
    fn shown(&self, kind: &str, now: Instant) -> Shown {
        Shown {
            kind: kind.to_string(),
            body: Arc::clone(&self.body),
            value: self.value.clone(),
            age: now.saturating_duration_since(self.since),
        }
    }
}

impl Views {
    /// Takes news of these nodes only from now on, and forgets the others; so it does with what earlier starts of these said.
    pub(crate) fn want(&mut self, wanted: BTreeMap<String, Wanted>) {
        self.nodes.retain(|name, entry| {
            wanted.get(name).is_some_and(|wanted| wanted.id == entry.id && wanted.boot <= entry.boot)
        });
        self.wanted = Some(wanted);
    }

    /// Takes something in, if it is new.
    pub(crate) fn hear(&mut self, topic: &str, body: &str, now: Instant) -> Took {
        let topic = match Topic::read(topic) {
            None => return Took::Refused,
            Some(Topic::Event) => return Took::Event,
            Some(topic) => topic,
        };
        let Some(said) = Said::read(body).filter(|_| body.len() <= VALUE_BYTES) else { return Took::Refused };
        let value = match topic {
            Topic::Info { node, .. } if node == said.node => Some(0..body.len()),
            Topic::Message { .. } => said.value(body),
            Topic::Info { .. } | Topic::Event => None,
        };
        let Some(value) = value.filter(|_| self.wants(&said)) else { return Took::Refused };
        let entry = match self.entry(&said, now) {
            Some(entry) => entry,
            None => return Took::Old,
        };
        let known = match topic {
            Topic::Info { kind, .. } => entry.infos.get(&kind),
            Topic::Message { place } => entry.messages.get(place),
            Topic::Event => None,
        };
        if known.is_some_and(|known| known.number >= said.number) {
            return Took::Old;
        }
        (entry.since, entry.at) = (now, said.at.to_string());
        let heard = Heard { number: said.number, body: body.into(), value, since: now };
        match topic {
            Topic::Info { kind, .. } => drop(entry.infos.insert(kind, heard)),
            Topic::Message { place } => entry.keep_message(place, heard),
            Topic::Event => {}
        }
        let part = MESSAGES_BYTES / self.nodes.len().max(SHARERS_LEAST);
        if let Some(entry) = self.nodes.get_mut(said.node.as_ref()) {
            entry.forget_oldest(part);
        }
        Took::New
    }

    fn wants(&self, said: &Said<'_>) -> bool {
        let Some(wanted) = &self.wanted else {
            return Topic::read(&info(Kind::Common, &said.node)).is_some();
        };
        wanted.get(said.node.as_ref()).is_some_and(|wanted| wanted.id == said.id && wanted.boot <= said.boot)
    }

    /// The entry of whoever said this, begun anew when this comes of a later start; none: of an earlier one.
    fn entry(&mut self, said: &Said<'_>, now: Instant) -> Option<&mut Entry> {
        let name = said.node.as_ref();
        let yields = match self.nodes.get(name) {
            None => Some(true),
            Some(entry) => {
                entry.yields_to(said).map(|later| later || now.saturating_duration_since(entry.since) > STALE)
            }
        };
        match yields {
            Some(false) => return None,
            Some(true) => {
                self.make_room(name);
                self.nodes.insert(name.to_string(), Entry::new(said, now));
            }
            None => {}
        }
        self.nodes.get_mut(name)
    }

    /// The node that has been silent for the longest gives way to one that is not here yet.
    fn make_room(&mut self, name: &str) {
        if self.nodes.len() < MEMBERS || self.nodes.contains_key(name) {
            return;
        }
        let silent = self.nodes.iter().min_by_key(|(_, entry)| entry.since).map(|(name, _)| name.clone());
        if let Some(silent) = silent {
            self.nodes.remove(&silent);
        }
    }

    /// Everything, by node.
    pub(crate) fn all(&self, now: Instant) -> Vec<(String, Vec<Shown>)> {
        self.nodes.iter().map(|(name, entry)| (name.clone(), entry.all(now).collect())).collect()
    }

    /// One value.
    pub(crate) fn one(&self, node: &str, kind: &str, now: Instant) -> Option<Shown> {
        let entry = self.nodes.get(node)?;
        let heard = match Kind::named(kind) {
            Some(kind) => entry.infos.get(&kind),
            None => entry.messages.get(kind),
        };
        heard.map(|heard| heard.shown(kind, now))
    }

    /// What is repeated for somebody who came late, of one node or of all: topics and bodies as they were. Messages only if
    /// wanted, and under topics of their own.
    pub(crate) fn again(&self, of: Option<&str>, messages: bool, now: Instant) -> Vec<(String, Arc<str>)> {
        let fresh = |heard: &&Heard| of.is_some() || now.saturating_duration_since(heard.since) <= STALE;
        let mut again = Vec::new();
        for (name, entry) in self.nodes.iter().filter(|(name, _)| of.is_none_or(|of| of == **name)) {
            let infos = entry.infos.iter().filter(|(_, heard)| fresh(heard));
            again.extend(infos.map(|(kind, heard)| (info(*kind, name), Arc::clone(&heard.body))));
            if messages {
                let old = entry.order.iter().filter_map(|(_, place)| entry.messages.get_key_value(place));
                again.extend(old.map(|(place, heard)| (format!("{AGAIN}{place}"), Arc::clone(&heard.body))));
            }
        }
        again
    }
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
