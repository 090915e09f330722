//! Figures of a gate, for its metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::refusal::Refusal;

/// Figures of a gate since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections there are now, strangers and ended ones with unread messages included.
    pub connections: usize,
    /// Peers that have introduced themselves.
    pub opened: u64,
    /// Bytes of bodies that went to libzmq.
    pub bytes: u64,
    /// Bytes of bodies there and not taken by the program; 0 when they are not counted.
    pub unread_bytes: usize,
    /// Bytes of ended connections that the program did not take for so long that they were given up.
    pub given_up_bytes: u64,
    /// Connections closed by the gate, by reason; all reasons, in the order of [`Refusal::ALL`].
    pub refused: Vec<(Refusal, u64)>,
}

#[derive(Debug)]
pub(crate) struct Counters {
    opened: AtomicU64,
    bytes: AtomicU64,
    given_up_bytes: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            opened: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            given_up_bytes: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
        }
    }

    /// A peer has introduced itself.
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of bodies go to libzmq.
    pub(crate) fn passed(&self, bytes: usize) {
        add(&self.bytes, bytes);
    }

    /// So many bytes were not waited for any longer.
    pub(crate) fn given_up(&self, bytes: usize) {
        add(&self.given_up_bytes, bytes);
    }

    /// A connection was closed for that reason.
    pub(crate) fn refused(&self, why: Refusal) {
        if let Some(counter) = self.refused.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self, connections: usize, unread_bytes: usize) -> Counts {
        let refused = Refusal::ALL.iter().zip(&self.refused);
        Counts {
            connections,
            opened: self.opened.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            unread_bytes,
            given_up_bytes: self.given_up_bytes.load(Ordering::Relaxed),
            refused: refused.map(|(why, counter)| (*why, counter.load(Ordering::Relaxed))).collect(),
        }
    }
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}
