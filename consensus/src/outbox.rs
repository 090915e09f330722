//! What waits for which sync.
//!
//! A message of a follower or candidate may promise something ("I stored up to 7", "you have my vote"), so it waits until
//! all writes handed out before it are synced. A leader's messages promise nothing but its term, so they wait only for
//! the write that made the term its own. (With more than one voter that write was synced before the votes could come in;
//! a sole voter elects itself in no time, and without this wait it could lead one term twice, before and after a crash.)

use crate::Message;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Vec<(u64, Message)>,
    written: u64,
    synced: u64,
    term_written: u64,
}

impl Outbox {
    /// A write goes to the disk; `of_term` when it carries a new term or vote.
    pub(crate) fn wrote(&mut self, number: u64, of_term: bool) {
        self.written = number;
        if of_term {
            self.term_written = number;
        }
    }

    /// The disk has everything that was handed out.
    pub(crate) fn all_synced(&self) -> bool {
        self.synced == self.written
    }

    /// The last write handed out.
    pub(crate) fn last_written(&self) -> u64 {
        self.written
    }

    /// Keeps a message until its sync.
    pub(crate) fn put(&mut self, message: Message, leader: bool, at_once: bool) {
        let until = match (at_once, leader) {
            (true, _) => 0,
            (false, true) => self.term_written,
            (false, false) => self.written,
        };
        self.waiting.push((until, message));
    }

    /// The disk synced `number` and all before.
    pub(crate) fn synced(&mut self, number: u64) {
        self.synced = self.synced.max(number);
    }

    /// Messages that may leave now, in the order they were made.
    pub(crate) fn take(&mut self, into: &mut Vec<Message>) {
        let synced = self.synced;
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(until, _)| *until <= synced);
        self.waiting = waiting;
        into.extend(ready.into_iter().map(|(_, message)| message));
    }
}
