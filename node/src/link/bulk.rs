//! Asking a peer for bulk (pieces of snapshots, pages of the archive) beside the messages, so that nothing large stands in
//! their way.
//!
//! ```text
//!   ask(peer, question) ─ waits for the peer's channel ─▶ one question ══▶ one answer, or why there is none
//! ```
//!
//! The connection is dialled when somebody asks, kept for the next question, and carries one question at a time. A kept
//! connection that turns out to be dead is dialled anew once. Nothing is repeated beyond that: whoever asks knows whether it
//! still wants to know.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use protocol::NodeId;
use protocol::limits::{BULK_ANSWER_BYTES, BULK_QUESTION_BYTES};
use tokio::sync::watch;
use tokio::time::timeout;

use super::dialler::{Failed, connect};
use super::frame::{End, head};
use super::hello::Purpose;
use super::line::Line;
use super::table::Shared;

/// A question is answered within this from when it is sent, at both ends.
pub const BULK_PATIENCE: Duration = Duration::from_secs(10);

/// First byte of a question: without it an empty one would look like a sign of life.
pub(super) const ASKED: u8 = 0;
/// First byte of an answer that is one.
pub(super) const ANSWERED: u8 = 0;
/// First byte of a text that says why there is no answer.
pub(super) const REFUSED: u8 = 1;

/// An answer in the making; the error is why there is none, for people.
pub type BulkAnswer = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + 'static>>;

/// Answers questions for bulk. Called on the link's runtime, for one question of each peer at a time.
pub trait BulkServe: Send + Sync + 'static {
    /// The answer to a question of a peer, of at most [`BULK_ANSWER_BYTES`], within [`BULK_PATIENCE`].
    fn answer(&self, from: NodeId, question: Bytes) -> BulkAnswer;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BulkError {
    /// Nobody has said where this node is.
    #[error("asking node {0} for bulk: its address is not known")]
    Unknown(NodeId),
    /// The question is larger than any may be.
    #[error("asking for bulk: the question has {bytes} bytes, the limit is {BULK_QUESTION_BYTES}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// The peer could not be reached, or does not want this node.
    #[error("asking node {peer} for bulk: dialling {address}: {text}")]
    Dial {
        /// Who.
        peer: NodeId,
        /// `HOST:PORT` that was dialled.
        address: String,
        /// What happened.
        text: String,
    },
    /// The connection ended before the answer was whole.
    #[error("asking node {peer} for bulk: the connection ended: {text}")]
    Broken {
        /// Who.
        peer: NodeId,
        /// What happened.
        text: String,
    },
    /// No answer came within [`BULK_PATIENCE`].
    #[error("asking node {0} for bulk: no answer came in time")]
    Late(NodeId),
    /// The peer has no answer.
    #[error("asking node {peer} for bulk: it says: {text}")]
    Refused {
        /// Who.
        peer: NodeId,
        /// Why, in its words.
        text: String,
    },
    /// This node's link is closed.
    #[error("asking for bulk: this node's link is closed")]
    Closed,
}

/// What tasks ask peers for bulk with.
#[derive(Clone)]
pub struct BulkHandle {
    shared: Arc<Shared>,
}

impl fmt::Debug for BulkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkHandle").finish_non_exhaustive()
    }
}

impl BulkHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Asks a peer, after those who asked it before. The question has at most [`BULK_QUESTION_BYTES`], the answer at most
    /// [`BULK_ANSWER_BYTES`]. Whoever stops waiting gives the question up.
    ///
    /// # Errors
    /// [`BulkError`].
    pub async fn ask(&self, peer: NodeId, question: Bytes) -> Result<Bytes, BulkError> {
        if question.len() > BULK_QUESTION_BYTES {
            return Err(BulkError::TooLarge { bytes: question.len() });
        }
        let mut closed = self.shared.asking.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(BulkError::Closed),
            answer = self.in_turn(peer, &question) => answer,
        }
    }

    async fn in_turn(&self, peer: NodeId, question: &[u8]) -> Result<Bytes, BulkError> {
        let place = self.shared.asking.place(peer);
        let mut place = place.lock().await;
        // Taken out while it is used: a question given up half way leaves no connection behind that the next would misread.
        if let Some(mut kept) = place.take() {
            match timeout(BULK_PATIENCE, exchange(&mut kept, question)).await {
                Ok(Ok(answer)) => {
                    *place = Some(kept);
                    return answer.map_err(|text| BulkError::Refused { peer, text });
                }
                Ok(Err(end)) => tracing::debug!(%peer, ?end, "bulk: a kept connection is dead"),
                Err(_) => return Err(BulkError::Late(peer)),
            }
        }
        let mut fresh = self.dial(peer).await?;
        match timeout(BULK_PATIENCE, exchange(&mut fresh, question)).await {
            Ok(Ok(answer)) => {
                *place = Some(fresh);
                answer.map_err(|text| BulkError::Refused { peer, text })
            }
            Ok(Err(end)) => Err(BulkError::Broken { peer, text: words(end) }),
            Err(_) => Err(BulkError::Late(peer)),
        }
    }

    async fn dial(&self, peer: NodeId) -> Result<Line, BulkError> {
        let address = self.shared.target(peer).ok_or(BulkError::Unknown(peer))?;
        let mut line = connect(&self.shared, peer, &address, Purpose::Bulk).await.map_err(|failed| {
            let text = match failed {
                Failed::NobodyListens => "nobody listens there".to_owned(),
                Failed::Refused(text) | Failed::Other(text) => text,
            };
            BulkError::Dial { peer, address, text }
        })?;
        line.frames.set_bound(1 + BULK_ANSWER_BYTES);
        line.frames.set_patience(BULK_PATIENCE);
        Ok(line)
    }
}

/// What is known of the questions this node asks.
pub(super) struct Asking {
    /// One place a peer; whoever holds it asks.
    places: Mutex<BTreeMap<NodeId, Place>>,
    closed: watch::Sender<bool>,
}

/// The connection kept for a peer, when there is one.
type Place = Arc<tokio::sync::Mutex<Option<Line>>>;

impl Default for Asking {
    fn default() -> Self {
        Self { places: Mutex::default(), closed: watch::Sender::new(false) }
    }
}

impl Asking {
    fn place(&self, peer: NodeId) -> Place {
        // Nothing that panics happens under this lock.
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(peer).or_default())
    }

    /// Ends all questions and closes the kept connections.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn exchange(line: &mut Line, question: &[u8]) -> Result<Result<Bytes, String>, End> {
    let mut out = Vec::with_capacity(question.len() + 8);
    out.extend_from_slice(&head(1 + question.len()));
    out.push(ASKED);
    out.extend_from_slice(question);
    line.out.send(&out).await?;
    let mut answer = line.frames.next_bytes().await?;
    let kind = answer.first().copied();
    answer.advance(1);
    match kind {
        Some(ANSWERED) => Ok(Ok(answer.freeze())),
        Some(REFUSED) => Ok(Err(String::from_utf8_lossy(&answer).into_owned())),
        _ => Err(End::Ours("an answer of no known kind came".to_owned())),
    }
}

fn words(end: End) -> String {
    match end {
        End::Gone => "the peer closed it".to_owned(),
        End::Ours(text) => text,
    }
}
