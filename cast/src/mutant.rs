//! Purposely broken rules. Each must be caught by the invariant meant for it (`docs/guarantees.md`).

use worker::{Gateway, Worker};

use crate::cast::Following;

/// A broken rule. Without the feature `mutants` it has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A leader says `accepted` when it proposes, before any majority has it.
    #[cfg(feature = "mutants")]
    AckBeforeMajority,
    /// Votes and confirmations leave before they are on disk.
    #[cfg(feature = "mutants")]
    MessagesBeforeSync,
    /// A voter gives its vote to everybody who asks in a term.
    #[cfg(feature = "mutants")]
    VotesTwice,
    /// A leader acts before the first entry of its own term is applied.
    #[cfg(feature = "mutants")]
    LeadBeforeOwnEntry,
    /// A torn last write is taken for good at the next start.
    #[cfg(feature = "mutants")]
    TornTailTaken,
    /// What stands behind a failed sync is taken for good by the process that saw it fail.
    #[cfg(feature = "mutants")]
    FailedSyncTrusted,
    /// A read looks before a majority has confirmed the leader.
    #[cfg(feature = "mutants")]
    ReadWithoutIndex,
    /// A node applies entries with its own wall time.
    #[cfg(feature = "mutants")]
    OwnWallTime,
    /// What a leader said to an earlier session of this node is heard.
    #[cfg(feature = "mutants")]
    EarlierSessionHeard,
    /// A later success overwrites an ended job's result.
    #[cfg(feature = "mutants")]
    SecondResult,
    /// An ended job can be cancelled.
    #[cfg(feature = "mutants")]
    CancelsEnded,
    /// A failure of an attempt that was given up counts as one of the attempt that runs.
    #[cfg(feature = "mutants")]
    LateFailureCounts,
    /// The attempt after a lost one bears its number again.
    #[cfg(feature = "mutants")]
    SameAttemptNumber,
    /// A key is known only at the gateway that it first came through.
    #[cfg(feature = "mutants")]
    KeyPerGateway,
    /// Now and then nobody is told of a fact.
    #[cfg(feature = "mutants")]
    SkipsFacts,
    /// A job that may have one attempt at most gets another one where that was lost.
    #[cfg(feature = "mutants")]
    OnceMore,
    /// A front end is told of a job's end again when a late result of it comes.
    #[cfg(feature = "mutants")]
    TellsTwice,
    /// A leader gives a running attempt to another worker after one missed report.
    #[cfg(feature = "mutants")]
    RedispatchWhileHeld,
    /// A leader takes a slot for free as soon as its job has ended.
    #[cfg(feature = "mutants")]
    SlotFreedByJobsEnd,
    /// A leader forgets what it sent to a worker since its last report.
    #[cfg(feature = "mutants")]
    OverCapacity,
    /// A leader leaves its attempts with a worker that started anew.
    #[cfg(feature = "mutants")]
    ForgetsRestarts,
    /// A leader lets jobs begin whatever bounds they share by their key.
    #[cfg(feature = "mutants")]
    IgnoresShares,
    /// A worker ends what it runs when the lead changes.
    #[cfg(feature = "mutants")]
    EndsWithLead,
    /// A worker reports a result as another attempt's.
    #[cfg(feature = "mutants")]
    SwapsResults,
    /// A gateway says that a number is closed which is open.
    #[cfg(feature = "mutants")]
    FloorTooHigh,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// Every one of them.
    pub const ALL: [Self; 25] = [
        Self::AckBeforeMajority,
        Self::MessagesBeforeSync,
        Self::VotesTwice,
        Self::LeadBeforeOwnEntry,
        Self::TornTailTaken,
        Self::FailedSyncTrusted,
        Self::ReadWithoutIndex,
        Self::OwnWallTime,
        Self::EarlierSessionHeard,
        Self::SecondResult,
        Self::CancelsEnded,
        Self::LateFailureCounts,
        Self::SameAttemptNumber,
        Self::KeyPerGateway,
        Self::SkipsFacts,
        Self::OnceMore,
        Self::TellsTwice,
        Self::RedispatchWhileHeld,
        Self::SlotFreedByJobsEnd,
        Self::OverCapacity,
        Self::ForgetsRestarts,
        Self::IgnoresShares,
        Self::EndsWithLead,
        Self::SwapsResults,
        Self::FloorTooHigh,
    ];

    pub(crate) fn acks_early(this: Option<Self>) -> bool {
        this == Some(Self::AckBeforeMajority)
    }

    pub(crate) fn reads_at_once(this: Option<Self>) -> bool {
        this == Some(Self::ReadWithoutIndex)
    }

    pub(crate) fn is_heard(this: Option<Self>, ours: Following, named: Following) -> bool {
        let ignored = this == Some(Self::EarlierSessionHeard);
        ours == if ignored { Following { session: ours.session, ..named } } else { named }
    }

    pub(crate) fn entry(this: Option<Self>, entry: protocol::Entry, wall_ms: u64) -> protocol::Entry {
        if this == Some(Self::OwnWallTime) { protocol::Entry { wall_ms, ..entry } } else { entry }
    }

    pub(crate) fn of_consensus(this: Option<Self>) -> Option<consensus::Mutant> {
        match this? {
            Self::MessagesBeforeSync => Some(consensus::Mutant::MessagesBeforeSync),
            Self::VotesTwice => Some(consensus::Mutant::VotesTwice),
            Self::LeadBeforeOwnEntry => Some(consensus::Mutant::LeadBeforeOwnEntry),
            _ => None,
        }
    }

    pub(crate) fn of_master(this: Option<Self>) -> Option<master::Mutant> {
        match this? {
            Self::RedispatchWhileHeld => Some(master::Mutant::RedispatchWhileHeld),
            Self::SlotFreedByJobsEnd => Some(master::Mutant::SlotFreedByJobsEnd),
            Self::OverCapacity => Some(master::Mutant::OverCapacity),
            Self::ForgetsRestarts => Some(master::Mutant::ForgetsRestarts),
            Self::IgnoresShares => Some(master::Mutant::IgnoresShares),
            _ => None,
        }
    }

    pub(crate) fn ledger(this: Option<Self>) -> master::Ledger {
        let rule = match this {
            Some(Self::SecondResult) => master::LedgerMutant::SecondResult,
            Some(Self::CancelsEnded) => master::LedgerMutant::CancelsEnded,
            Some(Self::LateFailureCounts) => master::LedgerMutant::LateFailureCounts,
            Some(Self::SameAttemptNumber) => master::LedgerMutant::SameAttemptNumber,
            Some(Self::KeyPerGateway) => master::LedgerMutant::KeyPerGateway,
            Some(Self::SkipsFacts) => master::LedgerMutant::SkipsFacts,
            Some(Self::OnceMore) => master::LedgerMutant::OnceMore,
            Some(Self::TellsTwice) => master::LedgerMutant::TellsTwice,
            _ => return master::Ledger::new(),
        };
        master::Ledger::with_mutant(rule)
    }

    pub(crate) fn worker(this: Option<Self>, worker: Worker) -> Worker {
        worker.with_mutant(match this {
            Some(Self::EndsWithLead) => Some(worker::Mutant::EndsWithLead),
            Some(Self::SwapsResults) => Some(worker::Mutant::SwapsResults),
            _ => None,
        })
    }

    pub(crate) fn gateway(this: Option<Self>) -> Gateway {
        Gateway::new().with_floor_too_high(this == Some(Self::FloorTooHigh))
    }
}

#[cfg(not(feature = "mutants"))]
impl Mutant {
    pub(crate) fn acks_early(_: Option<Self>) -> bool {
        false
    }

    pub(crate) fn reads_at_once(_: Option<Self>) -> bool {
        false
    }

    pub(crate) fn is_heard(_: Option<Self>, ours: Following, named: Following) -> bool {
        ours == named
    }

    pub(crate) fn entry(_: Option<Self>, entry: protocol::Entry, _: u64) -> protocol::Entry {
        entry
    }

    pub(crate) fn of_consensus(_: Option<Self>) -> Option<consensus::Mutant> {
        None
    }

    pub(crate) fn ledger(_: Option<Self>) -> master::Ledger {
        master::Ledger::new()
    }

    pub(crate) fn worker(_: Option<Self>, worker: Worker) -> Worker {
        worker
    }

    pub(crate) fn gateway(_: Option<Self>) -> Gateway {
        Gateway::new()
    }
}
