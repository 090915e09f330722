//! One start of a node: everything that `/stop` closes and forgets, and the loop that turns its minds.

use std::time::Duration;

use cast::{Cast, Input, Output};
use consensus::{Base, Recovered};
use master::Ledger;
use protocol::{Boot, Member};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::archive::Archive;
use crate::broker::BrokerTold;
use crate::clock::{tick_ms, wall_ms};
use crate::disk::{Closing, Folder, HealthState, Identity, Watchdog};
use crate::error::StageError;
use crate::gather::{Gather, Patience};
use crate::hands::{Hands, Known};
use crate::inbox::{Inboxes, inboxes};
use crate::stage::{Ending, Stage};

/// Things of one kind that one turn takes; what waits beyond waits for the next turn.
pub(crate) const TURN_EVENTS: usize = 512;
/// One turn takes no more events once it has taken so long.
const TURN_TIME: Duration = Duration::from_millis(5);
/// How often in one turn attempts that need no time make room for others.
const AT_ONCE_ROUNDS: usize = 128;
/// A tick later than this is worth a line in the log.
const LAG_WORTH_A_LINE: Duration = Duration::from_millis(100);
/// What a node that ends has beyond the time of what runs there: to end that, and to hand it back.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How a start ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By `/stop`.
    Stopped,
    /// The process is to end.
    Asked,
    /// By its disk: a write or sync failed, at this file with this error.
    DiskFailed(String),
}

/// How far a node is that was told to end.
struct Farewell {
    /// When what runs here is ended.
    give_up_at: Instant,
    gave_up: bool,
}

/// One start.
pub(crate) struct Incarnation {
    pub(crate) cast: Cast,
    pub(crate) hands: Hands,
    inboxes: Inboxes,
    synced: u64,
    tick: Duration,
    /// A leader that was later than this may have been replaced.
    election: Duration,
    next_tick: Instant,
    watchdog: Watchdog,
    /// A leader's patience for a fuller entry.
    patience: Patience,
    gather: Gather,
}

impl Incarnation {
    /// Opens sockets and minds. The disk is handed the folder when the loop begins.
    pub(crate) fn open(
        stage: &Stage,
        handle: &Handle,
        identity: Identity,
        boot: Boot,
        (snapshot, recovered): (Option<(Base, Ledger)>, Recovered),
        members: Vec<Member>,
        archive: Archive,
    ) -> Result<Self, StageError> {
        let settings = &stage.settings;
        let (slots, inboxes) = inboxes(settings.slots as usize);
        if let Some(cut) = &recovered.cut {
            let line = format!(
                "cut a torn tail of {} bytes at offset {} of log segment {}: it was never acknowledged",
                cut.bytes, cut.offset, cut.segment
            );
            stage.log.record(logdb::Level::Warn, "torn-tail", None, &line);
        }
        let snapshot_index = snapshot.as_ref().map_or(0, |(base, _)| base.index);
        let told_index = recovered.hard.map_or(0, |hard| hard.commit).max(snapshot_index);
        let known = Known { members, quiet_index: told_index, archive };
        let mut hands = Hands::open(stage, handle, identity, boot, slots, known)?;
        let cast_settings = hands.cast_settings(identity, boot);
        let cast = Cast::open_from(cast_settings, snapshot, recovered.hard, recovered.entries)?;
        hands.begin_history(cast.ledger());
        hands.keep_writer(recovered.writer);
        let tick = Duration::from_millis(tick_ms(settings.heartbeat_ms));
        let election = Duration::from_millis(settings.election_ms);
        let watchdog = Watchdog::new(settings.disk.hangs_ms, tick_ms(settings.heartbeat_ms));
        let next_tick = Instant::now() + tick;
        Ok(Self {
            cast,
            hands,
            inboxes,
            synced: 0,
            tick,
            election,
            next_tick,
            watchdog,
            patience: Patience::for_entry(),
            gather: Gather::new(),
        })
    }

    /// Turns until stopped or told to end; gives the folder back.
    pub(crate) async fn serve(
        mut self,
        stage: &mut Stage,
        folder: Folder,
    ) -> Result<(Closing, Ended), StageError> {
        self.hands.start_disk(folder)?;
        // What an earlier start said of it is over.
        stage.front.disk.set(None);
        stage.front.valve.reach(false);
        if stage.was_stopped {
            self.hands.resumed();
        }
        self.hands.join_cluster(&self.cast);
        let mut inputs = Vec::with_capacity(TURN_EVENTS);
        let mut farewell: Option<Farewell> = None;
        loop {
            if stage.stopping_now() {
                self.hands.stopped();
                return Ok((self.silence().await, Ended::Stopped));
            }
            let ending = *stage.ending.borrow_and_update();
            if ending != Ending::No {
                let farewell = farewell.get_or_insert_with(|| self.leave(stage));
                if !farewell.gave_up && Instant::now() >= farewell.give_up_at {
                    farewell.gave_up = true;
                    self.give_up(stage);
                }
                let is_over = Instant::now() >= farewell.give_up_at + LAST_WORDS;
                if ending == Ending::AtOnce || is_over || self.cast.may_go() {
                    self.hands.left(self.cast.worker().held().count());
                    return Ok((self.silence().await, Ended::Asked));
                }
            }
            if let Err(error) = self.wait_and_turn(stage, &mut inputs).await {
                let Some(why) = error.disk_trouble() else { return Err(error) };
                // Nothing more leaves: memory proves nothing now. The others see closed links, as after a crash.
                return Ok((self.silence().await, Ended::DiskFailed(why)));
            }
        }
    }

