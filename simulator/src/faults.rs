//! What goes wrong with processes and clocks, and what mends it: each fault has its end, so that only what was not synced, and
//! a disk now and then, can be lost for good. Cables are in `cables`, disks in `ills`, foreign workers in `foreign`.

use cast::Input;
use protocol::Boot;

use crate::limits::{LINK_SILENCE_US, MS, SECOND};
use crate::world::{Event, World};

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process ends: what it had not synced is lost.
    Crash,
    /// A node is stopped in good order and resumes later.
    SoftStop,
    /// A process is told to end: what runs there has some time, then it goes back, and the process ends.
    Farewell,
    /// All nodes crash in one instant.
    PowerCut,
    /// A process gets no time, and then goes on as though nothing had been.
    Pause,
    /// A node's loop comes late to every turn.
    Lag,
    /// A wall clock jumps.
    ClockJump,
    /// A node is cut off from all others.
    Isolation,
    /// The nodes are cut into two sides.
    Split,
    /// One cable between two nodes is cut; all others hear both.
    PartialCut,
    /// A cable, or all of a node's, is cut in one direction.
    OneWayCut,
    /// Loss, duplication, overtaking, long ways.
    Weather,
    /// A disk is slow.
    SlowDisk,
    /// A sync hangs.
    HungDisk,
    /// A disk is full.
    FullDisk,
    /// A sync fails.
    FailedSync,
    /// A byte of what was safe is changed: the node must refuse to start, and is replaced by a new one.
    Damage,
    /// A node comes back with an empty disk.
    NewDisk,
    /// An attached worker is late.
    LateWorker,
    /// An attached worker loses its connection, or forgets what it does.
    LostWorker,
}

impl Fault {
    /// Every one of them.
    pub const ALL: [Self; 20] = [
        Self::Crash,
        Self::SoftStop,
        Self::Farewell,
        Self::PowerCut,
        Self::Pause,
        Self::Lag,
        Self::ClockJump,
        Self::Isolation,
        Self::Split,
        Self::PartialCut,
        Self::OneWayCut,
        Self::Weather,
        Self::SlowDisk,
        Self::HungDisk,
        Self::FullDisk,
        Self::FailedSync,
        Self::Damage,
        Self::NewDisk,
        Self::LateWorker,
        Self::LostWorker,
    ];
}

/// The end of a fault.
#[derive(Clone, Debug)]
pub(crate) enum Heal {
    /// It ended by itself.
    Nothing,
    Restart(usize),
    /// A node whose log is damaged comes back as a new one.
    Repair(usize),
    Resume(usize, Boot),
    /// A node that was told to end has waited long enough for what runs there.
    GiveUp(usize, Boot),
    /// And ends.
    Leave(usize, Boot),
    Prompt(usize),
    Mend(Vec<(usize, usize)>),
    Fair,
    QuickDisk(usize, u64),
    /// The disk is well again.
    WellDisk(usize),
}

