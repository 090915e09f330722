use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use consensus::{Entry, HardState, Kind, Peer, Recovered, Write};
use protocol::{Boot, ClusterId, NodeId};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn identity(cluster: u128) -> Identity {
    Identity { cluster: ClusterId(cluster), node: NodeId(7), founder: NodeId(3) }
}

fn founded(path: &Path) -> (Folder, Recovered) {
    match Folder::open(path).unwrap() {
        Found::Empty(folder) => {
            let (folder, boot, recovered) = folder.found(identity(1)).unwrap();
            assert_eq!(boot, Boot(1));
            (folder, recovered)
        }
        Found::Member(..) => panic!("a new folder is empty"),
    }
}

fn member(found: Found) -> (Folder, Boot, Recovered) {
    match found {
        Found::Member(folder, who, boot, recovered) => {
            assert_eq!(who, identity(1));
            (folder, boot, recovered)
        }
        Found::Empty(_) => panic!("a founded folder is a member's"),
    }
}

fn started(folder: Folder, recovered: Recovered) -> (Disk, Receiver<Told>) {
    let (tell, told) = channel();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
    });
    (disk.unwrap(), told)
}

/// A write of the entry at `index`; numbers and indices go together here.
fn entry(index: u64, data: &'static [u8]) -> Write {
    Write {
        number: index,
        hard: Some(HardState { term: 1, vote: Some(Peer(7)), commit: index - 1 }),
        entries: vec![Entry { term: 1, index, kind: Kind::Normal, data: Bytes::from_static(data) }],
        base: None,
    }
}

fn wait_synced(told: &Receiver<Told>, until: u64) {
    loop {
        match told.recv_timeout(PATIENCE).expect("the disk answers") {
            Told::Synced { number } if number >= until => return,
            Told::Synced { .. } => {}
            Told::Failed { text } => panic!("{text}"),
        }
    }
}

fn indices(recovered: &Recovered) -> Vec<u64> {
    recovered.entries.iter().map(|entry| entry.index).collect()
}

fn newest_segment(path: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(path.join("log"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|kind| kind == "seg"))
        .collect();
    files.sort();
    files.pop().expect("a segment was written")
}

#[test]
fn what_was_called_synced_is_there_after_a_restart_and_each_start_has_a_higher_boot() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(2, b"two"), entry(3, b"three")]).unwrap();
    wait_synced(&told, 3);
    drop(disk.close().join());

    let (folder, boot, recovered) = member(Folder::open(dir.path()).unwrap());
    assert_eq!((boot, indices(&recovered)), (Boot(2), vec![2, 3]));
    assert_eq!(recovered.hard.map(|hard| hard.term), Some(1));
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(4, b"four")]).unwrap();
    wait_synced(&told, 4);

    // A soft stop keeps the lock; the resume is a start.
    let folder = disk.close().join();
    assert!(matches!(Folder::open(dir.path()), Err(DiskError::Locked { .. })));
    let (_folder, boot, recovered) = member(folder.reopen().unwrap());
    assert_eq!((boot, indices(&recovered)), (Boot(3), vec![2, 3, 4]));
    assert_eq!(recovered.entries[2].data, Bytes::from_static(b"four"));
}

#[test]
fn a_member_that_never_wrote_is_still_a_member() {
    let dir = tempfile::tempdir().unwrap();
    drop(founded(dir.path()));
    let (_folder, boot, recovered) = member(Folder::open(dir.path()).unwrap());
    assert_eq!((boot, recovered.entries.len(), recovered.hard), (Boot(2), 0, None));
}

#[test]
fn only_one_process_has_the_folder_and_the_error_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = Folder::open(dir.path()).unwrap();
    let error = Folder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
    drop(held);
    assert!(Folder::open(dir.path()).is_ok());
}

