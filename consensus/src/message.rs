//! Messages between peers, and the way in and out of the engine's own types.

use bytes::Bytes;
use raft::eraftpb::{self, EntryType, MessageType};
use serde::{Deserialize, Serialize};

use crate::limits::ENTRY_OVERHEAD_BYTES;
use crate::{Base, Entry, HardState, Kind, Peer};

/// What a message is. The engine knows more; those are for within a node, or not used, and have no name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, clippy::allow_attributes, reason = "the names are the standard ones of the algorithm")]
pub enum MessageKind {
    Append,
    AppendResponse,
    Vote,
    VoteResponse,
    PreVote,
    PreVoteResponse,
    Heartbeat,
    HeartbeatResponse,
    TimeoutNow,
    ReadIndex,
    ReadIndexResponse,
    Snapshot,
}

/// One message from one peer to another. Encode it with any serde format (postcard is meant); give what was decoded to
/// [`crate::Consensus::step`], which checks every field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub(crate) kind: MessageKind,
    pub(crate) from: Peer,
    pub(crate) to: Peer,
    pub(crate) term: u64,
    pub(crate) log_term: u64,
    pub(crate) index: u64,
    pub(crate) commit: u64,
    pub(crate) commit_term: u64,
    pub(crate) reject: bool,
    pub(crate) reject_hint: u64,
    pub(crate) context: Bytes,
    pub(crate) entries: Vec<Entry>,
    /// Of a snapshot: its place and members. Its bytes go another way.
    pub(crate) base: Option<Box<Base>>,
}

/// Bytes of a command that are shared with the message they came in. Fewer are copied: a little must not keep much.
const SHARED_BYTES: usize = 16 * 1024;

/// A message as it is read: commands still lie in the bytes that it is read from.
#[derive(Debug, Deserialize)]
pub struct MessageRead<'a> {
    kind: MessageKind,
    from: Peer,
    to: Peer,
    term: u64,
    log_term: u64,
    index: u64,
    commit: u64,
    commit_term: u64,
    reject: bool,
    reject_hint: u64,
    context: &'a [u8],
    #[serde(borrow)]
    entries: Vec<EntryRead<'a>>,
    base: Option<Box<Base>>,
}

/// The same of an [`Entry`].
#[derive(Debug, Deserialize)]
struct EntryRead<'a> {
    term: u64,
    index: u64,
    kind: Kind,
    data: &'a [u8],
}

impl MessageRead<'_> {
    /// The message. Large commands share the bytes that they lie in, which are these, instead of being copied.
    #[must_use]
    pub fn share(self, bytes: &Bytes) -> Message {
        let data = |data: &[u8]| {
            if data.len() < SHARED_BYTES { Bytes::copy_from_slice(data) } else { bytes.slice_ref(data) }
        };
        let entries = self.entries.into_iter().map(|EntryRead { term, index, kind, data: lies }| Entry {
            term,
            index,
            kind,
            data: data(lies),
        });
        Message {
            kind: self.kind,
            from: self.from,
            to: self.to,
            term: self.term,
            log_term: self.log_term,
            index: self.index,
            commit: self.commit,
            commit_term: self.commit_term,
            reject: self.reject,
            reject_hint: self.reject_hint,
            context: Bytes::copy_from_slice(self.context),
            entries: entries.collect(),
            base: self.base,
        }
    }
}

impl Message {
    /// Who sent it.
    pub fn from(&self) -> Peer {
        self.from
    }

    /// Whom it is for.
    pub fn to(&self) -> Peer {
        self.to
    }

    /// Term of the sender, or the one it asks votes for; 0 for a read that is only passed on.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// What it is.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// About how many bytes it holds, for bounds of queues.
    pub fn bytes(&self) -> u64 {
        let entries = self.entries.iter().map(|entry| entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES);
        entries.sum::<u64>() + self.context.len() as u64 + 64
    }

