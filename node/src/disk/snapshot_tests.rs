//! Snapshots beside the log: what a start finds after each of the moments at which a node can end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use consensus::{Base, Entry, HardState, Kind, Peer, Recovered, Write};
use master::Ledger;
use protocol::{Boot, Change, ClusterId, Command, Member, NodeId};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const IDENTITY: Identity = Identity { cluster: ClusterId(1), node: NodeId(7), founder: NodeId(3) };

/// A member's folder with the entries 2 to `last` in small segments.
struct Node {
    disk: Disk,
    told: Receiver<Told>,
    snapshots: Snapshots,
}

fn founded(path: &Path) -> Node {
    let Found::Empty(folder) = Folder::open(path).unwrap() else { panic!("a new folder is empty") };
    let (folder, _, recovered) = folder.found(IDENTITY).unwrap();
    started(path, folder, recovered)
}

fn started(path: &Path, folder: Folder, mut recovered: Recovered) -> Node {
    recovered.writer.set_segment_bytes(1024);
    let (tell, told) = channel();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
    });
    Node { disk: disk.unwrap(), told, snapshots: Snapshots::of(path, IDENTITY) }
}

type Start = (Folder, Option<(Base, Ledger)>, Recovered);

fn start(path: &Path) -> Result<Start, DiskError> {
    match Folder::open(path)? {
        Found::Member(mut folder, _, _, recovered) => {
            let snapshot = folder.take_snapshot();
            Ok((folder, snapshot, recovered))
        }
        Found::Empty(_) => panic!("it is a member's"),
    }
}

impl Node {
    fn write(&self, indices: std::ops::RangeInclusive<u64>) {
        for index in indices {
            let data = Bytes::from(vec![index as u8 | 1; 100]);
            let hard = HardState { term: 1, vote: Some(Peer(7)), commit: index - 1 };
            let entries = vec![Entry { term: 1, index, kind: Kind::Normal, data }];
            let write = Write { number: index, hard: Some(hard), entries, base: None };
            self.disk.write(vec![write]).unwrap();
            self.wait(index);
        }
    }

    fn wait(&self, number: u64) {
        loop {
            match self.told.recv_timeout(PATIENCE).expect("the disk answers") {
                Told::Synced { number: synced } if synced >= number => return,
                Told::Synced { .. } => {}
                Told::Failed { text } => panic!("{text}"),
            }
        }
    }

    fn snapshot(&self, index: u64) {
        self.draft(index).publish().unwrap();
    }

    fn draft(&self, index: u64) -> Draft {
        let drafted = self.snapshots.draft(&base(index), ledger(index).pieces(), || false);
        drafted.unwrap().expect("it is wanted")
    }

    /// Lets the log go up to here, and waits until the disk's thread has done that.
    fn forget(&self, path: &Path, upto: u64, written: u64) -> Vec<u64> {
        self.disk.forget(upto);
        // It forgets before it writes again.
        self.write(written..=written);
        segments(path)
    }
}

fn base(index: u64) -> Base {
    let mut base = Base::founded(Peer(3));
    (base.index, base.term) = (index, 1);
    base
}

fn ledger(index: u64) -> Ledger {
    let mut ledger = Ledger::new();
    let member = Member {
        id: NodeId(3),
        number: 0,
        boot: Boot(1),
        name: format!("as of {index}"),
        http: "a:1".to_string(),
        link: "a:2".to_string(),
        broker: "a:3".to_string(),
    };
    let commands = vec![Command::Configure(Change::Member(member)), Command::Configure(Change::Open)];
    ledger.apply(index, &protocol::Entry { clock_ms: 1, wall_ms: 1, term: 1, commands });
    ledger
}

