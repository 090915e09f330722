//! `understudy recover`: the cluster goes on from one node's disk when a majority of its voters is lost for good.
//!
//! ```text
//!   snapshot + log, all of it ──▶ ledger + Recover ──▶ new memory: one voter, a new cluster, the next epoch
//!                          └────▶ archive (what it lacks)
//! ```
//!
//! **Decides:** nothing about jobs: every entry of the log is applied, also those that nobody knows to be committed, for an
//! acknowledged job may be among them. The folder is changed by `disk::recover`.
//! **Driven by:** a person. No node ever does this by itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use consensus::{Base, Cut, Kind, Peer, Recovered};
use master::{Effect, Ledger};
use protocol::{Boot, ClusterId, Command, Entry, native};

use crate::admit::{AdmitError, random_id};
use crate::archive::{ArchiveError, Batch, Carried};
use crate::clock::wall_ms;
use crate::disk::recover::{self as folder, NewMemory};
use crate::disk::{DiskError, Folder, Identity};
use crate::run::LOG_FOLDER;

/// How long the node's own log may take to keep the line about it.
const LINE: Duration = Duration::from_secs(1);

/// Why a cluster cannot go on from this folder.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It cannot be read or written, its node runs, or what it holds is damaged.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is nobody's memory in it.
    #[error("recovering from {}: there is no node's memory in it", folder.display())]
    Nobodys {
        /// The data folder.
        folder: PathBuf,
    },
    /// Its node has never heard of anything.
    #[error("recovering from {}: its node has heard of no entry of its cluster's log yet", folder.display())]
    Empty {
        /// The data folder.
        folder: PathBuf,
    },
    /// An entry of the log is no command that this program knows.
    #[error("applying entry {index}: {error}; is this program older than the cluster?")]
    Unknown {
        /// Which entry.
        index: u64,
        /// What is wrong with it.
        error: native::BadBytes,
    },
    /// The cluster was recovered too often.
    #[error(
        "recovering a cluster that was recovered {} times before, which is the limit",
        master::limits::RECOVERIES
    )]
    TooOften,
    /// History cannot be carried over.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No randomness.
    #[error(transparent)]
    Chance(#[from] AdmitError),
    /// No thread or descriptor to be had.
    #[error("preparing to write the archive: {0}")]
    Runtime(std::io::Error),
}

/// What a data folder holds that a cluster can go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Whose it is.
    pub identity: Identity,
    /// The node's name; its id where it is no member any more.
    pub name: String,
    /// Names of all members that it knows.
    pub members: Vec<String>,
    /// Term of the last entry of its log.
    pub last_term: u64,
    /// Index of that entry.
    pub last_index: u64,
    /// Up to there the node knew that entries are agreed on.
    pub commit: u64,
    /// A last write that was torn by a crash and is left out.
    pub cut: Option<Cut>,
    /// Jobs that have not ended.
    pub open_jobs: u64,
    /// The epoch after a recovery.
    pub epoch: u32,
}

/// How things stand with a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The cluster would go on from this.
    Begin(Survivor),
    /// A recovery was begun and would be brought to its end.
    End,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Who goes on as the only voter, in which cluster.
    pub identity: Identity,
    /// The epoch from here on.
    pub epoch: u32,
    /// Index of the entry that says so.
    pub index: u64,
    /// Where the old memory is now.
    pub aside: PathBuf,
}

/// A memory with all of its log applied.
struct Applied {
    survivor: Survivor,
    boot: Boot,
    /// Higher than all that the log says.
    next_term: u64,
    ledger: Ledger,
    batches: Vec<Batch>,
}

/// What [`recover`] would do. Changes nothing.
///
/// # Errors
/// [`RecoverError`]: the node runs, or there is nothing in the folder that a cluster can go on from.
pub fn would_recover(data: &Path) -> Result<Plan, RecoverError> {
    let mut locked = lock(data)?;
    if folder::is_begun(data) {
        return Ok(Plan::End);
    }
    Ok(Plan::Begin(applied(&mut locked)?.survivor))
}