#[test]
fn a_torn_last_batch_is_left_out_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(2, b"kept")]).unwrap();
    wait_synced(&told, 2);
    disk.write(vec![entry(3, b"the batch that will be torn")]).unwrap();
    wait_synced(&told, 3);
    drop(disk.close().join());

    let path = newest_segment(dir.path());
    let content = fs::read(&path).unwrap();
    let needle = b"the batch that will be torn";
    let at = content.windows(needle.len()).position(|bytes| bytes == needle).expect("it was written");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 20], at as u64 + 5).unwrap();

    let (folder, _, recovered) = member(Folder::open(dir.path()).unwrap());
    assert_eq!(indices(&recovered), vec![2]);
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(3, b"instead")]).unwrap();
    wait_synced(&told, 3);
    drop(disk.close().join());
    let (_folder, _, recovered) = member(Folder::open(dir.path()).unwrap());
    assert_eq!(indices(&recovered), vec![2, 3]);
    assert_eq!(recovered.entries[1].data, Bytes::from_static(b"instead"));
}

#[test]
fn damage_before_the_last_batch_is_refused_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (disk, told) = started(folder, recovered);
    for (index, data) in [(2, b"first batch"), (3, b"next  batch"), (4, b"third batch")] {
        disk.write(vec![entry(index, data)]).unwrap();
        wait_synced(&told, index);
    }
    drop(disk.close().join());

    let path = newest_segment(dir.path());
    let content = fs::read(&path).unwrap();
    let at = content.windows(11).position(|bytes| bytes == b"first batch").expect("it was written");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"F", at as u64).unwrap();

    let error = Folder::open(dir.path()).unwrap_err();
    assert!(matches!(&error, DiskError::Damaged { path: named, .. } if *named == path), "{error}");
    assert!(error.to_string().contains("at byte"), "{error}");
}

#[test]
fn a_log_that_is_gone_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(2, b"two")]).unwrap();
    wait_synced(&told, 2);
    drop(disk.close().join());
    fs::remove_file(newest_segment(dir.path())).unwrap();
    let error = Folder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("0000000001.seg"), "{error}");
}

#[test]
fn a_log_of_another_cluster_is_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, cluster) in [(&ours, 1), (&theirs, 2)] {
        let Found::Empty(folder) = Folder::open(dir.path()).unwrap() else { panic!("it is new") };
        let (folder, _, recovered) = folder.found(identity(cluster)).unwrap();
        let (disk, told) = started(folder, recovered);
        disk.write(vec![entry(2, b"two")]).unwrap();
        wait_synced(&told, 2);
    }
    fs::copy(newest_segment(theirs.path()), newest_segment(ours.path())).unwrap();
    assert!(matches!(Folder::open(ours.path()), Err(DiskError::Damaged { .. })));
}

#[test]
fn an_identity_once_made_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = founded(dir.path());
    assert!(folder.found(identity(2)).is_err());
    member(Folder::open(dir.path()).unwrap());
}

#[test]
fn what_waits_during_a_sync_shares_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    // The thread stands in `told` until it is let go, as it would in a slow sync.
    let (tell, told) = channel();
    let (go, gate) = channel::<()>();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
        let _ = gate.recv();
    })
    .unwrap();
    disk.write(vec![entry(2, b"first")]).unwrap();
    wait_synced(&told, 2);
    for index in 3..103 {
        disk.write(vec![entry(index, b"waits")]).unwrap();
    }
    let before = disk.syncs();
    drop(go);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Told::Synced { number: 102 });
    assert_eq!(disk.syncs() - before, 1);
}

#[test]
fn a_soft_stop_forgets_what_was_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (tell, told) = channel();
    let (go, gate) = channel::<()>();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
        let _ = gate.recv();
    })
    .unwrap();
    disk.write(vec![entry(2, b"synced")]).unwrap();
    wait_synced(&told, 2);
    disk.write(vec![entry(3, b"waits")]).unwrap();
    let shared = Arc::clone(&disk.shared.0);
    let closer = std::thread::spawn(move || disk.close().join());
    while !shared.queue().closing {
        std::thread::yield_now();
    }
    drop(go);
    let folder = closer.join().unwrap();
    assert!(told.try_recv().is_err(), "nothing is synced after the stop");
    let (_folder, _, recovered) = member(folder.reopen().unwrap());
    assert_eq!(indices(&recovered), vec![2]);
}