fn segments(path: &Path) -> Vec<u64> {
    let names = fs::read_dir(path.join("log")).unwrap().map(|file| file.unwrap().file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(".seg")?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

fn file(path: &Path, index: u64) -> PathBuf {
    path.join("snap").join(format!("{index:020}.snap"))
}

fn indices(recovered: &Recovered) -> Vec<u64> {
    recovered.entries.iter().map(|entry| entry.index).collect()
}

#[test]
fn a_start_goes_on_from_the_newest_snapshot_and_the_log_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.write(2..=40);
    node.snapshot(20);
    node.snapshot(35);
    let before = segments(dir.path());
    let after = node.forget(dir.path(), 20, 41);
    assert!(after[0] > before[0], "{before:?} {after:?}");
    drop(node.disk.close().join());

    let (folder, snapshot, recovered) = start(dir.path()).unwrap();
    let (base, ledger) = snapshot.expect("a snapshot");
    assert_eq!((base.index, ledger.applied()), (35, 35));
    assert_eq!(ledger.members().next().map(|member| member.name.as_str()), Some("as of 35"));
    let entries = indices(&recovered);
    assert!(entries[0] <= 21 && entries.last() == Some(&41), "{entries:?}");
    assert_eq!(recovered.hard.and_then(|hard| hard.vote), Some(Peer(7)));
    // Recycled segments become spares, and the log goes on over them.
    let node = started(dir.path(), folder, recovered);
    node.write(42..=80);
    drop(node.disk.close().join());
    let (_, _, recovered) = start(dir.path()).unwrap();
    assert_eq!(indices(&recovered).last(), Some(&80));
}

#[test]
fn only_the_newest_two_are_kept_and_nothing_counts_on_one_without_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.write(2..=30);
    for index in [5, 10, 15] {
        node.snapshot(index);
    }
    assert!(!file(dir.path(), 5).exists() && file(dir.path(), 10).exists() && file(dir.path(), 15).exists());
    let unfinished = node.draft(25);
    drop(node.disk.close().join());
    let (_, snapshot, _) = start(dir.path()).unwrap();
    assert_eq!(snapshot.map(|(base, _)| base.index), Some(15));
    assert!(unfinished.publish().is_err(), "it was removed at the start");
    // One that nobody wants any more leaves nothing behind.
    let snapshots = Snapshots::of(dir.path(), IDENTITY);
    assert!(snapshots.draft(&base(28), ledger(28).pieces(), || true).unwrap().is_none());
    assert_eq!(fs::read_dir(dir.path().join("snap")).unwrap().count(), 2);
}

#[test]
fn a_damaged_snapshot_is_passed_over_when_the_one_before_and_the_log_hold_everything() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.write(2..=40);
    node.snapshot(20);
    node.snapshot(35);
    node.forget(dir.path(), 20, 41);
    drop(node.disk.close().join());
    let mut bytes = fs::read(file(dir.path(), 35)).unwrap();
    let last = bytes.len() - 30;
    bytes[last] ^= 1;
    fs::write(file(dir.path(), 35), bytes).unwrap();

    let (folder, snapshot, recovered) = start(dir.path()).unwrap();
    assert_eq!(snapshot.map(|(base, _)| base.index), Some(20));
    assert_eq!(indices(&recovered).last(), Some(&41));
    assert!(!file(dir.path(), 35).exists());
    assert!(file(dir.path(), 35).with_extension("damaged").exists(), "it is kept for whoever wants to look");
    drop(folder);
    assert!(start(dir.path()).is_ok());
}

#[test]
fn a_damaged_only_snapshot_is_refused_with_file_offset_and_advice() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.write(2..=40);
    node.snapshot(35);
    node.forget(dir.path(), 35, 41);
    drop(node.disk.close().join());
    let whole = fs::read(file(dir.path(), 35)).unwrap();
    for place in [9, 60, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 8;
        fs::write(file(dir.path(), 35), bytes).unwrap();
        let error = start(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, DiskError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("00000035.snap") && text.contains("at byte") && text.contains("in no other file"),
            "{text}"
        );
    }
    fs::write(file(dir.path(), 35), &whole[..whole.len() - 5]).unwrap();
    assert!(start(dir.path()).map(|_| ()).unwrap_err().to_string().contains("cut short"));
    fs::write(file(dir.path(), 35), &whole).unwrap();
    assert!(start(dir.path()).is_ok());
    // Gone altogether, the log alone is no memory.
    fs::remove_file(file(dir.path(), 35)).unwrap();
    assert!(start(dir.path()).map(|_| ()).unwrap_err().to_string().contains("missing"));
}

#[test]
fn a_missing_part_of_the_log_behind_a_snapshot_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.write(2..=60);
    node.snapshot(20);
    let kept = node.forget(dir.path(), 20, 61);
    drop(node.disk.close().join());
    for number in kept {
        let path = dir.path().join(format!("log/{number:010}.seg"));
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let text = start(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("gone") || text.contains("missing"), "{number}: {text}");
        fs::write(&path, bytes).unwrap();
    }
    assert!(start(dir.path()).is_ok());
}

