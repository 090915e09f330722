//! The owner loop's hand on the archive: gathers what a turn brought about and hands it over at its end.

use std::sync::Arc;

use master::Ledger;
use protocol::{Fact, Job, NodeId};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::filler::{AskPeer, Filler};
use super::{Archive, Batch, History};
use crate::bulk::{BulkAsk, Shelf};
use crate::link::BulkHandle;

/// What one turn has brought about so far, and where it goes.
pub(crate) struct Filing {
    archive: Archive,
    history: History,
    batch: Batch,
    /// Index of the last entry that was handed over, and the number of the last fact.
    filed: u64,
    last_fact: u64,
    is_full: bool,
    peers: watch::Sender<Vec<NodeId>>,
    filling: JoinHandle<()>,
}

/// Answers other nodes from this archive.
pub(crate) fn shelf(archive: Archive) -> Shelf {
    Arc::new(move |_, ask| {
        let archive = archive.clone();
        Box::pin(async move {
            match ask {
                BulkAsk::Archive(question) => {
                    archive.answer(question).await.map_err(|error| error.to_string())
                }
                BulkAsk::Snapshot { .. } => Err("this is the archive".to_owned()),
            }
        })
    })
}

impl Filing {
    /// From here on HTTP finds this archive too, and what it lacks is fetched from peers over `bulk`.
    pub(crate) fn new(archive: Archive, history: History, handle: &Handle, bulk: BulkHandle) -> Self {
        history.set(Some(archive.clone()));
        let peers = watch::Sender::new(Vec::new());
        let ask: AskPeer = Arc::new(move |peer, question| {
            let bulk = bulk.clone();
            Box::pin(async move { bulk.ask(peer, BulkAsk::Archive(question).encode()).await.ok() })
        });
        let filler = Filler { archive: archive.clone(), ask, peers: peers.subscribe() };
        let filling = handle.spawn(filler.serve());
        Self {
            archive,
            history,
            batch: Batch::default(),
            filed: 0,
            last_fact: 0,
            is_full: false,
            peers,
            filling,
        }
    }

    /// Whom what is missing can be asked of.
    pub(crate) fn knows(&self, peers: Vec<NodeId>) {
        self.peers.send_if_modified(|known| {
            let is_news = *known != peers;
            *known = peers;
            is_news
        });
    }

    /// A start begins with this ledger. One that is ahead of the archive has gone past what was never seen here.
    pub(crate) fn begin(&mut self, ledger: &Ledger) {
        (self.filed, self.last_fact) = (ledger.applied(), ledger.last_fact());
        if ledger.applied() > self.archive.progress().borrow().applied {
            self.archive.restored(ledger);
        }
    }

    /// The ledger recorded something; the job is as the whole entry left it.
    pub(crate) fn hear(&mut self, fact: &Arc<Fact>, job: Option<&Arc<Job>>) {
        self.batch.hear(fact, job);
    }

    /// A turn is over. When the archive has fallen too far behind, or has caught up again, this says so.
    pub(crate) fn file(&mut self, ledger: &Ledger) -> Option<bool> {
        let before = self.is_full;
        if ledger.applied() != self.filed {
            self.filed = ledger.applied();
            let mut batch = std::mem::take(&mut self.batch);
            if self.last_fact + batch.facts.len() as u64 != ledger.last_fact() {
                // It was replaced by a later one: what it holds is kept, what it has gone past is missing from now on.
                self.archive.restored(ledger);
            }
            self.last_fact = ledger.last_fact();
            (batch.applied, batch.last_end, batch.last_fact) =
                (ledger.applied(), ledger.last_end(), ledger.last_fact());
            self.is_full = self.archive.push(batch);
        } else if self.is_full {
            self.is_full = self.archive.is_full();
        }
        (self.is_full != before).then_some(self.is_full)
    }

    /// Up to this entry of the log everything is safe here too.
    pub(crate) fn durable_upto(&self) -> u64 {
        self.archive.progress().borrow().durable
    }

    /// This start is over: what waits is forgotten, the log has it.
    pub(crate) async fn close(&self) {
        self.filling.abort();
        self.history.set(None);
        self.archive.close().await;
    }
}
