//! Which job ended when: a mark now and then, from which the leader knows what is past its retention.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{MARK_BYTES, MARK_JOBS, MARK_MS, MARKS};

/// At the end of this number it was so late, and so much had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Number of the end.
    pub(crate) number: u64,
    /// Cluster time.
    pub(crate) clock_ms: u64,
    /// Wall time.
    pub(crate) wall_ms: u64,
    /// Bytes of all jobs that had ended, this one too.
    pub(crate) bytes: u64,
}

/// Marks from the oldest that is not forgotten on. When there are too many, every second goes and fewer are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    marks: Arc<VecDeque<Mark>>,
    /// Distances are doubled so many times.
    doubled: u32,
}

impl Marks {
    /// A job has ended.
    pub(crate) fn note(&mut self, mark: Mark) {
        let is_due = self.marks.back().is_none_or(|last| {
            mark.clock_ms >= last.clock_ms + (MARK_MS << self.doubled)
                || mark.number >= last.number + (MARK_JOBS << self.doubled)
                || mark.bytes >= last.bytes + (MARK_BYTES << self.doubled)
        });
        if !is_due {
            return;
        }
        let marks = Arc::make_mut(&mut self.marks);
        marks.push_back(mark);
        if marks.len() > MARKS {
            *marks = marks.iter().skip(1).step_by(2).copied().collect();
            self.doubled += 1;
        }
    }

    /// The newest mark that fits; they fit from the oldest one on, or none does.
    pub(crate) fn newest(&self, fits: impl Fn(&Mark) -> bool) -> Option<&Mark> {
        self.marks.get(self.marks.partition_point(fits).checked_sub(1)?)
    }

    /// Ends up to here are forgotten.
    pub(crate) fn forget(&mut self, upto: u64) {
        let gone = self.marks.partition_point(|mark| mark.number <= upto);
        if gone > 0 {
            Arc::make_mut(&mut self.marks).drain(..gone);
        }
        if self.marks.len() < MARKS / 4 {
            self.doubled = self.doubled.saturating_sub(1);
        }
    }
}
