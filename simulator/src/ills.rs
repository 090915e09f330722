//! Faults of disks. A node whose disk fails stops at once and stays out until it is well; one whose log is damaged refuses to
//! start, and comes back as a new node.

use cast::Input;
use protocol::Boot;

use crate::disk::Ill;
use crate::faults::{Fault, Heal};
use crate::limits::{MS, RETRY_US, SECOND};
use crate::world::{Event, World};

impl World<'_> {
    pub(crate) fn slow_disk(&mut self) {
        let Some(place) = self.victim() else { return };
        self.counts.fault(Fault::SlowDisk);
        let before_us = self.nodes[place].sync_us.min(8 * MS);
        let sync_us = self.chance.between(20 * MS, SECOND);
        self.nodes[place].sync_us = sync_us;
        let length_us = self.chance.between(SECOND, 6 * SECOND);
        self.tell(|| format!("n{}'s disk needs up to {} ms", place + 1, sync_us / MS));
        self.begins(length_us, Heal::QuickDisk(place, before_us));
    }

    pub(crate) fn hung_disk(&mut self) {
        let length_us = self.chance.between(300 * MS, 8 * SECOND);
        self.falls_ill(Fault::HungDisk, Ill::Hangs, length_us);
    }

    pub(crate) fn full_disk(&mut self) {
        let length_us = self.chance.between(100 * MS, 6 * SECOND);
        self.falls_ill(Fault::FullDisk, Ill::Full, length_us);
    }

    pub(crate) fn failed_sync(&mut self) {
        let length_us = self.chance.between(100 * MS, 2 * SECOND);
        self.falls_ill(Fault::FailedSync, Ill::FailsOnce, length_us);
    }

    fn falls_ill(&mut self, fault: Fault, ill: Ill, length_us: u64) {
        let Some(place) = self.victim().filter(|place| self.nodes[*place].disk.ill.is_none()) else { return };
        self.counts.fault(fault);
        self.tell(|| format!("n{}'s disk for {} ms: {ill:?}", place + 1, length_us / MS));
        self.nodes[place].disk.ill = Some(ill);
        self.begins(length_us, Heal::WellDisk(place));
    }

    pub(crate) fn well_again(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let hung = node.disk.ill.take() == Some(Ill::Hangs);
        if hung && node.disk.flying().next().is_some() {
            let boot = node.boot;
            self.after(MS, Event::Synced(place, boot));
        }
    }

    /// The body's watchdog: the same write waits for so long that the disk is said to hang.
    pub(crate) fn disk_hangs(&mut self, place: usize, boot: Boot, number: u64) {
        let node = &mut self.nodes[place];
        let Some(live) = node.live.as_mut().filter(|_| node.boot == boot) else { return };
        if node.disk.waits_for() == Some(number) {
            live.disk_hangs = true;
            self.hand(place, Input::DiskHangs(true));
        }
    }

    /// A write or sync has failed: the node gives up its minds, and tries to start again from the disk.
    pub(crate) fn disk_failed(&mut self, place: usize, boot: Boot) {
        if self.nodes[place].boot != boot || self.nodes[place].live.is_none() {
            return;
        }
        self.tell(|| format!("n{}'s disk has failed", place + 1));
        self.nodes[place].disk.fail(&mut self.chance);
        self.end(place);
        self.after(RETRY_US, Event::Start(place));
    }

    /// Whether one more voter's disk may be lost for good: what the others hold must remain a majority. Only known while
    /// somebody leads and no change of members is half done.
    fn may_lose(&self, place: usize) -> bool {
        let leading = self.leader().and_then(|leader| self.nodes[leader].live.as_ref());
        let Some(status) = leading.map(|live| live.cast.status()) else { return false };
        let here = |id: u64| self.nodes.iter().any(|node| node.id.0 == id && !node.disk.damaged);
        let others = status.voters.iter().filter(|voter| voter.0 != self.nodes[place].id.0 && here(voter.0));
        status.voters.len() >= 3 && !status.joint && 2 * others.count() > status.voters.len()
    }

    /// A member of a cluster that works without it; a voter or not.
    fn dispensable(&mut self) -> Option<usize> {
        let place = self.chance.place(self.nodes.len());
        let node = &self.nodes[place];
        let idle = node.live.is_some() && node.disk.ill.is_none();
        (idle && self.may_lose(place)).then_some(place)
    }

    /// A byte changes in the middle of a log, and the node is started again.
    pub(crate) fn damage_disk(&mut self) {
        let Some(place) = self.dispensable() else { return };
        self.crash(place);
        let down_us = self.down_us();
        let damage = self.nodes[place].disk.damage(&mut self.chance);
        self.begins(down_us, Heal::Restart(place));
        let Some((segment, offset)) = damage else { return };
        self.counts.fault(Fault::Damage);
        self.tell(|| format!("a byte of n{}'s log changes: segment {segment}, offset {offset}", place + 1));
        let repaired_us = down_us + self.chance.between(100 * MS, 6 * SECOND);
        self.begins(repaired_us, Heal::Repair(place));
    }

    /// A node comes back with an empty disk, as another node.
    pub(crate) fn new_disk(&mut self) {
        let Some(place) = self.dispensable() else { return };
        self.counts.fault(Fault::NewDisk);
        self.crash(place);
        self.renew(place);
        let down_us = self.down_us();
        self.begins(down_us, Heal::Restart(place));
    }

    /// `understudy repair`: the damaged log is put aside, and a new node starts in its place.
    pub(crate) fn repair(&mut self, place: usize) {
        if self.nodes[place].disk.damaged && self.nodes[place].live.is_none() {
            self.renew(place);
            self.after(0, Event::Start(place));
        }
    }

    /// The name of a voter stays with it, so that its successor needs another one.
    fn renew(&mut self, place: usize) {
        let id = self.nodes[place].id.0;
        let votes = |live: &crate::node::Live| live.cast.status().voters.iter().any(|voter| voter.0 == id);
        let known = self.nodes.iter().filter_map(|node| node.live.as_ref()).any(votes);
        self.nodes[place].renew(!known);
        let new = self.nodes[place].id.0;
        self.tell(|| format!("n{} is node {new} from here on", place + 1));
    }
}
