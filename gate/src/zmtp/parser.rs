//! A peer's bytes in, what of them libzmq gets out; or why the peer must go.

use std::sync::Arc;

use super::command::Command;
use super::frame::{Frame, Head};
use super::greeting::Greeting;
use super::ready::Introduction;
use super::subscriptions::Subscriptions;
use crate::conn::Conn;
use crate::limits;
use crate::refusal::Refusal;
use crate::rules::{Kind, Rules};

/// Where in the protocol a peer is.
#[derive(Debug)]
enum Place {
    Greeting(Greeting),
    Head(Head),
    /// So many bytes of a frame of a message are still to come; they pass as they come.
    Body {
        left: usize,
        more: bool,
    },
    /// A frame that is judged as a whole: a command, or a subscription.
    Held {
        frame: Vec<u8>,
        head_bytes: usize,
        left: usize,
        command: bool,
    },
}

/// Reads one peer's bytes, in pieces of any size.
#[derive(Debug)]
pub(crate) struct Parser {
    conn: Conn,
    rules: Arc<Rules>,
    place: Place,
    kind: Option<Kind>,
    introduction: Option<(Introduction, usize)>,
    frames: usize,
    bytes: usize,
    bodies: usize,
    turns: u64,
    changes: u64,
    topics: Subscriptions,
}

impl Parser {
    pub(crate) fn new(conn: Conn, rules: Arc<Rules>) -> Self {
        Self {
            conn,
            rules,
            place: Place::Greeting(Greeting::default()),
            kind: None,
            introduction: None,
            frames: 0,
            bytes: 0,
            bodies: 0,
            turns: 0,
            changes: 0,
            topics: Subscriptions::default(),
        }
    }

    /// Whether the peer has begun to speak ZeroMQ.
    pub(crate) fn speaks(&self) -> bool {
        match &self.place {
            Place::Greeting(greeting) => greeting.signed(),
            Place::Head(_) | Place::Body { .. } | Place::Held { .. } => true,
        }
    }

    /// Whether the greeting is complete.
    pub(crate) fn greeted(&self) -> bool {
        !matches!(self.place, Place::Greeting(_))
    }

    /// Whether the peer has introduced itself.
    pub(crate) fn introduced(&self) -> bool {
        self.kind.is_some()
    }

    /// The introduction, once, and where in the last `out` it ends: what follows must wait for libzmq's own.
    pub(crate) fn introduction(&mut self) -> Option<(Introduction, usize)> {
        self.introduction.take()
    }

    /// Bytes of bodies passed since this was asked last.
    pub(crate) fn bodies(&mut self) -> usize {
        std::mem::take(&mut self.bodies)
    }

    /// Of those ever passed, the ones that belong to a message that is not complete yet.
    pub(crate) fn unfinished(&self) -> usize {
        match &self.place {
            Place::Body { left, .. } => self.bytes - left,
            Place::Held { command: false, .. } => 0,
            Place::Greeting(_) | Place::Head(_) | Place::Held { .. } => self.bytes,
        }
    }

    /// How many bytes can be read that certainly belong to no body, for somebody who may not read any of a body: those that
    /// complete an introduction, or, inside a message, the next head or a command.
    pub(crate) fn bytes_without_bodies(&self) -> usize {
        let needed = self.frames > 0 || !self.introduced();
        match &self.place {
            Place::Greeting(greeting) => greeting.left(),
            Place::Head(_) if needed => 1,
            Place::Held { left, command: true, .. } if needed => *left,
            Place::Head(_) | Place::Held { .. } | Place::Body { .. } => 0,
        }
    }

    /// Whether nothing has begun that is not complete.
    pub(crate) fn resting(&self) -> bool {
        self.frames == 0 && matches!(&self.place, Place::Head(head) if !head.begun())
    }

