//! Purposely broken rules. Each must be caught by the invariant meant for it (`docs/guarantees.md`).

/// A broken rule. Without the feature `mutants` it has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A leader says `accepted` when it proposes, before any majority has it.
    #[cfg(feature = "mutants")]
    AckBeforeMajority,
    /// Votes and confirmations leave before they are on disk.
    #[cfg(feature = "mutants")]
    MessagesBeforeSync,
    /// A later success overwrites an ended job's result.
    #[cfg(feature = "mutants")]
    SecondResult,
    /// A leader gives a running attempt to another worker after one missed report.
    #[cfg(feature = "mutants")]
    RedispatchWhileHeld,
    /// A leader acts before the first entry of its own term is applied.
    #[cfg(feature = "mutants")]
    LeadBeforeOwnEntry,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// Every one of them.
    pub const ALL: [Self; 5] = [
        Self::AckBeforeMajority,
        Self::MessagesBeforeSync,
        Self::SecondResult,
        Self::RedispatchWhileHeld,
        Self::LeadBeforeOwnEntry,
    ];

    pub(crate) fn acks_early(this: Option<Self>) -> bool {
        this == Some(Self::AckBeforeMajority)
    }

    pub(crate) fn of_consensus(this: Option<Self>) -> Option<consensus::Mutant> {
        match this {
            Some(Self::MessagesBeforeSync) => Some(consensus::Mutant::MessagesBeforeSync),
            Some(Self::LeadBeforeOwnEntry) => Some(consensus::Mutant::LeadBeforeOwnEntry),
            _ => None,
        }
    }

    pub(crate) fn of_master(this: Option<Self>) -> Option<master::Mutant> {
        (this == Some(Self::RedispatchWhileHeld)).then_some(master::Mutant::RedispatchWhileHeld)
    }

    pub(crate) fn ledger(this: Option<Self>) -> master::Ledger {
        if this == Some(Self::SecondResult) {
            master::Ledger::with_mutant(master::LedgerMutant::SecondResult)
        } else {
            master::Ledger::new()
        }
    }
}

#[cfg(not(feature = "mutants"))]
impl Mutant {
    pub(crate) fn acks_early(_: Option<Self>) -> bool {
        false
    }

    pub(crate) fn of_consensus(_: Option<Self>) -> Option<consensus::Mutant> {
        None
    }

    pub(crate) fn ledger(_: Option<Self>) -> master::Ledger {
        master::Ledger::new()
    }
}
