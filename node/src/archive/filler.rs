//! Fetches from peers what this node never saw, hole by hole, page by page. What it has got is written before it asks on, so that
//! a crash costs one page.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use protocol::{NodeId, native};
use tokio::sync::watch;

use super::exchange::{Answer, Question, Sent, SentBody};
use super::holes::{Hole, Kind};
use super::limits::{BODY_BYTES, FILL_BACKLOG_BYTES, FILL_RETRY, REST_MOST};
use super::row::Row;
use super::{Archive, Batch};

/// Asks a peer.
pub(crate) type AskPeer = Arc<dyn Fn(NodeId, Question) -> BoxFuture<'static, Option<Bytes>> + Send + Sync>;

/// The one who fetches.
pub(crate) struct Filler {
    pub(crate) archive: Archive,
    pub(crate) ask: AskPeer,
    /// Whom to ask.
    pub(crate) peers: watch::Receiver<Vec<NodeId>>,
}

impl Filler {
    /// Serves for as long as the archive is open; to be ended by whoever started it.
    pub(crate) async fn serve(mut self) {
        let mut progress = self.archive.progress();
        loop {
            let holes = progress.borrow_and_update().holes.clone();
            let Some(hole) = holes.first().copied() else {
                if progress.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if self.archive.backlog_bytes() <= FILL_BACKLOG_BYTES
                && let Some(batch) = self.page(hole).await
            {
                self.archive.push(batch);
                // Written, it is no hole any more. The writer may have begun to rest.
                let smaller = progress.wait_for(|progress| progress.holes != holes);
                let _ = tokio::time::timeout(REST_MOST + FILL_RETRY, smaller).await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(FILL_RETRY) => {}
                changed = self.peers.changed() => if changed.is_err() { tokio::time::sleep(FILL_RETRY).await },
            }
        }
    }

    /// The first part of a hole, from whoever has some of it.
    async fn page(&self, hole: Hole) -> Option<Batch> {
        let (after, upto) = (hole.first - 1, hole.last);
        let question = match hole.kind {
            Kind::Ends => Question::Ends { after, upto },
            Kind::Facts => Question::Facts { after, upto },
        };
        let peers = self.peers.borrow().clone();
        for peer in peers {
            let Some(bytes) = (self.ask)(peer, question).await else { continue };
            let Ok(answer) = native::decode::<Answer>(&bytes) else { continue };
            if let Some(batch) = self.taken(peer, answer, after, upto).await {
                return Some(batch);
            }
        }
        None
    }

    /// A page as something to be written; none: it brings nothing further.
    async fn taken(&self, peer: NodeId, answer: Answer, after: u64, upto: u64) -> Option<Batch> {
        let mut batch = Batch { is_whole: true, ..Batch::default() };
        match answer {
            Answer::Ends { through, rows } if through > after && through <= upto => {
                for row in rows {
                    let Sent { order, head, body } = row;
                    let body = match body {
                        SentBody::None => None,
                        SentBody::Whole(body) => Some(body),
                        SentBody::Long => Some(self.long(peer, order).await?),
                    };
                    let job = Row::read(&head, body.as_deref())?;
                    let is_asked =
                        job.ending.is_some_and(|ending| ending.number > after && ending.number <= through);
                    if job.order != order || !is_asked {
                        return None;
                    }
                    batch.put(Arc::new(job));
                }
            }
            Answer::Facts { through, forgotten, facts } if through > after && through <= upto => {
                let mut number = after.max(forgotten);
                batch.forgotten_facts = forgotten;
                for fact in facts {
                    number += 1;
                    if fact.number != number || number > through {
                        return None;
                    }
                    batch.hear(&Arc::new(fact), None);
                }
            }
            _ => return None,
        }
        Some(batch)
    }

    async fn long(&self, peer: NodeId, order: u64) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let offset = body.len() as u64;
            let bytes = (self.ask)(peer, Question::Body { order, offset }).await?;
            let Ok(Answer::Body { whole_bytes, part }) = native::decode(&bytes) else { return None };
            body.extend_from_slice(&part);
            if body.len() as u64 >= whole_bytes {
                return (body.len() as u64 == whole_bytes).then_some(body);
            }
            if part.is_empty() || body.len() > BODY_BYTES {
                return None;
            }
        }
    }
}
