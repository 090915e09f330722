//! What nodes ask each other for in bulk, and the shelves it is taken from.
//!
//! The connection it goes over is [`crate::link`]'s; what the bytes of an answer mean is the business of whoever put the
//! handler on its shelf.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{NodeId, native};
use serde::{Deserialize, Serialize};

use crate::archive::Question;
use crate::link::{BulkAnswer, BulkServe};

/// A question for bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkAsk {
    /// A piece of a snapshot.
    Snapshot {
        /// Applied index that the snapshot holds.
        index: u64,
        /// Bytes of it that the asker has already.
        offset: u64,
    },
    /// A page of the archive.
    Archive(Question),
}

impl BulkAsk {
    /// As it goes over the link.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        Bytes::from(native::encode(self))
    }
}

/// Answers one kind of question. It must not block: the work goes to a task or thread that may.
pub type Shelf = Arc<dyn Fn(NodeId, BulkAsk) -> BulkAnswer + Send + Sync>;

/// From where bulk is taken; what has no shelf is not kept here.
#[derive(Clone, Default)]
pub struct Shelves {
    /// Answers [`BulkAsk::Snapshot`].
    pub snapshots: Option<Shelf>,
    /// Answers [`BulkAsk::Archive`].
    pub archive: Option<Shelf>,
}

impl fmt::Debug for Shelves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelves")
            .field("snapshots", &self.snapshots.is_some())
            .field("archive", &self.archive.is_some())
            .finish()
    }
}

impl BulkServe for Shelves {
    fn answer(&self, from: NodeId, question: Bytes) -> BulkAnswer {
        let Ok(ask) = native::decode::<BulkAsk>(&question) else {
            return refuse("the question is none that is known here");
        };
        let shelf = match ask {
            BulkAsk::Snapshot { .. } => &self.snapshots,
            BulkAsk::Archive(_) => &self.archive,
        };
        shelf.as_ref().map_or_else(|| refuse("not kept here"), |shelf| shelf(from, ask))
    }
}

fn refuse(text: &'static str) -> BulkAnswer {
    Box::pin(async move { Err(text.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_goes_to_its_shelf_and_what_has_none_is_not_kept_here() {
        let archive: Shelf = Arc::new(|from, ask| {
            Box::pin(async move { Ok(Bytes::from(format!("{} asks {ask:?}", from.0))) })
        });
        let shelves = Shelves { archive: Some(archive), ..Shelves::default() };
        let ask = BulkAsk::Archive(Question::Ends { after: 7, upto: 100 });
        let answer = shelves.answer(NodeId(3), ask.encode()).await.unwrap();
        assert_eq!(answer, format!("3 asks {ask:?}"));
        let ask = BulkAsk::Snapshot { index: 1, offset: 0 };
        assert_eq!(shelves.answer(NodeId(3), ask.encode()).await, Err("not kept here".to_owned()));
        let answer = shelves.answer(NodeId(3), Bytes::from_static(&[0xff; 9])).await;
        assert!(answer.unwrap_err().contains("none that is known"));
    }
}
