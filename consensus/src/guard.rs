//! What a peer may say. The engine trusts its input and panics on some contradictions; whatever could reach such a place
//! is refused here first, so that a broken peer costs a line in the log and not the node.

use raft::{Raft, StateRole};

use crate::engine::READ_CONTEXT_BYTES;
use crate::limits::{CONTEXT_BYTES_MAX, NUMBER_MAX, READS_MAX};
use crate::members;
use crate::view::View;
use crate::{Error, Kind, Message, MessageKind, Peer};

/// `Ok(false)`: nothing is wrong with it, but it is of no use now and is dropped (a peer asks again).
pub(crate) fn admits(message: &Message, raft: &Raft<View>) -> Result<bool, Error> {
    let this = Peer(raft.id);
    if message.to != this {
        return Err(Error::NotForUs { to: message.to, this });
    }
    fields(message, this)?;
    match message.kind {
        MessageKind::Append => append(message)?,
        MessageKind::Snapshot => snapshot(message)?,
        MessageKind::Heartbeat => {
            let last = raft.raft_log.last_index();
            if message.term >= raft.term && message.commit > last {
                return Err(Error::BeyondLog { claimed: message.commit, last });
            }
        }
        MessageKind::AppendResponse => {
            known(message, raft)?;
            let current = raft.state == StateRole::Leader && message.term == raft.term;
            if current && !message.reject && message.index > raft.raft_log.last_index() {
                return Err(malformed(message, "index", "is beyond the leader's log"));
            }
        }
        MessageKind::VoteResponse | MessageKind::PreVoteResponse | MessageKind::HeartbeatResponse => {
            known(message, raft)?;
        }
        MessageKind::ReadIndex => {
            read(message, message.from)?;
            // A read is answered by the leader alone and never passed on twice.
            return Ok(raft.state == StateRole::Leader && raft.pending_read_count() < READS_MAX);
        }
        MessageKind::ReadIndexResponse => read(message, this)?,
        MessageKind::Vote | MessageKind::PreVote | MessageKind::TimeoutNow => {}
    }
    Ok(true)
}

/// What holds for every kind.
fn fields(message: &Message, this: Peer) -> Result<(), Error> {
    if message.from == Peer(0) || message.from == this {
        return Err(malformed(message, "from", "is nobody or ourselves"));
    }
    if (message.term == 0) != (message.kind == MessageKind::ReadIndex) {
        return Err(malformed(message, "term", "is missing, or there where none belongs"));
    }
    let numbers = [
        ("term", message.term),
        ("log_term", message.log_term),
        ("index", message.index),
        ("commit", message.commit),
        ("commit_term", message.commit_term),
        ("reject_hint", message.reject_hint),
    ];
    for (field, number) in numbers {
        if number > NUMBER_MAX {
            return Err(malformed(message, field, "is beyond any real one"));
        }
    }
    if message.context.len() > CONTEXT_BYTES_MAX {
        return Err(malformed(message, "context", "is too long"));
    }
    let carries =
        matches!(message.kind, MessageKind::Append | MessageKind::ReadIndex | MessageKind::ReadIndexResponse);
    if message.base.is_some() != (message.kind == MessageKind::Snapshot) {
        return Err(malformed(message, "base", "is missing, or there where none belongs"));
    }
    if !carries && !message.entries.is_empty() {
        return Err(malformed(message, "entries", "has no place in this kind"));
    }
    Ok(())
}

fn append(message: &Message) -> Result<(), Error> {
    if message.log_term == 0 || message.index == 0 {
        return Err(malformed(message, "log_term", "does not name a place in a log"));
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in &message.entries {
        index += 1;
        if entry.index != index {
            return Err(malformed(message, "entries", "have a hole"));
        }
        if entry.term < term || entry.term > message.term {
            return Err(malformed(message, "entries", "have terms out of order"));
        }
        term = entry.term;
        if entry.kind == Kind::Members && members::decode(&entry.data).is_none() {
            return Err(malformed(message, "entries", "hold a change of members that cannot be read"));
        }
    }
    Ok(())
}

fn snapshot(message: &Message) -> Result<(), Error> {
    let Some(base) = message.base.as_deref() else { return Ok(()) };
    match base.fault() {
        Some(why) => Err(malformed(message, "base", why)),
        None if !base.is_real() => Err(malformed(message, "base", "is where every log begins")),
        None if base.term > message.term => Err(malformed(message, "base", "has a term to come")),
        None => Ok(()),
    }
}

fn read(message: &Message, asker: Peer) -> Result<(), Error> {
    let [entry] = message.entries.as_slice() else {
        return Err(malformed(message, "entries", "must be one in a read"));
    };
    let ours = entry.data.len() == READ_CONTEXT_BYTES && entry.data.starts_with(&asker.0.to_le_bytes());
    if ours { Ok(()) } else { Err(malformed(message, "entries", "name another asker")) }
}

fn known(message: &Message, raft: &Raft<View>) -> Result<(), Error> {
    match raft.prs().get(message.from.0) {
        Some(_) => Ok(()),
        None => Err(Error::Stranger { from: message.from }),
    }
}

fn malformed(message: &Message, field: &'static str, why: &'static str) -> Error {
    Error::Malformed { from: message.from, field, why }
}
