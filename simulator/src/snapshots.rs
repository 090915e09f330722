//! Snapshots in the pretend cluster: the very bytes of the real ones, made now and then by each node, fetched by whoever
//! is named one, with the delays and losses of the network.

use cast::Input;
use consensus::{Base, Found, ImageReader, ImageWriter, Origin};
use master::{Ledger, Restoring};
use protocol::{Boot, NodeId};

use crate::disk::CLUSTER;
use crate::limits::{MS, SNAPSHOT_BYTES, SNAPSHOT_MARGIN_BYTES};
use crate::node;
use crate::watch::{Held, must};
use crate::world::{Event, World};

/// A file of a snapshot.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) base: Base,
    bytes: Vec<u8>,
}

/// Something of a snapshot will have happened.
pub(crate) enum Step {
    /// It is on the node's own disk.
    Written(Image),
    /// A peer's has come, or not.
    Fetched { from: NodeId, base: Base },
}

impl Image {
    fn of(node: NodeId, base: Base, ledger: &Ledger) -> Self {
        let (mut writer, mut bytes) = ImageWriter::new(Origin { cluster: CLUSTER, node: node.0 }, &base);
        ledger.pieces().for_each(|piece| bytes.extend(writer.piece(&piece)));
        bytes.extend(writer.end());
        Self { base, bytes }
    }

    /// The ledger in it, as a start or a fetching node reads it.
    pub(crate) fn ledger(&self, mutant: Option<cast::Mutant>) -> Result<Ledger, String> {
        let (mut reader, mut restoring) = (ImageReader::new(), Restoring::new(cast::empty_ledger(mutant)));
        reader.feed(&self.bytes);
        while let Some(found) = reader.take().map_err(|bad| bad.to_string())? {
            match found {
                Found::Header { .. } => {}
                Found::Piece(piece) => restoring.take(&piece).map_err(|bad| bad.to_string())?,
                Found::End => return restoring.finish().map_err(|bad| bad.to_string()),
            }
        }
        Err(reader.cut().to_string())
    }
}

impl World<'_> {
    /// Begins a snapshot when one is due or wanted.
    pub(crate) fn maybe_snapshot(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let (boot, id) = (node.boot, node.id);
        let Some(live) = node.live.as_mut() else { return };
        live.snapshot_wanted |= live.cast.newer_snapshot_wanted();
        let due = live.snapshot_wanted || live.cast.bytes_after_snapshot() > SNAPSHOT_BYTES;
        if live.snapshotting || !due {
            return;
        }
        let (base, ledger) = live.cast.begin_snapshot();
        if base.index <= live.cast.snapshot().index {
            return;
        }
        (live.snapshotting, live.snapshot_wanted) = (true, false);
        let image = Image::of(id, base, &ledger);
        self.fold.bytes(&image.bytes);
        let time_us = self.chance.between(MS, 300 * MS);
        self.after(time_us, Event::Snapshot(place, boot, Box::new(Step::Written(image))));
    }

    pub(crate) fn fetch(&mut self, place: usize, from: NodeId, base: Base) {
        let boot = self.nodes[place].boot;
        self.tell(|| format!("n{} fetches the snapshot at {} from {from:?}", place + 1, base.index));
        let time_us = self.chance.between(2 * MS, 400 * MS) + self.network.delay(&mut self.chance);
        self.after(time_us, Event::Snapshot(place, boot, Box::new(Step::Fetched { from, base })));
    }

    pub(crate) fn snapshot(&mut self, place: usize, boot: Boot, step: Step) -> Held {
        if self.nodes[place].boot != boot || self.nodes[place].live.is_none() {
            return Ok(());
        }
        match step {
            Step::Written(image) => self.written(place, image),
            Step::Fetched { from, base } => return self.fetched(place, from, &base),
        }
        Ok(())
    }

    fn written(&mut self, place: usize, image: Image) {
        let node = &mut self.nodes[place];
        if let Some(live) = &mut node.live {
            live.snapshotting = false;
        }
        if node.disk.ill.is_some() {
            return;
        }
        let base = image.base.clone();
        if node.disk.keep(image) {
            self.counts.snapshots += 1;
            self.hand(place, Input::SnapshotSafe { base, margin_bytes: SNAPSHOT_MARGIN_BYTES });
        }
    }

    /// With the ledger comes what has left it: the peer's archive.
    fn fetched(&mut self, place: usize, from: NodeId, base: &Base) -> Held {
        let (index, peer) = (base.index, node::place(from));
        let cut = self.network.is_cut(place, peer) || self.network.is_cut(peer, place);
        let lost = cut || self.chance.permille(self.network.weather.lost_permille);
        let there = self.nodes[peer].id == from && self.nodes[peer].live.is_some();
        let image = self.nodes[peer].disk.snapshot(index).filter(|image| image.base == *base).cloned();
        let Some(image) = image.filter(|_| there && !lost && self.nodes[place].disk.ill.is_none()) else {
            self.hand(place, Input::SnapshotLost { index });
            return Ok(());
        };
        let ledger = match image.ledger(self.common.mutant) {
            Ok(ledger) => Box::new(ledger),
            Err(error) => {
                return must(false, "same_ledger", || format!("a snapshot cannot be read: {error}"));
            }
        };
        let shelf = self.nodes[peer].shelf.clone();
        let node = &mut self.nodes[place];
        node.shelf.take_over(shelf);
        node.disk.keep(image);
        self.hand(place, Input::SnapshotFetched { index, ledger });
        Ok(())
    }

    /// A fetched snapshot took the place of a node's log: what happened in between it never tells.
    pub(crate) fn restored(&mut self, place: usize, index: u64, last_fact: u64) {
        self.counts.restored += 1;
        self.tell(|| format!("n{} goes on to index {index} by a snapshot", place + 1));
        if let Some(live) = &mut self.nodes[place].live {
            live.last_fact = last_fact;
        }
    }
}
