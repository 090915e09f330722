//! Where all sides meet: the owner of the port tells, agents say, the listener hears, HTTP reads.
//!
//! It outlives `/stop`; what is in it does not.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use super::kinds::{Kind, Share};
use super::limits::{KEYS, VALUE_BYTES};
use super::queue::{Post, Queue};
use super::said::{Message, Speaker, body};
use super::topics;
use super::views::{Shown, Took, Views, Wanted};
use crate::clock::wall_ms;
use crate::http::shown::time;

/// What a node knows of all others and of itself, and its voice. Cheap to clone.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Inside>>);

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inside {
    views: Views,
    voice: Option<Voice>,
    keys: Keys,
    /// Of voices that were.
    dropped: u64,
}

/// How this node is heard, while it is not stopped.
pub(crate) struct Voice {
    speaker: Speaker,
    share: Share,
    queue: Arc<Queue>,
    /// Numbers given so far, to information and to messages.
    told: u64,
    said: u64,
}

/// What was said, for whoever said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Receipt {
    node: String,
    topic: String,
    number: u64,
    at: String,
}

/// Why nothing was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// The node is stopped, or has not found its cluster yet.
    NoVoice,
    /// Too much waits to be told.
    Full,
    /// The key was used for another message.
    KeyReused,
}

/// Messages by the key they came with, the newest ones only.
#[derive(Default)]
struct Keys {
    known: BTreeMap<String, (String, Receipt)>,
    order: VecDeque<String>,
}

impl Keys {
    fn keep(&mut self, key: String, what: String, receipt: Receipt) {
        self.order.push_back(key.clone());
        self.known.insert(key, (what, receipt));
        if self.order.len() > KEYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Voice {
    pub(crate) fn new(speaker: Speaker, share: Share, queue: Arc<Queue>) -> Self {
        Self { speaker, share, queue, told: 0, said: 0 }
    }
}

impl Inside {
    fn tell(&mut self, kind: Kind, what: &impl Serialize) -> bool {
        let Some(voice) = self.voice.as_mut().filter(|voice| voice.share.contains(&kind)) else {
            return false;
        };
        voice.told += 1;
        let topic = topics::info(kind, &voice.speaker.node);
        let Some(text) = body(&voice.speaker, voice.told, &time(wall_ms()), what) else { return false };
        if text.len() > VALUE_BYTES {
            voice.queue.count_dropped(1);
            return false;
        }
        self.publish(topic, text)
    }

    /// Tells something and takes it into the own view.
    fn publish(&mut self, topic: String, text: String) -> bool {
        let Some(voice) = &self.voice else { return false };
        let body: Arc<str> = text.into();
        let is_sent = voice.queue.put(topic.clone(), Arc::clone(&body)).is_ok();
        if is_sent {
            self.views.hear(&topic, &body, Instant::now());
        }
        is_sent
    }
}

impl Board {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One with a voice that nobody hears.
    #[cfg(test)]
    pub(crate) fn with_voice(node: &str) -> Self {
        let board = Self::default();
        let speaker = Speaker { node: node.to_string(), id: "1".to_string(), boot: 1 };
        if let Ok(queue) = Queue::new() {
            board.open(Voice::new(speaker, super::share_all(), Arc::new(queue)));
        }
        board
    }

    /// A new start: what was heard before is forgotten; only this node is known.
    pub(crate) fn open(&self, voice: Voice) {
        let mut inside = self.inside();
        let Speaker { node, id, boot } = voice.speaker.clone();
        inside.views = Views::default();
        inside.views.want([(node, Wanted { id, boot })].into());
        (inside.voice, inside.keys) = (Some(voice), Keys::default());
    }

    /// The end of a start.
    pub(crate) fn close(&self) {
        let mut inside = self.inside();
        inside.dropped += inside.voice.take().map_or(0, |voice| voice.queue.dropped());
        inside.views = Views::default();
    }

    /// Whose news are wanted beside the own ones.
    pub(crate) fn want(&self, mut wanted: BTreeMap<String, Wanted>) {
        let mut inside = self.inside();
        let Some(voice) = &inside.voice else { return };
        let Speaker { node, id, boot } = voice.speaker.clone();
        wanted.insert(node, Wanted { id, boot });
        inside.views.want(wanted);
    }

    /// Tells node information, unless its owner withholds it. False: withheld, too large, or no room.
    pub(crate) fn tell(&self, kind: Kind, what: &impl Serialize) -> bool {
        self.inside().tell(kind, what)
    }

    /// Tells node information; after it this start tells none.
    pub(crate) fn tell_last(&self, kind: Kind, what: &impl Serialize) {
        let mut inside = self.inside();
        inside.tell(kind, what);
        if let Some(voice) = &mut inside.voice {
            voice.share.clear();
        }
    }

    /// Says an agent's message; `key`, when there is one, makes a repetition the same message.
    pub(crate) fn say(
        &self,
        kind: &str,
        name: &str,
        value: &RawValue,
        key: Option<String>,
    ) -> Result<Receipt, Unsaid> {
        let mut inside = self.inside();
        let topic = topics::message(kind, name);
        let what = format!("{topic} {value}");
        if let Some((known, receipt)) = key.as_ref().and_then(|key| inside.keys.known.get(key)) {
            return if *known == what { Ok(receipt.clone()) } else { Err(Unsaid::KeyReused) };
        }
        let voice = inside.voice.as_mut().ok_or(Unsaid::NoVoice)?;
        let (number, at) = (voice.said + 1, time(wall_ms()));
        let receipt = Receipt { node: voice.speaker.node.clone(), topic: topic.clone(), number, at };
        let message = Message { kind, name, value };
        let text = body(&voice.speaker, number, &receipt.at, &message).ok_or(Unsaid::Full)?;
        if !inside.publish(topic, text) {
            return Err(Unsaid::Full);
        }
        if let Some(voice) = &mut inside.voice {
            voice.said = number;
        }
        if let Some(key) = key {
            inside.keys.keep(key, what, receipt.clone());
        }
        Ok(receipt)
    }

    /// Another node told this.
    pub(crate) fn hear(&self, topic: &str, body: &str) -> Took {
        self.inside().views.hear(topic, body, Instant::now())
    }

    /// What is repeated when somebody subscribes: of the own voice, or of everybody where there is none.
    pub(crate) fn again(&self, messages: bool) -> Vec<Post> {
        let inside = self.inside();
        let own = inside.voice.as_ref().map(|voice| voice.speaker.node.as_str());
        inside.views.again(own, messages, Instant::now())
    }

    /// `{node: {kind: value}}` as JSON text.
    #[must_use]
    pub fn page(&self) -> String {
        let all = self.inside().views.all(Instant::now());
        // Written by hand: the values are JSON texts already, and stay as they were said.
        let field = |name: &str, value: &str| format!("{}:{value}", serde_json::Value::from(name));
        let object = |fields: Vec<String>| format!("{{{}}}", fields.join(","));
        let node = |kinds: &[Shown]| object(kinds.iter().map(|one| field(&one.kind, one.value())).collect());
        object(all.iter().map(|(name, kinds)| field(name, &node(kinds))).collect())
    }

    /// One value.
    #[must_use]
    pub fn one(&self, node: &str, kind: &str) -> Option<Shown> {
        self.inside().views.one(node, kind, Instant::now())
    }

    /// How many pieces of news found no room on their way out since the process began.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let inside = self.inside();
        inside.dropped + inside.voice.as_ref().map_or(0, |voice| voice.queue.dropped())
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