    async fn wait_and_turn(&mut self, stage: &mut Stage, inputs: &mut Vec<Input>) -> Result<(), StageError> {
        self.wait(stage, inputs).await?;
        self.turn(stage, inputs)
    }

    /// Waits for whatever comes first, then takes all that waits, peers first, each kind up to its bound.
    async fn wait(&mut self, stage: &mut Stage, inputs: &mut Vec<Input>) -> Result<(), StageError> {
        let waits = self.cast.has_enough_under_way();
        let due = self.hands.verdict_due().map_or(self.next_tick, |due| self.next_tick.min(due.into()));
        let (enough, gathered) = self.gather.enough();
        stage.asks.ring_from(enough);
        let due =
            [gathered, self.patience.ends(self.cast.gathers())].into_iter().flatten().fold(due, Instant::min);
        let inboxes = &mut self.inboxes;
        let first = async {
            tokio::select! {
                biased;
                _ = stage.stopping.changed() => {}
                _ = stage.ending.changed(), if *stage.ending.borrow() != Ending::AtOnce => {}
                Some(told) = inboxes.peers.recv() => self.hands.link_told(told, inputs),
                Ok(()) = inboxes.disk.changed() => {}
                Some(batch) = inboxes.broker.recv(), if !waits => broker_told(batch, inputs),
                Some((attempt, outcome)) = inboxes.ended.recv() => self.hands.ended(attempt, outcome, inputs),
                () = stage.asks.enough(), if !waits => {}
                Some(batch) = inboxes.lab.recv() => self.hands.lab_told(batch, &self.cast, inputs),
                Some(batch) = inboxes.recodex.recv() => self.hands.recodex_told(batch, &self.cast, inputs),
                Some(told) = inboxes.snapshots.recv() => self.hands.snapshot_told(told, inputs),
                Ok(()) = inboxes.load.changed() => {
                    let load = *inboxes.load.borrow_and_update();
                    self.hands.loaded(load, inputs);
                    let mut progress = stage.front.outputs.progress();
                    progress.extend(self.hands.guests_progress(self.cast.ledger()));
                    inputs.push(Input::Progress(progress));
                }
                Some(joined) = inboxes.joined.recv() => self.hands.joined(joined?),
                () = tokio::time::sleep_until(due) => {}
            }
            Ok::<(), StageError>(())
        };
        // The link's tasks live on this thread too, and get their turn before each of ours, however much waits for us. Where the
        // loop slept they had it.
        if !slept_for(first).await? {
            tokio::task::yield_now().await;
        }
        self.take_waiting(stage, inputs)?;
        if self.patience.is_over() {
            inputs.push(Input::Gathered);
        }
        Ok(())
    }

    fn take_waiting(&mut self, stage: &mut Stage, inputs: &mut Vec<Input>) -> Result<(), StageError> {
        let began = Instant::now();
        let inboxes = &mut self.inboxes;
        while inputs.len() < TURN_EVENTS {
            let Ok(told) = inboxes.peers.try_recv() else { break };
            self.hands.link_told(told, inputs);
        }
        let disk = inboxes.disk.borrow_and_update().clone();
        if let Some(text) = disk.failed {
            return Err(StageError::DiskFailed(text));
        }
        if disk.synced > self.synced {
            self.synced = disk.synced;
            inputs.push(Input::Synced(disk.synced));
        }
        for _ in 0..TURN_EVENTS {
            let Ok(batch) = inboxes.broker.try_recv() else { break };
            broker_told(batch, inputs);
            if began.elapsed() > TURN_TIME {
                break;
            }
        }
        for _ in 0..TURN_EVENTS {
            let Ok((attempt, outcome)) = inboxes.ended.try_recv() else { break };
            self.hands.ended(attempt, outcome, inputs);
        }
        while began.elapsed() <= TURN_TIME {
            let Ok(batch) = inboxes.lab.try_recv() else { break };
            self.hands.lab_told(batch, &self.cast, inputs);
        }
        while began.elapsed() <= TURN_TIME {
            let Ok(batch) = inboxes.recodex.try_recv() else { break };
            self.hands.recodex_told(batch, &self.cast, inputs);
        }
        let most = if self.gather.holds(stage.asks.len()) { 0 } else { TURN_EVENTS };
        for _ in 0..most {
            let Ok(ask) = stage.asks.try_recv() else { break };
            self.hands.asked(ask, &self.cast, inputs);
        }
        Ok(())
    }

