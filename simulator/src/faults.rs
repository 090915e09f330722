//! What goes wrong, and what mends it: each fault has its end, so that only what was not synced can be lost for good.

use cast::Input;

use crate::limits::LINK_SILENCE_US;
use crate::limits::{MS, SECOND};
use crate::network::Weather;
use crate::world::{Event, World};

/// The end of a fault.
#[derive(Clone, Debug)]
pub(crate) enum Heal {
    Restart(usize),
    Resume(usize, protocol::Boot),
    Mend(Vec<(usize, usize)>),
    Fair,
    QuickDisk(usize, u64),
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
        self.counts.faults += 1;
        match self.chance.below(100) {
            0..22 => self.crash_one(),
            22..28 => self.power_cut(),
            28..44 => self.pause_one(),
            44..58 => self.isolate_one(),
            58..66 => self.split(),
            66..76 => self.cut_one_way(),
            76..90 => self.bad_weather(),
            _ => self.slow_disk(),
        }
    }

    /// A victim: the leader half of the time.
    fn victim(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.nodes.len()).filter(|p| self.nodes[*p].live.is_some()).collect();
        match self.leader() {
            Some(leader) if self.chance.percent(50) => Some(leader),
            _ => self.chance.pick(&live),
        }
    }

    fn begins(&mut self, after_us: u64, heal: Heal) {
        self.watch.disturbed(self.now_us, 1);
        self.after(after_us, Event::Heal(heal));
    }

    fn crash_one(&mut self) {
        let Some(place) = self.victim() else { return };
        let down_us = match self.chance.below(4) {
            0 => self.chance.between(5 * MS, 300 * MS),
            1 => self.chance.between(3 * SECOND, 9 * SECOND),
            _ => self.chance.between(300 * MS, 3 * SECOND),
        };
        self.crash(place);
        self.begins(down_us, Heal::Restart(place));
    }

    fn power_cut(&mut self) {
        for place in 0..self.nodes.len() {
            if self.nodes[place].live.is_some() {
                self.crash(place);
                let down_us = self.chance.between(50 * MS, 3 * SECOND);
                self.begins(down_us, Heal::Restart(place));
            }
        }
    }

    /// The end of a start, by `kill -9`, `/stop` or a power cut: minds and attempts are gone, and so is all that was not
    /// synced; a disk that was writing may have come to its end or not.
    fn crash(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let boot = node.boot;
        let applied = node.live.take().map_or(0, |live| live.cast.ledger().applied());
        node.disk.crash(&mut self.chance);
        node.shelf.crash(applied, &mut self.chance);
        self.counts.crashes += 1;
        self.tell(|| format!("n{} crashes", place + 1));
        self.answers_lost(place, boot);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != place) {
            let cut = self.network.is_cut(place, peer);
            let notice_us = if cut { LINK_SILENCE_US } else { self.chance.between(100, 3 * MS) };
            self.after(notice_us, Event::LinkClosed(peer, place, !cut));
        }
    }

    /// A process that gets no time: it runs on as though nothing had been.
    fn pause_one(&mut self) {
        let Some(place) = self.victim() else { return };
        let boot = self.nodes[place].boot;
        let Some(live) = self.nodes[place].live.as_mut().filter(|live| !live.paused) else { return };
        live.paused = true;
        live.woken = false;
        let length_us = match self.chance.below(3) {
            0 => self.chance.between(100 * MS, 900 * MS),
            1 => self.chance.between(900 * MS, 2 * SECOND),
            _ => self.chance.between(2 * SECOND, 6 * SECOND),
        };
        self.tell(|| format!("n{} is paused for {} ms", place + 1, length_us / MS));
        self.begins(length_us, Heal::Resume(place, boot));
    }

    fn isolate_one(&mut self) {
        let Some(place) = self.victim() else { return };
        let others = (0..self.nodes.len()).filter(|other| *other != place);
        let ways = others.flat_map(|other| [(place, other), (other, place)]).collect();
        self.cut(ways);
    }

    fn split(&mut self) {
        let sides: Vec<bool> = self.nodes.iter().map(|_| self.chance.percent(50)).collect();
        let places = 0..self.nodes.len();
        let pairs = places.clone().flat_map(|a| places.clone().map(move |b| (a, b)));
        self.cut(pairs.filter(|(a, b)| sides[*a] != sides[*b]).collect());
    }

    /// One node is not heard, or does not hear, by one other or by all.
    fn cut_one_way(&mut self) {
        let Some(place) = self.victim() else { return };
        let mut others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != place).collect();
        if self.chance.percent(50) {
            let one = self.chance.place(others.len());
            others = vec![others[one]];
        }
        let deaf = self.chance.percent(50);
        self.cut(others.into_iter().map(|o| if deaf { (o, place) } else { (place, o) }).collect());
    }

    fn cut(&mut self, ways: Vec<(usize, usize)>) {
        let length_us = match self.chance.below(3) {
            0 => self.chance.between(100 * MS, SECOND),
            1 => self.chance.between(SECOND, 4 * SECOND),
            _ => self.chance.between(3 * SECOND, 9 * SECOND),
        };
        self.tell(|| {
            let named: Vec<String> = ways.iter().map(|(a, b)| format!("n{}→n{}", a + 1, b + 1)).collect();
            format!("cut for {} ms: {}", length_us / MS, named.join(" "))
        });
        for (from, to) in &ways {
            self.network.cut(*from, *to, true);
            let jitter_us = self.chance.below(100 * MS);
            self.after(LINK_SILENCE_US + jitter_us, Event::LinkClosed(*from, *to, false));
            self.after(LINK_SILENCE_US + jitter_us, Event::LinkClosed(*to, *from, false));
        }
        self.begins(length_us, Heal::Mend(ways));
    }

    fn bad_weather(&mut self) {
        let delay_us = if self.chance.percent(50) { 20 * MS } else { 400 * MS };
        let weather = Weather {
            lost_permille: self.chance.below(400),
            doubled_permille: self.chance.below(200),
            delay_us: self.chance.between(3 * MS, delay_us),
        };
        self.network.weather = weather;
        let length_us = self.chance.between(SECOND, 6 * SECOND);
        self.tell(|| format!("for {} ms: {weather:?}", length_us / MS));
        self.begins(length_us, Heal::Fair);
    }

    fn slow_disk(&mut self) {
        let Some(place) = self.victim() else { return };
        let before_us = self.nodes[place].sync_us.min(8 * MS);
        let sync_us = self.chance.between(20 * MS, SECOND);
        self.nodes[place].sync_us = sync_us;
        let length_us = self.chance.between(SECOND, 6 * SECOND);
        self.tell(|| format!("n{}'s disk needs up to {} ms", place + 1, sync_us / MS));
        self.begins(length_us, Heal::QuickDisk(place, before_us));
    }

    pub(crate) fn heal(&mut self, heal: Heal) {
        self.watch.disturbed(self.now_us, -1);
        match heal {
            Heal::Restart(place) => self.after(0, Event::Start(place)),
            Heal::Resume(place, boot) => {
                if self.nodes[place].boot == boot
                    && let Some(live) = &mut self.nodes[place].live
                {
                    live.paused = false;
                    self.hand(place, Input::Late);
                }
            }
            Heal::Mend(ways) => ways.into_iter().for_each(|(from, to)| self.network.cut(from, to, false)),
            Heal::Fair => self.network.weather = Weather::FAIR,
            Heal::QuickDisk(place, sync_us) => self.nodes[place].sync_us = sync_us,
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
