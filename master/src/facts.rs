//! The last facts, in a ring of chunks: cheap to clone, and numbered without holes.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::limits::FACT_CHUNK;
use protocol::Fact;

/// What happened lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    chunks: VecDeque<Arc<Vec<Arc<Fact>>>>,
    last: u64,
}

impl Facts {
    /// Number of the newest fact; 0: none yet.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Number of the oldest fact that is kept; one more than the last when there is none.
    pub(crate) fn first(&self) -> u64 {
        let oldest = self.chunks.front().and_then(|chunk| chunk.first());
        oldest.map_or(self.last + 1, |fact| fact.number)
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Fact>> {
        self.chunks.back().and_then(|chunk| chunk.last())
    }

    /// Keeps `fact`, and lets the oldest chunk go while `keep` facts remain without it.
    pub(crate) fn push(&mut self, fact: Arc<Fact>, keep: usize) {
        assert!(fact.number == self.last + 1, "facts are numbered without holes");
        self.last = fact.number;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < FACT_CHUNK => Arc::make_mut(chunk).push(fact),
            _ => {
                let mut chunk = Vec::with_capacity(FACT_CHUNK);
                chunk.push(fact);
                self.chunks.push_back(Arc::new(chunk));
            }
        }
        let kept = self.last + 1 - self.first();
        if self.chunks.len() > 1 && kept >= (keep + FACT_CHUNK) as u64 {
            self.chunks.pop_front();
        }
    }

    /// All kept facts, in the chunks that leave together.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Arc<Vec<Arc<Fact>>>> {
        self.chunks.iter()
    }

    /// Takes the next chunk back as a snapshot has it. False: it does not go on from the one before.
    pub(crate) fn take_back(&mut self, chunk: Vec<Arc<Fact>>) -> bool {
        let Some(first) = chunk.first().map(|fact| fact.number) else { return false };
        let whole = self.chunks.back().is_none_or(|last| last.len() == FACT_CHUNK && self.last + 1 == first);
        let numbered = chunk.iter().zip(first..).all(|(fact, number)| fact.number == number);
        self.last = first + chunk.len() as u64 - 1;
        let fits = whole && numbered && chunk.len() <= FACT_CHUNK;
        self.chunks.push_back(Arc::new(chunk));
        fits
    }

    /// All kept facts with a higher number, in order.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Arc<Fact>> {
        let first = self.first();
        let skip = (number + 1).saturating_sub(first) as usize;
        // Every chunk but the last one is full, so that the place can be computed.
        let chunks = self.chunks.iter().skip(skip / FACT_CHUNK);
        chunks.flat_map(|chunk| chunk.iter()).skip(skip % FACT_CHUNK)
    }
}

/// Which facts nobody is told of where that rule is broken on purpose.
#[cfg(feature = "mutants")]
pub(crate) fn is_to_be_skipped(fact: &Fact) -> bool {
    fact.number.is_multiple_of(50) && !matches!(fact.what, protocol::What::Accepted { .. })
}
