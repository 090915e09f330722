//! A leader that was late (its process stood still, its loop lagged) may have been replaced meanwhile without having heard of
//! it. Until a majority has confirmed it, nothing it says as a leader leaves it: it proposes nothing, answers nothing, and
//! counts no silence. What is applied meanwhile is taken in as ever.

use crate::cast::Cast;

/// The ticket of the leader's question about itself; readers' tickets start at 1.
pub(crate) const OWN_TICKET: u64 = 0;

impl Cast {
    /// This node's loop was late by more than an election timeout.
    pub(crate) fn late(&mut self) {
        if self.master.is_some() {
            self.doubt();
        }
    }

    /// Asks the majority. An answer to an earlier question would not do.
    fn doubt(&mut self) {
        self.in_doubt = true;
        self.reads.forget(OWN_TICKET);
        self.read(OWN_TICKET);
    }

    /// A majority still follows.
    pub(crate) fn confirmed(&mut self) {
        self.in_doubt = false;
        if let Some(master) = &mut self.master {
            master.resumed();
        }
    }

    /// No majority answered in time; as long as nobody says that another leads, it is asked on.
    pub(crate) fn unconfirmed(&mut self) {
        if self.master.is_some() {
            self.doubt();
        }
    }

    /// This node leads no longer, or anew: there is nothing to doubt.
    pub(crate) fn no_doubt(&mut self) {
        self.in_doubt = false;
        self.reads.forget(OWN_TICKET);
    }
}