    /// How often something has become complete, a message or a command between two messages.
    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// Changes of subscriptions so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Reads `input`; what may go to libzmq is appended to `out`.
    ///
    /// # Errors
    /// Why the peer must go. Nothing of what it was refused for is in `out`, and the parser must not be used any more.
    pub(crate) fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        while let Some((byte, after)) = input.split_first() {
            match &mut self.place {
                Place::Greeting(greeting) => {
                    input = after;
                    if let Some(made) = greeting.take(*byte)? {
                        out.extend_from_slice(&made);
                        self.place = Place::Head(Head::default());
                    }
                }
                Place::Head(head) => {
                    input = after;
                    if let Some(frame) = head.take(*byte)? {
                        let head = std::mem::take(head);
                        self.begin(frame, head.bytes(), out)?;
                    }
                }
                Place::Body { left, more } => {
                    let (taken, rest) = input.split_at(input.len().min(*left));
                    input = rest;
                    *left -= taken.len();
                    let (ended, more) = (*left == 0, *more);
                    out.extend_from_slice(taken);
                    self.bodies += taken.len();
                    if ended {
                        self.end_part(more);
                    }
                }
                Place::Held { frame, left, .. } => {
                    let (taken, rest) = input.split_at(input.len().min(*left));
                    input = rest;
                    *left -= taken.len();
                    let ended = *left == 0;
                    frame.extend_from_slice(taken);
                    if ended {
                        self.judge(out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A frame's head is complete.
    fn begin(&mut self, frame: Frame, head: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (most, over) = self.most(frame)?;
        let length = usize::try_from(frame.length).ok().filter(|length| *length <= most).ok_or(over)?;
        if !frame.command {
            self.begin_part(frame, length)?;
        }
        if frame.command || self.only_subscribes() {
            let (held, head_bytes) = (head.to_vec(), head.len());
            self.place = Place::Held { frame: held, head_bytes, left: length, command: frame.command };
            return if length == 0 { self.judge(out) } else { Ok(()) };
        }
        out.extend_from_slice(head);
        self.place = Place::Body { left: length, more: frame.more };
        if length == 0 {
            self.end_part(frame.more);
        }
        Ok(())
    }

    fn only_subscribes(&self) -> bool {
        self.kind.is_some_and(Kind::only_subscribes)
    }

    /// How long such a frame may be, and what it is when it is longer.
    fn most(&self, frame: Frame) -> Result<(usize, Refusal), Refusal> {
        match (self.introduced(), frame.command) {
            (false, true) => Ok((limits::READY_BYTES, Refusal::Ready)),
            (false, false) => Err(Refusal::Ready),
            (true, true) if self.only_subscribes() => {
                let subscription = limits::SUBSCRIBE_BYTES.saturating_add(self.rules.frame_bytes);
                Ok((subscription.max(limits::PING_BYTES), Refusal::FrameBytes))
            }
            (true, true) => Ok((limits::PING_BYTES, Refusal::Command)),
            (true, false) => Ok((self.rules.frame_bytes, Refusal::FrameBytes)),
        }
    }

    /// A frame of a message begins.
    fn begin_part(&mut self, frame: Frame, length: usize) -> Result<(), Refusal> {
        if frame.more && self.only_subscribes() {
            return Err(Refusal::Subscription);
        }
        self.frames += 1;
        if self.frames > self.rules.message_frames {
            return Err(Refusal::MessageFrames);
        }
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > self.rules.message_bytes {
            return Err(Refusal::MessageBytes);
        }
        Ok(())
    }

    /// A frame of a message is complete, and the message with it when no other follows.
    fn end_part(&mut self, more: bool) {
        self.place = Place::Head(Head::default());
        if !more {
            self.frames = 0;
            self.bytes = 0;
            self.turns += 1;
        }
    }

    /// A frame that was held is complete.
    fn judge(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let place = std::mem::replace(&mut self.place, Place::Head(Head::default()));
        let Place::Held { frame, head_bytes, command, .. } = place else {
            return Ok(());
        };
        let body = frame.get(head_bytes..).unwrap_or_default();
        if !self.introduced() {
            let said = Introduction::read(body)?;
            if !self.rules.kinds.contains(&said.kind) {
                return Err(Refusal::Kind);
            }
            out.extend_from_slice(&said.for_libzmq(self.conn));
            self.kind = Some(said.kind);
            self.introduction = Some((said, out.len()));
            self.turns += 1;
            return Ok(());
        }
        if command {
            self.command(body)?;
        } else {
            self.topics.message(body, self.rules.subscriptions)?;
            self.changes += 1;
            self.bodies += body.len();
            self.end_part(false);
        }
        out.extend_from_slice(&frame);
        Ok(())
    }

    fn command(&mut self, body: &[u8]) -> Result<(), Refusal> {
        match Command::read(body)? {
            Command::Life => {}
            Command::Subscribe(_) | Command::Cancel(_) if !self.only_subscribes() => {
                return Err(Refusal::Command);
            }
            Command::Subscribe(topic) => {
                self.topics.add(topic, self.rules.subscriptions)?;
                self.changes += 1;
            }
            Command::Cancel(topic) => {
                self.topics.remove(topic);
                self.changes += 1;
            }
        }
        if self.frames == 0 {
            self.turns += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