#[test]
fn after_a_failure_nothing_is_written_and_it_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(2, b"two")]).unwrap();
    let Told::Failed { text } = told.recv_timeout(PATIENCE).unwrap() else { panic!("there is no folder") };
    assert!(text.contains("log"), "{text}");
    fs::create_dir(dir.path().join("log")).unwrap();
    disk.write(vec![entry(3, b"three")]).unwrap();
    assert!(told.recv().is_err(), "the thread has ended and says nothing more");
    let folder = disk.close().join();
    let (_folder, _, recovered) = member(folder.reopen().unwrap());
    assert_eq!(indices(&recovered), Vec::<u64>::new());
}

#[test]
fn after_a_failed_write_the_log_goes_on_in_a_fresh_file_from_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(2, b"two")]).unwrap();
    wait_synced(&told, 2);
    // The next segment cannot get its name: a folder bears it.
    let blocked = dir.path().join("log/0000000002.seg");
    fs::create_dir_all(blocked.join("not empty")).unwrap();
    let mut large = entry(3, b"");
    large.entries[0].data = Bytes::from(vec![3; 16 << 20]);
    disk.write(vec![large]).unwrap();
    let Told::Failed { text } = told.recv_timeout(PATIENCE).unwrap() else { panic!("it has no name") };
    assert!(text.contains("0000000002.seg"), "{text}");
    let mut folder = disk.close().join();
    assert!(folder.read().is_err(), "the files are not as they should be");
    fs::remove_dir_all(&blocked).unwrap();
    folder.probe().unwrap();
    for _ in 0..2 {
        // Twice: a start that came to nothing in between changes nothing.
        let (who, _, recovered) = folder.read().unwrap().expect("a member's");
        assert_eq!((who, indices(&recovered)), (identity(1), vec![2]));
    }
    let (_, _, recovered) = folder.read().unwrap().unwrap();
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(3, b"three")]).unwrap();
    wait_synced(&told, 3);
    drop(disk.close().join());
    assert!(newest_segment(dir.path()).ends_with("0000000002.seg"), "the first one was given up");
    let (_folder, _, recovered) = member(Folder::open(dir.path()).unwrap());
    assert_eq!(indices(&recovered), vec![2, 3]);
    assert_eq!(recovered.entries[1].data, Bytes::from_static(b"three"));
}

#[test]
fn what_was_doubted_is_doubted_until_the_log_has_gone_on() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (disk, told) = started(folder, recovered);
    disk.write(vec![entry(2, b"two")]).unwrap();
    wait_synced(&told, 2);
    let end = {
        let mut folder = disk.close().join();
        let (_, _, recovered) = folder.read().unwrap().unwrap();
        let end = recovered.writer.durable_end();
        let (disk, told) = started(folder, recovered);
        disk.write(vec![entry(3, b"in the cache alone")]).unwrap();
        wait_synced(&told, 3);
        let mut folder = disk.close().join();
        folder.doubt(Some(end));
        // Started, and stopped before anything was written.
        let (_, _, recovered) = folder.read().unwrap().unwrap();
        assert_eq!(indices(&recovered), vec![2]);
        let (disk, _told) = started(folder, recovered);
        let mut folder = disk.close().join();
        let (_, _, recovered) = folder.read().unwrap().unwrap();
        assert_eq!(indices(&recovered), vec![2], "still nothing else is believed");
        end
    };
    let (_folder, _, recovered) = member(Folder::open(dir.path()).unwrap());
    assert_eq!(indices(&recovered), vec![2, 3], "another process cannot know; it syncs what it reads");
    assert!(recovered.writer.durable_end() > end);
}

#[test]
fn a_folder_whose_disk_is_gone_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (mut folder, _) = founded(&data);
    folder.probe().unwrap();
    assert!(!data.join("probe").exists());
    let away = dir.path().join("away");
    fs::rename(&data, &away).unwrap();
    fs::create_dir(&data).unwrap();
    let error = folder.probe().unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("is the disk mounted?"), "{error}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing was written to the wrong disk");
    // The same folder again, but another lock file than the one that is held.
    fs::remove_dir(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    fs::remove_file(data.join("lock")).unwrap();
    folder.probe().unwrap();
    assert!(matches!(Folder::open(&data), Err(DiskError::Locked { .. })), "it is locked anew");
}