impl World<'_> {
    /// The next fault, and when the one after it comes.
    pub(crate) fn fault(&mut self) {
        if self.now_us >= self.faults_until_us {
            return;
        }
        let pause_us = match self.chance.below(100) {
            0..10 => self.chance.between(11 * SECOND, 16 * SECOND),
            10..40 => self.chance.between(20 * MS, 500 * MS),
            _ => self.chance.between(500 * MS, 5 * SECOND),
        };
        self.after(pause_us, Event::Fault);
        match self.chance.below(100) {
            0..18 => self.crash_one(),
            18..21 => self.stop_one(),
            21..23 => self.tell_one_to_end(),
            23..28 => self.power_cut(),
            28..39 => self.pause_one(),
            39..43 => self.lag_one(),
            43..47 => self.turn_clock(),
            47..57 => self.isolate_one(),
            57..63 => self.split(),
            63..68 => self.cut_one_cable(),
            68..76 => self.cut_one_way(),
            76..84 => self.bad_weather(),
            84..88 => self.slow_disk(),
            88..91 => self.hung_disk(),
            91..94 => self.full_disk(),
            94..97 => self.failed_sync(),
            97..98 => self.damage_disk(),
            _ => self.new_disk(),
        }
    }

    /// A victim: the leader half of the time.
    pub(crate) fn victim(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.nodes.len()).filter(|p| self.nodes[*p].live.is_some()).collect();
        match self.leader() {
            Some(leader) if self.chance.percent(50) => Some(leader),
            _ => self.chance.pick(&live),
        }
    }

    pub(crate) fn begins(&mut self, after_us: u64, heal: Heal) {
        self.watch.disturbed(self.now_us, 1);
        self.after(after_us, Event::Heal(heal));
    }

    pub(crate) fn down_us(&mut self) -> u64 {
        match self.chance.below(4) {
            0 => self.chance.between(5 * MS, 300 * MS),
            1 => self.chance.between(3 * SECOND, 9 * SECOND),
            _ => self.chance.between(300 * MS, 3 * SECOND),
        }
    }

    fn crash_one(&mut self) {
        let Some(place) = self.victim() else { return };
        self.counts.fault(Fault::Crash);
        let down_us = self.down_us();
        self.crash(place);
        self.begins(down_us, Heal::Restart(place));
    }

    /// `/stop`, and its resuming.
    fn stop_one(&mut self) {
        let Some(place) = self.victim() else { return };
        self.counts.fault(Fault::SoftStop);
        let down_us = self.down_us();
        self.tell(|| format!("n{} is stopped", place + 1));
        self.nodes[place].disk.close(&mut self.chance);
        self.end(place);
        self.begins(down_us, Heal::Restart(place));
    }

    /// SIGTERM.
    fn tell_one_to_end(&mut self) {
        let Some(place) = self.victim() else { return };
        self.counts.fault(Fault::Farewell);
        self.tell(|| format!("n{} is told to end", place + 1));
        let boot = self.nodes[place].boot;
        self.hand(place, Input::Leave);
        let patience_us = self.chance.between(100 * MS, 2 * SECOND);
        self.begins(patience_us, Heal::GiveUp(place, boot));
    }

    fn gives_up(&mut self, place: usize, boot: Boot) {
        if self.nodes[place].boot == boot && self.nodes[place].live.is_some() {
            self.watch.leaving.insert((self.nodes[place].id, boot));
            self.hand(place, Input::GiveUp);
            let last_words_us = self.chance.between(50 * MS, SECOND);
            self.begins(last_words_us, Heal::Leave(place, boot));
        }
    }

    fn leaves(&mut self, place: usize, boot: Boot) {
        if self.nodes[place].boot == boot && self.nodes[place].live.is_some() {
            let down_us = self.down_us();
            self.nodes[place].disk.close(&mut self.chance);
            self.end(place);
            self.begins(down_us, Heal::Restart(place));
        }
    }

    fn power_cut(&mut self) {
        self.counts.fault(Fault::PowerCut);
        for place in 0..self.nodes.len() {
            if self.nodes[place].live.is_some() {
                self.crash(place);
                let down_us = self.chance.between(50 * MS, 3 * SECOND);
                self.begins(down_us, Heal::Restart(place));
            }
        }
    }

    /// The end of a start, by `kill -9` or a power cut: a disk that was writing may have come to its end or not.
    pub(crate) fn crash(&mut self, place: usize) {
        self.tell(|| format!("n{} crashes", place + 1));
        self.nodes[place].disk.crash(&mut self.chance);
        self.end(place);
    }

    /// The end of a start: minds and attempts are gone, and so is all that was on its way to it or from it over a link.
    pub(crate) fn end(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let boot = node.boot;
        let applied = node.live.take().map_or(0, |live| live.cast.ledger().applied());
        node.shelf.crash(applied, node.disk.in_snapshot(), &mut self.chance);
        node.lag_us = 0;
        self.counts.crashes += 1;
        self.answers_lost(place, boot);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != place) {
            let cut = self.network.is_cut(place, peer);
            let notice_us = if cut { LINK_SILENCE_US } else { self.chance.between(100, 3 * MS) };
            let id = self.nodes[place].id;
            self.network.end_link(place, peer);
            self.after(notice_us, Event::LinkClosed(peer, place, id, !cut));
        }
    }

    /// A process that gets no time: it runs on as though nothing had been.
    fn pause_one(&mut self) {
        let Some(place) = self.victim() else { return };
        let boot = self.nodes[place].boot;
        let Some(live) = self.nodes[place].live.as_mut().filter(|live| !live.paused) else { return };
        live.paused = true;
        live.woken = false;
        self.counts.fault(Fault::Pause);
        let length_us = match self.chance.below(3) {
            0 => self.chance.between(100 * MS, 900 * MS),
            1 => self.chance.between(900 * MS, 2 * SECOND),
            _ => self.chance.between(2 * SECOND, 6 * SECOND),
        };
        self.tell(|| format!("n{} is paused for {} ms", place + 1, length_us / MS));
        self.begins(length_us, Heal::Resume(place, boot));
    }

    /// A loop that is late for every turn: ticks come late, and of several that are due one counts.
    fn lag_one(&mut self) {
        let Some(place) = self.victim() else { return };
        self.counts.fault(Fault::Lag);
        let lag_us = self.chance.between(20 * MS, 400 * MS);
        let length_us = self.chance.between(SECOND, 6 * SECOND);
        self.tell(|| format!("n{}'s loop lags by up to {} ms", place + 1, lag_us / MS));
        self.nodes[place].lag_us = lag_us;
        self.begins(length_us, Heal::Prompt(place));
    }

    /// Somebody sets a clock: by seconds, or by hours. It stays so.
    fn turn_clock(&mut self) {
        let place = self.chance.place(self.nodes.len());
        self.counts.fault(Fault::ClockJump);
        let most_ms = if self.chance.percent(50) { 10_000 } else { 2 * 3_600_000 };
        let by_ms = self.chance.between(1, 2 * most_ms) as i64 - most_ms as i64;
        self.tell(|| format!("n{}'s wall clock jumps by {by_ms} ms", place + 1));
        self.nodes[place].skew_ms += by_ms;
        self.watch.disturbed(self.now_us, 0);
    }

    pub(crate) fn heal(&mut self, heal: Heal) {
        self.watch.disturbed(self.now_us, -1);
        match heal {
            Heal::Nothing => {}
            Heal::Restart(place) => self.after(0, Event::Start(place)),
            Heal::Repair(place) => self.repair(place),
            Heal::Resume(place, boot) => {
                if self.nodes[place].boot == boot
                    && let Some(live) = &mut self.nodes[place].live
                {
                    live.paused = false;
                    self.hand(place, Input::Late);
                }
            }
            Heal::GiveUp(place, boot) => self.gives_up(place, boot),
            Heal::Leave(place, boot) => self.leaves(place, boot),
            Heal::Prompt(place) => self.nodes[place].lag_us = 0,
            Heal::Mend(ways) => ways.into_iter().for_each(|(from, to)| self.network.cut(from, to, false)),
            Heal::Fair => self.network.weather = crate::network::Weather::FAIR,
            Heal::QuickDisk(place, sync_us) => self.nodes[place].sync_us = sync_us,
            Heal::WellDisk(place) => self.well_again(place),
        }
    }

    /// The end of all faults.
    pub(crate) fn mend_all(&mut self) {
        self.tell(|| "no more faults".to_string());
        for heal in self.take_heals() {
            self.heal(heal);
        }
        self.watch.all_mended();
    }
}