    /// `None`: a kind that never leaves a node.
    pub(crate) fn from_engine(mut m: eraftpb::Message) -> Option<Message> {
        Some(Message {
            kind: kind_from(m.get_msg_type())?,
            from: Peer(m.from),
            to: Peer(m.to),
            term: m.term,
            log_term: m.log_term,
            index: m.index,
            commit: m.commit,
            commit_term: m.commit_term,
            reject: m.reject,
            reject_hint: m.reject_hint,
            context: m.take_context(),
            entries: m.take_entries().into_iter().map(Entry::from_engine).collect(),
            base: (!m.get_snapshot().is_empty()).then(|| Box::new(Base::from_engine(m.get_snapshot()))),
        })
    }

    pub(crate) fn into_engine(self) -> eraftpb::Message {
        let mut m = eraftpb::Message::default();
        m.set_msg_type(kind_into(self.kind));
        m.from = self.from.0;
        m.to = self.to.0;
        m.term = self.term;
        m.log_term = self.log_term;
        m.index = self.index;
        m.commit = self.commit;
        m.commit_term = self.commit_term;
        m.reject = self.reject;
        m.reject_hint = self.reject_hint;
        m.context = self.context;
        m.set_entries(self.entries.into_iter().map(Entry::into_engine).collect::<Vec<_>>().into());
        if let Some(base) = self.base {
            m.set_snapshot(base.into_engine());
        }
        m
    }
}

impl Entry {
    /// The bytes of a change of members travel in the engine's `context`: its `data` is in the engine's own format, which
    /// we never decode.
    pub(crate) fn from_engine(e: eraftpb::Entry) -> Entry {
        let (kind, data) = match e.get_entry_type() {
            EntryType::EntryNormal => (Kind::Normal, e.data),
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => (Kind::Members, e.context),
        };
        Entry { term: e.term, index: e.index, kind, data }
    }

    pub(crate) fn into_engine(self) -> eraftpb::Entry {
        let mut e = eraftpb::Entry { term: self.term, index: self.index, ..eraftpb::Entry::default() };
        match self.kind {
            Kind::Normal => e.data = self.data,
            Kind::Members => {
                e.set_entry_type(EntryType::EntryConfChangeV2);
                e.context = self.data;
            }
        }
        e
    }
}

impl HardState {
    pub(crate) fn from_engine(hs: &eraftpb::HardState) -> HardState {
        HardState { term: hs.term, vote: Peer::some(hs.vote), commit: hs.commit }
    }

    pub(crate) fn into_engine(self) -> eraftpb::HardState {
        let vote = self.vote.map_or(0, |peer| peer.0);
        eraftpb::HardState { term: self.term, vote, commit: self.commit, ..eraftpb::HardState::default() }
    }
}

fn kind_from(kind: MessageType) -> Option<MessageKind> {
    Some(match kind {
        MessageType::MsgAppend => MessageKind::Append,
        MessageType::MsgAppendResponse => MessageKind::AppendResponse,
        MessageType::MsgRequestVote => MessageKind::Vote,
        MessageType::MsgRequestVoteResponse => MessageKind::VoteResponse,
        MessageType::MsgRequestPreVote => MessageKind::PreVote,
        MessageType::MsgRequestPreVoteResponse => MessageKind::PreVoteResponse,
        MessageType::MsgHeartbeat => MessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        MessageType::MsgTimeoutNow => MessageKind::TimeoutNow,
        MessageType::MsgReadIndex => MessageKind::ReadIndex,
        MessageType::MsgReadIndexResp => MessageKind::ReadIndexResponse,
        MessageType::MsgSnapshot => MessageKind::Snapshot,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => return None,
    })
}

fn kind_into(kind: MessageKind) -> MessageType {
    match kind {
        MessageKind::Append => MessageType::MsgAppend,
        MessageKind::AppendResponse => MessageType::MsgAppendResponse,
        MessageKind::Vote => MessageType::MsgRequestVote,
        MessageKind::VoteResponse => MessageType::MsgRequestVoteResponse,
        MessageKind::PreVote => MessageType::MsgRequestPreVote,
        MessageKind::PreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        MessageKind::Heartbeat => MessageType::MsgHeartbeat,
        MessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        MessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
        MessageKind::ReadIndex => MessageType::MsgReadIndex,
        MessageKind::ReadIndexResponse => MessageType::MsgReadIndexResp,
        MessageKind::Snapshot => MessageType::MsgSnapshot,
    }
}