/// Gives the folder a new memory in which its node is the only voter of a new cluster with all that the old memory held, and sets
/// the old one aside. After a crash it goes on where it was.
///
/// # Errors
/// [`RecoverError`]. The old memory is as it was, or the folder is refused until this was called again.
pub fn recover(data: &Path) -> Result<Done, RecoverError> {
    let mut locked = lock(data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(RecoverError::Runtime)?;
    let mut known = None;
    if !folder::is_begun(data) {
        let applied = applied(&mut locked)?;
        // What would be in the way later is to be known now.
        runtime.block_on(async {
            if let Some(archive) = Carried::open(data, &[applied.survivor.identity.cluster]).await? {
                archive.close().await;
            }
            Ok::<(), ArchiveError>(())
        })?;
        begin(data, &applied)?;
        known = Some(applied);
    }
    if folder::is_untouched(data) {
        let applied = match known {
            Some(applied) => applied,
            None => applied(&mut locked)?,
        };
        carry_history(data, &runtime, applied)?;
    }
    let aside = folder::exchange(data)?;
    let Some((identity, _, _)) = locked.look()? else {
        return Err(RecoverError::Nobodys { folder: data.to_path_buf() });
    };
    let ledger = locked.take_snapshot().map(|(_, ledger)| ledger).unwrap_or_default();
    let done = Done { identity, epoch: ledger.epoch(), index: ledger.applied(), aside };
    note(data, &name_of(&ledger, identity), &done);
    Ok(done)
}

/// Locks a folder that is a member's, and makes none.
fn lock(data: &Path) -> Result<Folder, RecoverError> {
    if !data.join("identity").exists() && !folder::is_begun(data) {
        return Err(RecoverError::Nobodys { folder: data.to_path_buf() });
    }
    Ok(Folder::lock(data)?)
}

/// Reads the memory as a start would, and applies everything in it.
fn applied(locked: &mut Folder) -> Result<Applied, RecoverError> {
    let data = locked.path().to_path_buf();
    let Some((identity, boot, recovered)) = locked.look()? else {
        return Err(RecoverError::Nobodys { folder: data });
    };
    let (base, mut ledger) = match locked.take_snapshot() {
        Some(snapshot) => snapshot,
        None => (Base::founded(Peer(identity.founder.0)), Ledger::new()),
    };
    let batches = apply_all(&mut ledger, &base, &recovered)?;
    let last = recovered.entries.last().filter(|entry| entry.index > base.index);
    let (last_term, last_index) = last.map_or((base.term, base.index), |entry| (entry.term, entry.index));
    if ledger.applied() == 0 {
        return Err(RecoverError::Empty { folder: data });
    }
    let hard = recovered.hard.unwrap_or_default();
    let survivor = Survivor {
        identity,
        name: name_of(&ledger, identity),
        members: ledger.members().map(|member| member.name.clone()).collect(),
        last_term,
        last_index,
        commit: hard.commit.max(base.index),
        cut: recovered.cut,
        open_jobs: ledger.open_jobs(),
        epoch: ledger.epoch() + 1,
    };
    let next_term = hard.term.max(last_term) + 1;
    Ok(Applied { survivor, boot, next_term, ledger, batches })
}

/// Applies what the log has after the snapshot; gives what the archive is to hear of it.
fn apply_all(ledger: &mut Ledger, base: &Base, recovered: &Recovered) -> Result<Vec<Batch>, RecoverError> {
    let is_command = |entry: &&consensus::Entry| {
        entry.index > base.index && entry.kind == Kind::Normal && !entry.data.is_empty()
    };
    let mut batches = Vec::new();
    for logged in recovered.entries.iter().filter(is_command) {
        let entry: Entry = native::decode(&logged.data)
            .map_err(|error| RecoverError::Unknown { index: logged.index, error })?;
        batches.push(apply(ledger, logged.index, &entry));
    }
    Ok(batches)
}

fn apply(ledger: &mut Ledger, index: u64, entry: &Entry) -> Batch {
    let mut batch = Batch::default();
    for effect in ledger.apply(index, entry) {
        if let Effect::Fact(fact) = effect {
            let job = fact.what.job().and_then(|job| ledger.job(job));
            batch.hear(&fact, job.as_ref());
        }
    }
    (batch.applied, batch.last_end, batch.last_fact) = (index, ledger.last_end(), ledger.last_fact());
    batch
}

/// Writes the new memory beside the old one: the last thing in it says that the cluster was recovered.
fn begin(data: &Path, applied: &Applied) -> Result<(), RecoverError> {
    let Applied { survivor, boot, next_term, ledger, .. } = applied;
    let Identity { cluster: former, node, .. } = survivor.identity;
    let cluster = ClusterId((u128::from(random_id()?) << 64) | u128::from(random_id()?));
    let (mut ledger, index) = (ledger.clone(), survivor.last_index + 1);
    let command = Command::Recover { epoch: survivor.epoch, node, former };
    let (clock_ms, wall_ms) = (ledger.clock_ms(), wall_ms());
    apply(&mut ledger, index, &Entry { clock_ms, wall_ms, term: *next_term, commands: vec![command] });
    if ledger.epoch() != survivor.epoch {
        return Err(RecoverError::TooOften);
    }
    let base = Base::recovered(index, *next_term, Peer(node.0));
    // Whoever joins from here on begins with the only voter there is.
    let identity = Identity { cluster, node, founder: node };
    let memory = NewMemory { identity, boot: *boot, base: &base, ledger: &ledger };
    Ok(folder::begin(data, &memory)?)
}

/// Brings the archive to where the new memory begins, and gives it to the new cluster.
fn carry_history(
    data: &Path,
    runtime: &tokio::runtime::Runtime,
    applied: Applied,
) -> Result<(), RecoverError> {
    let (identity, _, ledger) = folder::begun(data)?;
    let mut batches = applied.batches;
    let mut last = Batch {
        applied: ledger.applied(),
        last_end: ledger.last_end(),
        last_fact: ledger.last_fact(),
        ..Batch::default()
    };
    ledger.facts_after(ledger.last_fact() - 1).for_each(|fact| last.hear(fact, None));
    batches.push(last);
    let clusters = [applied.survivor.identity.cluster, identity.cluster];
    runtime.block_on(async {
        match Carried::open(data, &clusters).await? {
            Some(archive) => archive.give(batches, identity.cluster).await,
            None => Ok(()),
        }
    })?;
    Ok(())
}

fn name_of(ledger: &Ledger, identity: Identity) -> String {
    ledger.member(identity.node).map_or_else(|| identity.node.to_string(), |member| member.name.clone())
}

/// A line in the node's own log; the cluster's log has it anyway.
fn note(data: &Path, name: &str, done: &Done) {
    let Done { identity, epoch, index, aside } = done;
    let line = format!(
        "Recovered by hand from this disk at index {index}: cluster {}, epoch {epoch}, the old memory is in {}",
        identity.cluster,
        aside.display()
    );
    if let Ok(log) = logdb::Log::open(name, Some(&data.join(LOG_FOLDER)), None) {
        log.record(logdb::Level::Warn, "recovered", None, &line);
        log.flush(LINE);
        log.close();
    }
}

#[cfg(test)]
mod tests;
