//! Long payloads lie in the log's entries anyway, so the ledger keeps those very bytes and no copies of them. But then one job
//! that waits keeps its whole entry in memory, long after the log has let go of it. So it is looked from time to time what is
//! left of an entry: once its jobs that are still held are less than half of it, they get copies of their own.
//!
//! Nobody can see any of this: equal bytes are equal wherever they lie.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use master::Ledger;
use protocol::{Command, Entry, JobId, native};

/// A shorter payload is copied.
const LONG_BYTES: usize = 4 << 10;
/// Entries looked at in one tick.
const LOOKS: usize = 8;

/// Entries whose bytes the ledger shares.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    entries: VecDeque<Shared>,
    /// Where the ledger stood at the last look: while nothing is applied, nothing changes.
    looked_at: u64,
}

#[derive(Debug)]
struct Shared {
    bytes: usize,
    jobs: Vec<JobId>,
}

impl Sharing {
    /// The entry in these bytes; its long payloads are parts of them.
    pub(crate) fn read(&mut self, data: &Bytes) -> Result<Entry, native::BadBytes> {
        let (mut entry, noted) = native::decode_noting::<Entry>(data, LONG_BYTES)?;
        let mut noted = noted.into_iter();
        let mut jobs = Vec::new();
        for command in &mut entry.commands {
            let Command::Submit { job, spec, .. } = command else { continue };
            if spec.payload.len() < LONG_BYTES {
                continue;
            }
            // It was read from one of them; other long parts come in between.
            if let Some(part) = noted.find(|part| *part == spec.payload)
                && let Some(spec) = Arc::get_mut(spec)
            {
                spec.payload = data.slice_ref(part);
                jobs.push(*job);
            }
        }
        if !jobs.is_empty() {
            self.entries.push_back(Shared { bytes: data.len(), jobs });
        }
        Ok(entry)
    }

    /// A tick: looks at a few of them.
    pub(crate) fn look(&mut self, ledger: &mut Ledger) {
        if std::mem::replace(&mut self.looked_at, ledger.applied()) == ledger.applied() {
            return;
        }
        for _ in 0..LOOKS.min(self.entries.len()) {
            let Some(mut shared) = self.entries.pop_front() else { return };
            shared.jobs.retain(|job| ledger.holds(*job));
            let left: usize = shared.jobs.iter().map(|job| ledger.payload_bytes(*job)).sum();
            if left * 2 >= shared.bytes {
                self.entries.push_back(shared);
            } else {
                shared.jobs.iter().for_each(|job| ledger.unshare(*job));
            }
        }
    }

    /// The ledger is another one.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
    }

    /// Whether an entry has payloads that are to be shared with its bytes.
    pub(crate) fn is_for(entry: &Entry) -> bool {
        let is_long = |command: &Command| match command {
            Command::Submit { spec, .. } => spec.payload.len() >= LONG_BYTES,
            _ => false,
        };
        entry.commands.iter().any(is_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Boot, NodeId, Origin, submit};

    fn submitted(number: u64, payload: Vec<u8>) -> Command {
        let mut spec = submit::defaults("echo");
        spec.payload = Bytes::from(payload);
        // As long as the payload, and before it in the bytes of the next one.
        spec.stdin = Some(Bytes::from(vec![0xee; 5_000]));
        let origin = Origin { gateway: NodeId(1), boot: Boot(1), number, floor: 0 };
        let (job, spec) = (JobId(number.into()), Arc::new(spec));
        Command::Submit { job, spec, key: None, fingerprint: [0; 32], origin }
    }

    fn entry(commands: Vec<Command>) -> Entry {
        Entry { clock_ms: 1, wall_ms: 1, term: 1, commands }
    }

    fn is_in(data: &Bytes, part: &Bytes) -> bool {
        data.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn long_payloads_are_shared_until_little_is_left_of_their_entry() {
        let mut ledger = Ledger::new();
        ledger.apply(1, &entry(vec![Command::Configure(protocol::Change::Open)]));
        let commands: Vec<Command> = (1..=4)
            .map(|number| submitted(number, vec![number as u8; 5_000]))
            .chain([submitted(5, vec![5; 9])])
            .collect();
        let (meant, mut sharing) = (entry(commands), Sharing::default());
        let data = Bytes::from(native::encode(&meant));
        let read = sharing.read(&data).unwrap();
        assert_eq!(read, meant);
        ledger.apply(2, &read);
        let payload = |ledger: &Ledger, job: u128| ledger.job(JobId(job)).unwrap().spec.payload.clone();
        assert!((1..=4).all(|job| is_in(&data, &payload(&ledger, job))), "they lie in the entry");
        assert!(!is_in(&data, &payload(&ledger, 5)), "a short one is copied");
        let before = ledger.clone();
        sharing.look(&mut ledger);
        // The payloads are less than half of this entry: its jobs have much else.
        for job in 1..=4 {
            assert!(!is_in(&data, &payload(&ledger, job)));
            assert_eq!(payload(&ledger, job), payload(&before, job));
        }
        assert!(sharing.entries.is_empty());
    }
}