/// The node may end between saying that segments may go and their going: then they are still there, and do no harm.
#[test]
fn segments_that_were_let_go_and_did_not_go_are_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.write(2..=60);
    node.snapshot(40);
    let kept: Vec<(PathBuf, Vec<u8>)> = segments(dir.path())
        .into_iter()
        .map(|number| dir.path().join(format!("log/{number:010}.seg")))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let after = node.forget(dir.path(), 40, 61);
    drop(node.disk.close().join());
    let gone: Vec<_> = kept.iter().filter(|(path, _)| !path.exists()).collect();
    assert!(gone.len() >= 2, "{after:?}");
    // The last of them only, then all.
    for back in [&gone[gone.len() - 1..], &gone[..]] {
        back.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        let (_, snapshot, recovered) = start(dir.path()).unwrap();
        assert_eq!(snapshot.map(|(base, _)| base.index), Some(40));
        assert_eq!(indices(&recovered).last(), Some(&61));
    }
}

/// A fetched snapshot has its number, and the node ends before its log says so.
#[test]
fn a_snapshot_ahead_of_the_log_takes_its_place_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.write(2..=10);
    let (peer_dir, index) = (tempfile::tempdir().unwrap(), 500);
    let peer = founded(peer_dir.path());
    peer.snapshot(index);

    // Part by part, as from a peer; asked for where it stands.
    let (path, gathered) = node.snapshots.gather(index).unwrap();
    let mut offset = 0;
    while let Some((whole, part)) = peer.snapshots.part(index, offset, 100).unwrap() {
        std::os::unix::fs::FileExt::write_all_at(&gathered, &part, offset).unwrap();
        offset += part.len() as u64;
        if offset == whole {
            break;
        }
    }
    assert!(peer.snapshots.part(7, 0, 100).unwrap().is_none());
    let (draft, ledger) = node.snapshots.gathered(path, &gathered, &base(index)).unwrap();
    assert_eq!((ledger.applied(), draft.base.index), (index, index));
    draft.publish().unwrap();
    drop(node.disk.close().join());

    let (folder, snapshot, recovered) = start(dir.path()).unwrap();
    assert_eq!((snapshot.map(|(base, _)| base.index), indices(&recovered)), (Some(index), vec![]));
    let node = started(dir.path(), folder, recovered);
    node.write(index + 1..=index + 3);
    drop(node.disk.close().join());
    let (_, _, recovered) = start(dir.path()).unwrap();
    assert_eq!(indices(&recovered), [index + 1, index + 2, index + 3]);
}

#[test]
fn what_was_gathered_and_is_not_what_was_asked_for_is_refused_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let node = founded(dir.path());
    node.snapshot(20);
    let bytes = fs::read(file(dir.path(), 20)).unwrap();
    for (asked, length) in [(21, bytes.len()), (20, bytes.len() - 1), (20, 0)] {
        let (path, gathered) = node.snapshots.gather(asked).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&gathered, &bytes[..length], 0).unwrap();
        assert!(node.snapshots.gathered(path.clone(), &gathered, &base(asked)).is_err());
        assert!(!path.exists());
    }
}

/// A data folder as the program wrote it before there were snapshots.
#[test]
fn a_folder_of_the_first_format_is_read_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let given = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/folder-1");
    fs::create_dir(dir.path().join("log")).unwrap();
    for name in ["identity", "boot", "log/0000000001.seg", "log/0000000002.seg", "log/0000000003.seg"] {
        fs::copy(given.join(name), dir.path().join(name)).unwrap();
    }
    let Found::Member(folder, identity, boot, recovered) = Folder::open(dir.path()).unwrap() else {
        panic!("it is a member's")
    };
    assert_eq!((identity, boot), (IDENTITY, Boot(2)));
    assert_eq!(indices(&recovered), (2..=21).collect::<Vec<_>>());
    assert_eq!(recovered.hard, Some(HardState { term: 1, vote: Some(Peer(7)), commit: 20 }));
    let node = started(dir.path(), folder, recovered);
    node.write(22..=60);
    node.snapshot(50);
    let kept = node.forget(dir.path(), 50, 61);
    assert!(kept[0] > 3, "also what the older program wrote goes: {kept:?}");
    drop(node.disk.close().join());
    let (_, snapshot, recovered) = start(dir.path()).unwrap();
    assert_eq!(snapshot.map(|(base, _)| base.index), Some(50));
    assert_eq!(indices(&recovered).last(), Some(&61));
}
