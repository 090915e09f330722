//! Where the outside puts what happened until the owner loop takes it; every one of them is bounded.

use protocol::{AttemptRef, Load, Member, Outcome};
use tokio::sync::{mpsc, watch};

use crate::broker::BrokerTold;
use crate::lab::LabTold;
use crate::link::LinkTold;
use crate::recodex::RecodexTold;
use crate::snapshots::SnapshotTold;

/// Messages of peers that wait for the loop.
const PEER_INBOX: usize = 8_192;
/// Batches of the broker link that wait for the loop.
const BROKER_INBOX: usize = 64;
/// Batches of the lab's ports that wait for the loop.
const LAB_INBOX: usize = 16;
/// Batches of ReCodEx's ports that wait for the loop.
const RECODEX_INBOX: usize = 16;

/// What the disk's thread last said.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskState {
    pub(crate) synced: u64,
    pub(crate) failed: Option<String>,
}

/// Where the outside puts what happened.
pub(crate) struct Inboxes {
    pub(crate) peers: mpsc::Receiver<LinkTold>,
    pub(crate) broker: mpsc::Receiver<Vec<BrokerTold>>,
    pub(crate) lab: mpsc::Receiver<Vec<LabTold>>,
    pub(crate) recodex: mpsc::Receiver<Vec<RecodexTold>>,
    pub(crate) disk: watch::Receiver<DiskState>,
    pub(crate) ended: mpsc::Receiver<(AttemptRef, Outcome)>,
    pub(crate) load: watch::Receiver<Load>,
    pub(crate) snapshots: mpsc::Receiver<SnapshotTold>,
    pub(crate) joined: mpsc::Receiver<Result<Vec<Member>, crate::admit::AdmitError>>,
}

/// The other ends of [`Inboxes`].
pub(crate) struct Slots {
    pub(crate) peers: mpsc::Sender<LinkTold>,
    pub(crate) broker: mpsc::Sender<Vec<BrokerTold>>,
    pub(crate) lab: mpsc::Sender<Vec<LabTold>>,
    pub(crate) recodex: mpsc::Sender<Vec<RecodexTold>>,
    pub(crate) disk: watch::Sender<DiskState>,
    pub(crate) ended: mpsc::Sender<(AttemptRef, Outcome)>,
    pub(crate) load: watch::Sender<Load>,
    pub(crate) snapshots: mpsc::Sender<SnapshotTold>,
    pub(crate) joined: mpsc::Sender<Result<Vec<Member>, crate::admit::AdmitError>>,
}

/// Both ends, for a node with so many slots.
pub(crate) fn inboxes(slots: usize) -> (Slots, Inboxes) {
    let (peers, peers_in) = mpsc::channel(PEER_INBOX);
    let (broker, broker_in) = mpsc::channel(BROKER_INBOX);
    let (lab, lab_in) = mpsc::channel(LAB_INBOX);
    let (recodex, recodex_in) = mpsc::channel(RECODEX_INBOX);
    let (disk, disk_in) = watch::channel(DiskState::default());
    // Every running attempt ends once, and none starts before the last end was taken: this never fills.
    let (ended, ended_in) = mpsc::channel(2 * slots + 64);
    let (load, load_in) = watch::channel(Load::default());
    let (snapshots, snapshots_in) = mpsc::channel(crate::snapshots::limits::TOLD);
    let (joined, joined_in) = mpsc::channel(4);
    let slots = Slots { peers, broker, lab, recodex, disk, ended, load, snapshots, joined };
    (
        slots,
        Inboxes {
            peers: peers_in,
            broker: broker_in,
            lab: lab_in,
            recodex: recodex_in,
            disk: disk_in,
            ended: ended_in,
            load: load_in,
            snapshots: snapshots_in,
            joined: joined_in,
        },
    )
}
