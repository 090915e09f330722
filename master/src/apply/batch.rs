//! Several jobs by one command: taken all or none.

use alloc::sync::Arc;

use super::Turn;
use crate::gateways::Known;
use crate::ledger::Effect;
use protocol::{Answer, Batch, Origin, Refusal};

impl Turn<'_> {
    /// All or none: what would go over a bound as a whole is refused as a whole.
    pub(super) fn submit_all(&mut self, batch: &Batch, origin: &Origin) {
        let answer = match self.ledger.gateways.known(origin) {
            Known::Yes(answer) => answer,
            Known::Stale => Answer::Refused(Refusal::Stale),
            Known::No => {
                let answer = self.decide_all(batch, origin);
                self.ledger.gateways.record(origin, answer.clone(), self.ledger.bounds.answers);
                answer
            }
        };
        self.effects.push(Effect::Decided {
            origin: *origin,
            job: batch.first,
            jobs: batch.specs.len(),
            answer,
        });
    }

    fn decide_all(&mut self, batch: &Batch, origin: &Origin) -> Answer {
        let key: Option<Arc<str>> = batch.key.as_deref().map(Arc::from);
        let jobs = batch.specs.len() as u32;
        let repeated = self.repeat(
            batch.first,
            key.as_ref(),
            &batch.fingerprint,
            #[cfg(feature = "mutants")]
            origin.gateway,
        );
        match repeated {
            Some(Answer::Accepted { job: first, replayed }) => Answer::AllAccepted { first, jobs, replayed },
            Some(answer) => answer,
            None => match self.refusal(u64::from(jobs)) {
                Some(answer) => answer,
                None => {
                    let mut key = key;
                    for (job, spec) in batch.jobs() {
                        self.accept(job, spec, key.take(), &batch.fingerprint, origin);
                    }
                    Answer::AllAccepted { first: batch.first, jobs, replayed: false }
                }
            },
        }
    }
}
