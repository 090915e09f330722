//! Faults of cables and of what lies between them.

use crate::faults::{Fault, Heal};
use crate::limits::{LINK_SILENCE_US, MS, SECOND};
use crate::network::Weather;
use crate::world::{Event, World};

impl World<'_> {
    pub(crate) fn isolate_one(&mut self) {
        let Some(place) = self.victim() else { return };
        let others = (0..self.nodes.len()).filter(|other| *other != place);
        let ways = others.flat_map(|other| [(place, other), (other, place)]).collect();
        self.cut(Fault::Isolation, ways);
    }

    pub(crate) fn split(&mut self) {
        let sides: Vec<bool> = self.nodes.iter().map(|_| self.chance.percent(50)).collect();
        let places = 0..self.nodes.len();
        let pairs = places.clone().flat_map(|a| places.clone().map(move |b| (a, b)));
        self.cut(Fault::Split, pairs.filter(|(a, b)| sides[*a] != sides[*b]).collect());
    }

    /// One cable of a node's, in both directions: the others hear both ends.
    pub(crate) fn cut_one_cable(&mut self) {
        let Some(place) = self.victim() else { return };
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != place).collect();
        let Some(other) = self.chance.pick(&others) else { return };
        self.cut(Fault::PartialCut, vec![(place, other), (other, place)]);
    }

    /// One node is not heard, or does not hear, by one other or by all.
    pub(crate) fn cut_one_way(&mut self) {
        let Some(place) = self.victim() else { return };
        let mut others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != place).collect();
        if self.chance.percent(50) {
            let one = self.chance.place(others.len());
            others = vec![others[one]];
        }
        let deaf = self.chance.percent(50);
        let ways = others.into_iter().map(|o| if deaf { (o, place) } else { (place, o) }).collect();
        self.cut(Fault::OneWayCut, ways);
    }

    fn cut(&mut self, fault: Fault, ways: Vec<(usize, usize)>) {
        self.counts.fault(fault);
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
            let silent_us = LINK_SILENCE_US + self.chance.below(100 * MS);
            let (from_id, to_id) = (self.nodes[*from].id, self.nodes[*to].id);
            self.after(silent_us, Event::LinkClosed(*from, *to, to_id, false));
            self.after(silent_us, Event::LinkClosed(*to, *from, from_id, false));
        }
        self.begins(length_us, Heal::Mend(ways));
    }

    pub(crate) fn bad_weather(&mut self) {
        self.counts.fault(Fault::Weather);
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
}