    /// One turn: everything taken, then at most one tick, however late it is.
    fn turn(&mut self, stage: &mut Stage, inputs: &mut Vec<Input>) -> Result<(), StageError> {
        let wall_ms = wall_ms();
        self.hands.give_verdicts(inputs);
        for input in inputs.drain(..) {
            self.cast.handle(input, wall_ms);
        }
        let now = Instant::now();
        if now >= self.next_tick {
            let late = now - self.next_tick;
            if late > self.election {
                self.cast.handle(Input::Late, wall_ms);
            }
            if late > LAG_WORTH_A_LINE {
                let line = format!("the owner loop was {} ms late", late.as_millis());
                stage.log.record(logdb::Level::Warn, "lag", None, &line);
            }
            self.next_tick = now + self.tick.saturating_sub(late.min(self.tick / 2));
            self.watch_disk(stage, wall_ms);
            self.cast.handle(Input::Tick, wall_ms);
            self.hands.ask_again(&mut self.cast, wall_ms);
        }
        self.cast.watch(self.hands.jobs_watched());
        let outputs = self.outputs(wall_ms);
        self.hands.carry_out(&mut self.cast, outputs)?;
        self.gather.answered(self.hands.answered(), stage.asks.len());
        Ok(())
    }

    /// A disk that hangs is told to the minds and to people: the leader hands over, and goes on when the disk does.
    fn watch_disk(&mut self, stage: &Stage, wall_ms: u64) {
        let Some(hangs) = self.watchdog.look(self.hands.disk_waits_for()) else { return };
        let (level, line) = if hangs {
            let limit_ms = stage.settings.disk.hangs_ms;
            (
                logdb::Level::Error,
                format!(
                    "Disk hangs: a write takes over {limit_ms} ms. Nothing is acknowledged until it is done"
                ),
            )
        } else {
            (logdb::Level::Info, "Disk goes on: what hung is written".to_string())
        };
        stage.log.record(level, if hangs { "disk-hangs" } else { "disk-well" }, None, &line);
        stage.front.disk.set(hangs.then_some(HealthState::Hangs));
        self.cast.handle(Input::DiskHangs(hangs), wall_ms);
    }

    /// What the minds want. An attempt that needs no time ends in the turn in which it begins and makes room for the next, so
    /// that many results leave together.
    fn outputs(&mut self, wall_ms: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        for _ in 0..AT_ONCE_ROUNDS {
            let mut ended = Vec::new();
            for output in self.cast.turn(wall_ms) {
                match output {
                    Output::Run(dispatch) => match self.hands.at_once(&dispatch) {
                        Some(outcome) => ended.push(Input::Ended { attempt: dispatch.attempt, outcome }),
                        None => outputs.push(Output::Run(dispatch)),
                    },
                    other => outputs.push(other),
                }
            }
            if ended.is_empty() {
                return outputs;
            }
            ended.into_iter().for_each(|ended| self.cast.handle(ended, wall_ms));
        }
        outputs.extend(self.cast.turn(wall_ms));
        outputs
    }

    /// The process is to end: no new attempts, the lead to another, and time for what runs.
    fn leave(&mut self, stage: &Stage) -> Farewell {
        self.cast.handle(Input::Leave, wall_ms());
        let running = self.cast.worker().held().count();
        let deadline_ms = stage.settings.drain_deadline_ms;
        let line = format!("is leaving: {running} attempts run here, they have {deadline_ms} ms");
        stage.log.record(logdb::Level::Info, "leaving", None, &line);
        Farewell { give_up_at: Instant::now() + Duration::from_millis(deadline_ms), gave_up: false }
    }

    /// The time of what runs here is over.
    fn give_up(&mut self, stage: &Stage) {
        self.cast.handle(Input::GiveUp, wall_ms());
        let running = self.cast.worker().held().count();
        let line = format!("ends {running} attempts unfinished: their time is over, and they run elsewhere");
        stage.log.record(logdb::Level::Warn, "leaving", None, &line);
    }

    /// Falls silent at once: sockets closed, children dead, what was not on disk forgotten.
    async fn silence(self) -> Closing {
        drop(self.cast);
        self.hands.close().await
    }
}

/// Awaits this, and says whether it had to wait.
async fn slept_for<E>(first: impl Future<Output = Result<(), E>>) -> Result<bool, E> {
    let mut first = std::pin::pin!(first);
    let mut slept = false;
    std::future::poll_fn(|context| {
        let polled = first.as_mut().poll(context);
        slept |= polled.is_pending();
        polled
    })
    .await
    .map(|()| slept)
}

fn broker_told(batch: Vec<BrokerTold>, inputs: &mut Vec<Input>) {
    for told in batch {
        inputs.push(match told {
            BrokerTold::ToMaster { envelope } => Input::ToMaster(envelope),
            BrokerTold::ToNode { envelope } => Input::ToNode(envelope),
        });
    }
}