#[test]
fn a_disk_that_hangs_shows_the_write_it_waits_for_and_closing_it_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (tell, told) = channel();
    let (go, gate) = channel::<()>();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
        let _ = gate.recv();
    })
    .unwrap();
    assert_eq!(disk.waits_for(), None);
    disk.write(vec![entry(2, b"first")]).unwrap();
    wait_synced(&told, 2);
    disk.write(vec![entry(3, b"waits")]).unwrap();
    assert_eq!(disk.waits_for(), Some(3));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut folder = std::pin::pin!(disk.close().folder());
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut folder).await;
        assert!(waited.is_err(), "the thread still stands");
        drop(go);
        member(folder.await.reopen().unwrap());
    });
}

#[test]
fn a_full_queue_refuses_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (tell, told) = channel();
    let (go, gate) = channel::<()>();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
        let _ = gate.recv();
    })
    .unwrap();
    disk.write(vec![entry(2, b"first")]).unwrap();
    wait_synced(&told, 2);
    let mut large = entry(3, b"");
    large.entries[0].data = Bytes::from(vec![1; 4 << 20]);
    let taken = (0..).take_while(|_| disk.write(vec![large.clone()]).is_ok()).count();
    assert_eq!(taken, DISK_QUEUE_BYTES / (4 << 20) - 1, "the bound counts more than the bare data");
    let shared = Arc::clone(&disk.shared.0);
    assert_eq!(shared.queue().writes.len(), taken);
    shared.queue().writes.clear();
    drop(go);
}

#[test]
fn a_log_longer_than_one_segment_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, recovered) = founded(dir.path());
    let (disk, told) = started(folder, recovered);
    // A bit more than two segments, and one write that is larger than a segment.
    let large = |index, bytes: usize| {
        let mut write = entry(index, b"");
        write.entries[0].data = Bytes::from(vec![u8::try_from(index).unwrap(); bytes]);
        write
    };
    for index in 2..12 {
        disk.write(vec![large(index, 3 << 20)]).unwrap();
        wait_synced(&told, index);
    }
    disk.write((12..19).map(|index| large(index, 3 << 20)).collect()).unwrap();
    wait_synced(&told, 18);
    drop(disk.close().join());
    assert!(newest_segment(dir.path()).ends_with("0000000003.seg"));
    let (_folder, _, recovered) = member(Folder::open(dir.path()).unwrap());
    assert_eq!(indices(&recovered), (2..19).collect::<Vec<_>>());
    assert!(
        recovered.entries.iter().all(|entry| entry.data.iter().all(|byte| u64::from(*byte) == entry.index))
    );
    assert!(!dir.path().join("log/spare").exists(), "a spare is no part of the memory");
}

/// What the thread of a disk owns, without the thread.
fn threadless(path: &Path) -> Loop {
    let (folder, recovered) = founded(path);
    let segments = Segments::new(folder.path(), folder.progress());
    Loop {
        shared: Arc::default(),
        segments,
        writer: recovered.writer,
        room: Vec::new(),
        small: 0,
        doubted: None,
        prepares: false,
        prepare_again: Instant::now(),
        _alive: watch::channel(()).0,
    }
}

fn batch(disk: &mut Loop, number: u64, bytes: usize) {
    let entries = vec![Entry { term: 1, index: number, kind: Kind::Normal, data: vec![7; bytes].into() }];
    let write = Write { number, hard: None, entries, base: None };
    let pieces = disk.writer.batch_in(std::mem::take(&mut disk.room), &[write]);
    disk.segments.write(&pieces).unwrap();
    disk.writer.synced();
    disk.keep(pieces);
}

#[test]
fn memory_of_large_batches_stays_for_the_next_one_and_goes_when_only_small_ones_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = threadless(dir.path());
    batch(&mut disk, 2, 2 << 20);
    let place = disk.room.as_ptr();
    // Over the end of a segment, too.
    for number in 3..=20 {
        batch(&mut disk, number, 2 << 20);
        assert_eq!(disk.room.as_ptr(), place, "batch {number}");
    }
    for number in 21..21 + u64::from(SMALL_BATCHES) {
        assert!(disk.held_bytes() >= 2 << 20, "batch {number}");
        batch(&mut disk, number, 100);
    }
    assert!(disk.held_bytes() <= KEPT_BYTES);
    batch(&mut disk, 1_000, KEPT_MOST_BYTES);
    assert_eq!(disk.held_bytes(), 0, "one that large is the only one");
}
