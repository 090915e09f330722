//! Reads that must see everything acknowledged before them, by `ReadIndex`: a majority confirms the leader, then this
//! node's own ledger has to reach the index. The engine may lose one without a word, so each is asked again.

use std::collections::BTreeMap;

use protocol::limits::WRITE_PATIENCE_MS;

/// A read that brought nothing in this time asks again under a new context.
const READ_RETRY_MS: u64 = 200;

#[derive(Clone, Debug)]
struct Open {
    ticket: u64,
    waited_ms: u64,
    since_asked_ms: u64,
    /// A leader was known, so consensus took it.
    asked: bool,
}

/// The reads of one node.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    next_context: u64,
    open: BTreeMap<u64, Open>,
}

/// What a tick brings.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Contexts to ask consensus with, now.
    pub(crate) ask: Vec<u64>,
    /// Tickets whose time is over.
    pub(crate) lost: Vec<u64>,
}

impl Reads {
    /// `salt` keeps contexts of different nodes and starts apart: a leader tells them apart by nothing else.
    pub(crate) fn new(salt: u64) -> Self {
        Self { next_context: salt, open: BTreeMap::new() }
    }

    /// Takes a read and names the context to ask with.
    pub(crate) fn take(&mut self, ticket: u64) -> u64 {
        self.next_context = self.next_context.wrapping_add(1);
        let open = Open { ticket, waited_ms: 0, since_asked_ms: 0, asked: true };
        self.open.insert(self.next_context, open);
        self.next_context
    }

    /// No leader was known for this context: the next tick asks again.
    pub(crate) fn refused(&mut self, context: u64) {
        if let Some(open) = self.open.get_mut(&context) {
            open.asked = false;
        }
    }

    /// The context is confirmed: whose it was, if it is still wanted.
    pub(crate) fn confirmed(&mut self, context: u64) -> Option<u64> {
        self.open.remove(&context).map(|open| open.ticket)
    }

    /// Whoever asked under this ticket wants no answer any more.
    pub(crate) fn forget(&mut self, ticket: u64) {
        self.open.retain(|_, open| open.ticket != ticket);
    }

    pub(crate) fn tick(&mut self, elapsed_ms: u64) -> Due {
        let mut due = Due::default();
        let mut again = Vec::new();
        for (context, open) in &mut self.open {
            open.waited_ms += elapsed_ms;
            open.since_asked_ms += elapsed_ms;
            if open.waited_ms >= WRITE_PATIENCE_MS || !open.asked || open.since_asked_ms >= READ_RETRY_MS {
                again.push(*context);
            }
        }
        for context in again {
            let Some(open) = self.open.remove(&context) else { continue };
            if open.waited_ms >= WRITE_PATIENCE_MS {
                due.lost.push(open.ticket);
            } else {
                self.next_context = self.next_context.wrapping_add(1);
                self.open.insert(self.next_context, Open { since_asked_ms: 0, asked: true, ..open });
                due.ask.push(self.next_context);
            }
        }
        due
    }
}
