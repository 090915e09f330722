//! Pretend foreign workers, attached to a node over a wire of their own: they do one job at a time, answer in time, late or
//! never, lose their connection, and come back.

use std::collections::BTreeMap;

use cast::{AttachedId, Input};
use protocol::{AttemptRef, Boot, Dispatch};

use crate::limits::{MS, SECOND};
use crate::node::LAB_CLASS;
use crate::runner::Work;
use crate::watch::{Held, must};
use crate::world::{Event, World};

/// What one of them does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Says that it is there and free, whatever it was before.
    Attach,
    /// Brings back this attempt.
    Answer(AttemptRef),
    /// Its connection goes.
    Leave,
}

/// Those of one start of one node.
#[derive(Default)]
pub(crate) struct Foreigners {
    /// Each that is there or may come back, with what it works on.
    workers: BTreeMap<AttachedId, One>,
}

#[derive(Clone, Copy, Debug, Default)]
struct One {
    works_on: Option<(AttemptRef, u64)>,
    away: bool,
}

impl Foreigners {
    /// How many are there.
    pub(crate) fn present(&self) -> usize {
        self.workers.values().filter(|one| !one.away).count()
    }

    /// What they work on.
    pub(crate) fn busy_with(&self) -> impl Iterator<Item = AttemptRef> + '_ {
        self.workers.values().filter_map(|one| Some(one.works_on?.0))
    }
}

impl World<'_> {
    /// A start of a node: its foreign workers find it.
    pub(crate) fn foreigners_come(&mut self, place: usize, boot: Boot) {
        for number in 1..=self.nodes[place].foreigners {
            let after_us = self.chance.between(20 * MS, 1_500 * MS);
            self.after(after_us, Event::Foreign(place, boot, AttachedId(number), Step::Attach));
        }
    }

    pub(crate) fn foreign(&mut self, place: usize, boot: Boot, worker: AttachedId, step: Step) {
        let node = &mut self.nodes[place];
        let Some(live) = node.live.as_mut().filter(|_| node.boot == boot) else { return };
        let class = LAB_CLASS.to_string();
        match step {
            Step::Attach => {
                let before = live.foreigners.workers.insert(worker, One::default());
                if let Some((attempt, _)) = before.and_then(|one| one.works_on) {
                    self.watch.given_up.insert(attempt);
                }
                self.hand(place, Input::Attach { worker, class });
            }
            Step::Leave => {
                let Some(one) = live.foreigners.workers.get_mut(&worker) else { return };
                one.away = true;
                if let Some((attempt, _)) = one.works_on {
                    self.watch.given_up.insert(attempt);
                }
                self.watch.disturbed(self.now_us, 0);
                self.hand(place, Input::Left { worker });
            }
            Step::Answer(attempt) => {
                let Some(one) = live.foreigners.workers.get_mut(&worker) else { return };
                let works_on = one.works_on.map(|(works_on, _)| works_on);
                if works_on != Some(attempt) {
                    return;
                }
                *one = One::default();
                let payload = self.watch.jobs.get(&attempt.job).map(|job| job.payload.clone());
                if let Some(work) = payload.and_then(|payload| Work::read(&payload)) {
                    let outcome = work.outcome(attempt.attempt);
                    self.hand(place, Input::Returned { worker, class, outcome });
                }
            }
        }
    }

    /// A node gives an attempt to one of its foreign workers. `never_over_capacity`: to one that is there and free.
    pub(crate) fn handed(&mut self, place: usize, worker: AttachedId, dispatch: &Dispatch) -> Held {
        let attempt = dispatch.attempt;
        let (id, boot, now_us) = (self.nodes[place].id, self.nodes[place].boot, self.now_us);
        let Some(live) = self.nodes[place].live.as_mut() else { return Ok(()) };
        let one = live.foreigners.workers.get_mut(&worker);
        let busy = one.as_ref().map(|one| one.works_on);
        must(busy == Some(None), "never_over_capacity", || {
            format!("{attempt:?} is handed to {worker:?} of {id:?}, which works on {busy:?}")
        })?;
        if let Some(one) = one {
            one.works_on = Some((attempt, now_us));
        }
        self.fold.take(&attempt);
        self.watch.started((id, boot), dispatch)?;
        let Some(work) = Work::read(&dispatch.spec.payload) else { return Ok(()) };
        self.behave(place, worker, attempt, work.run_ms * MS);
        Ok(())
    }

    /// Most answer when they are done. While there are faults, some answer late or never, and some lose their connection.
    fn behave(&mut self, place: usize, worker: AttachedId, attempt: AttemptRef, run_us: u64) {
        let boot = self.nodes[place].boot;
        let answer = Event::Foreign(place, boot, worker, Step::Answer(attempt));
        let how = if self.now_us < self.faults_until_us { self.chance.below(100) } else { 99 };
        let window_us = self.common.window_ms * MS;
        match how {
            0..8 => {
                self.tell(|| format!("a foreign worker of n{} will be late with {attempt:?}", place + 1));
                let late_us = window_us + self.chance.below(3 * SECOND);
                self.misbehaves(crate::Fault::LateWorker, late_us);
                self.after(late_us, answer);
            }
            8..12 => {
                self.tell(|| format!("a foreign worker of n{} loses its connection", place + 1));
                let gone_us = self.chance.below(run_us.max(1));
                let back_us = gone_us + self.chance.between(10 * MS, 4 * SECOND);
                self.misbehaves(crate::Fault::LostWorker, back_us);
                self.after(gone_us, Event::Foreign(place, boot, worker, Step::Leave));
                self.after(back_us, answer);
            }
            12..16 => {
                self.tell(|| format!("a foreign worker of n{} forgets {attempt:?}", place + 1));
                let again_us = self.chance.between(10 * MS, 3 * SECOND);
                self.misbehaves(crate::Fault::LostWorker, again_us);
                if self.chance.percent(50) {
                    let gone_us = self.chance.below(again_us);
                    self.after(gone_us, Event::Foreign(place, boot, worker, Step::Leave));
                }
                self.after(again_us, Event::Foreign(place, boot, worker, Step::Attach));
            }
            _ => self.after(run_us, answer),
        }
    }

    fn misbehaves(&mut self, fault: crate::Fault, until_us: u64) {
        self.counts.fault(fault);
        self.begins(until_us, crate::faults::Heal::Nothing);
    }

    /// `no_run_while_held`: an attached worker is called late only when its window is over.
    pub(crate) fn late(&mut self, place: usize, worker: AttachedId, attempt: AttemptRef) -> Held {
        let Some(live) = &self.nodes[place].live else { return Ok(()) };
        let one = live.foreigners.workers.get(&worker).and_then(|one| one.works_on);
        // Ticks are counted, and the first may come at once.
        let over_us = (self.common.window_ms.saturating_sub(2 * crate::limits::TICK_MS)) * MS;
        let right = one.is_none_or(|(works_on, since_us)| {
            works_on != attempt || self.now_us.saturating_sub(since_us) >= over_us
        });
        self.watch.given_up.insert(attempt);
        must(right, "no_run_while_held", || {
            format!("{worker:?} of n{} is called late with {attempt:?} too early", place + 1)
        })
    }
}
