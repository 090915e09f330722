//! What the attempts on one node reserve, summed. An attempt counts from its being planned until its worker says that it is
//! gone, whatever became of its job.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::placement::Stuff;
use protocol::JobSpec;

/// Sums of what is reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reserved {
    /// Thousandths of a core.
    cpu_milli: u64,
    memory_bytes: u64,
    /// Thousandths of each resource; what nobody holds is not in here.
    resources: BTreeMap<String, u64>,
    /// Attempts of which nobody knows any more what they reserve: while one is there, nothing is left for others.
    unknown: u32,
}

impl Reserved {
    /// A job's attempt is there; none: nobody knows what it asked for.
    pub(crate) fn take(&mut self, spec: Option<&JobSpec>) {
        let Some(spec) = spec else {
            self.unknown += 1;
            return;
        };
        self.cpu_milli += u64::from(spec.cpu_milli);
        self.memory_bytes += spec.memory_bytes;
        for (name, milli) in &spec.more.resources {
            match self.resources.get_mut(name) {
                Some(sum) => *sum += milli,
                None => drop(self.resources.insert(name.clone(), *milli)),
            }
        }
    }

    /// One that was there is gone.
    pub(crate) fn give(&mut self, spec: Option<&JobSpec>) {
        let Some(spec) = spec else {
            self.unknown -= 1;
            return;
        };
        self.cpu_milli -= u64::from(spec.cpu_milli);
        self.memory_bytes -= spec.memory_bytes;
        for (name, milli) in &spec.more.resources {
            match self.resources.get_mut(name) {
                Some(sum) if *sum > *milli => *sum -= milli,
                _ => drop(self.resources.remove(name)),
            }
        }
    }

    /// How much of something is held.
    pub(crate) fn of(&self, what: Stuff<'_>) -> u64 {
        match what {
            _ if self.unknown > 0 => u64::MAX,
            Stuff::Cpu => self.cpu_milli,
            Stuff::Memory => self.memory_bytes,
            Stuff::Resource(name) => self.resources.get(name).copied().unwrap_or(0),
        }
    }
}
