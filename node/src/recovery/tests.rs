//! Recoveries of folders, and of folders in which a recovery was cut off at any moment.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use consensus::{HardState, Write};
use protocol::{Change, Fact, JobId, JobState, Member, NodeId, Origin, Outcome, What, submit};
use tempfile::TempDir;

use super::*;
use crate::archive::Archive;
use crate::disk::{Disk, Found, Told};

const ANNA: NodeId = NodeId(7);
const FORMER: ClusterId = ClusterId(1);
const IDENTITY: Identity = Identity { cluster: FORMER, node: ANNA, founder: NodeId(3) };
const PATIENCE: Duration = Duration::from_secs(30);
/// Term of all that the log holds; the node had voted in the one after.
const TERM: u64 = 4;

fn member(node: NodeId, name: &str) -> Command {
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (http, link, broker) = (at(1), at(2), at(3));
    let member = Member { id: node, number: 0, boot: Boot(1), name: name.to_string(), http, link, broker };
    Command::Configure(Change::Member(member))
}

fn accept(job: u128) -> Command {
    let origin = Origin { gateway: ANNA, boot: Boot(1), number: job as u64, floor: 1 };
    let spec = Arc::new(submit::defaults("echo"));
    Command::Submit { job: JobId(job), spec, key: None, fingerprint: [0; 32], origin }
}

fn run(job: u128) -> Vec<Command> {
    let (job, node) = (JobId(job), ANNA);
    let outcome = Arc::new(Outcome::success(Bytes::from_static(b"done")));
    vec![
        Command::Assign { job, attempt: 1, node, boot: Boot(1) },
        Command::Finish { job, attempt: 1, node, outcome },
    ]
}

/// The commands of the entries 3, 4, 5 … of a small cluster's log: job 1 has ended, 2 and 3 wait.
fn commands() -> Vec<Vec<Command>> {
    vec![
        vec![member(ANNA, "anna"), member(NodeId(3), "bert"), member(NodeId(4), "carl")],
        vec![Command::Configure(Change::Open)],
        vec![accept(1), accept(2)],
        run(1),
        vec![accept(3)],
    ]
}

fn logged(index: u64, commands: Vec<Command>) -> consensus::Entry {
    let data = match commands.is_empty() {
        // The first entry of a leader's term.
        true => Bytes::new(),
        false => {
            Bytes::from(native::encode(&Entry { clock_ms: index, wall_ms: index, term: TERM, commands }))
        }
    };
    consensus::Entry { term: TERM, index, kind: Kind::Normal, data }
}

/// A member's folder with these entries from 2 on; the last two were never known to be agreed on. Its archive is empty.
fn node() -> (TempDir, u64) {
    let dir = TempDir::new().unwrap();
    let Found::Empty(folder) = Folder::open(dir.path()).unwrap() else { panic!("it is new") };
    let (folder, _, recovered) = folder.found(IDENTITY).unwrap();
    let (tell, told) = channel();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
    });
    let disk = disk.unwrap();
    let all = [Vec::new()].into_iter().chain(commands());
    let entries: Vec<_> = (2..).zip(all).map(|(index, commands)| logged(index, commands)).collect();
    let last = entries.last().unwrap().index;
    let hard = HardState { term: TERM + 1, vote: Some(Peer(3)), commit: last - 2 };
    disk.write(vec![Write { number: 1, hard: Some(hard), entries, base: None }]).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Told::Synced { number: 1 });
    drop(disk.close().join());
    block(async {
        let log = logdb::Log::in_memory("anna");
        Archive::open(dir.path(), FORMER, log).await.unwrap().close().await;
    });
    (dir, last)
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

/// What a start finds.
fn start(data: &Path) -> Result<(Identity, Boot, Base, Ledger, Recovered), DiskError> {
    match Folder::open(data)? {
        Found::Member(mut folder, identity, boot, recovered) => {
            let (base, ledger) = folder.take_snapshot().unwrap_or((Base::default(), Ledger::new()));
            Ok((identity, boot, base, ledger, recovered))
        }
        Found::Empty(_) => panic!("it is a member's"),
    }
}

/// The new memory is as it should be, and the archive has all of it.
fn assert_recovered(data: &Path, last: u64) -> Identity {
    let (identity, boot, base, ledger, recovered) = start(data).unwrap();
    assert!(identity.cluster != FORMER && identity.node == ANNA && identity.founder == ANNA, "{identity:?}");
    assert_eq!((base.clone(), boot), (Base::recovered(last + 1, TERM + 2, Peer(ANNA.0)), Boot(2)));
    assert!(recovered.entries.is_empty());
    assert_eq!(recovered.hard, Some(HardState { term: TERM + 2, vote: None, commit: last + 1 }));
    let states: Vec<_> = (1..=3).map(|job| ledger.job(JobId(job)).map(|job| job.state)).collect();
    assert_eq!(states, [Some(JobState::Succeeded), Some(JobState::Queued), Some(JobState::Queued)]);
    assert_eq!((ledger.epoch(), ledger.former(), ledger.applied()), (1, &[FORMER][..], last + 1));
    assert_eq!(ledger.members().count(), 3, "the lost nodes stay listed");
    let facts: Vec<Fact> = ledger.facts_after(0).map(|fact| Fact::clone(fact)).collect();
    let name = "anna".to_string();
    assert_eq!(facts.last().map(|fact| &fact.what), Some(&What::Recovered { epoch: 1, node: ANNA, name }));
    block(async {
        let log = logdb::Log::in_memory("anna");
        let archive = Archive::open(data, identity.cluster, log).await.unwrap();
        let progress = archive.progress().borrow().clone();
        assert_eq!((progress.applied, progress.last_end, progress.holes), (last + 1, 1, Vec::new()));
        assert_eq!(archive.job(JobId(1)).await.unwrap().as_ref(), ledger.job(JobId(1)).as_ref());
        assert_eq!(archive.facts_after(0, 100).await.unwrap().facts, facts);
        archive.close().await;
    });
    identity
}

/// The bytes of every file of the memory.
fn memory(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![data.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                files.insert(path.strip_prefix(data).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_new_memory_holds_all_of_the_log_also_what_nobody_knew_to_be_agreed_on() {
    let (dir, last) = node();
    let before = memory(dir.path());
    let Plan::Begin(survivor) = would_recover(dir.path()).unwrap() else { panic!("nothing was begun") };
    assert_eq!(memory(dir.path()), before, "asking changes nothing");
    assert_eq!((survivor.last_term, survivor.last_index, survivor.commit), (TERM, last, last - 2));
    assert_eq!((survivor.name.as_str(), survivor.open_jobs, survivor.epoch), ("anna", 2, 1));
    assert_eq!((survivor.members, survivor.cut), (vec!["anna".into(), "bert".into(), "carl".into()], None));

    let done = recover(dir.path()).unwrap();
    assert_eq!((done.epoch, done.index, &done.aside), (1, last + 1, &dir.path().join("set-aside-1")));
    assert_eq!(assert_recovered(dir.path(), last), done.identity);
    for name in ["identity", "boot", "log/0000000001.seg"] {
        let kept = fs::read(done.aside.join(name)).unwrap();
        assert!(before[Path::new(name)] == kept, "{name} is set aside as it was");
    }
    let line = fs::read_dir(dir.path().join(LOG_FOLDER))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    assert!(line.collect::<String>().contains("Recovered by hand"), "the node's own log tells of it");
}

#[test]
fn a_cluster_is_recovered_again_in_the_next_epoch_and_its_log_goes_on() {
    let (dir, last) = node();
    let first = recover(dir.path()).unwrap();
    let Found::Member(folder, _, _, recovered) = Folder::open(dir.path()).unwrap() else {
        panic!("it is a member's")
    };
    let (tell, told) = channel();
    let disk = Disk::start(folder, recovered.writer, move |what| {
        let _ = tell.send(what);
    });
    let disk = disk.unwrap();
    let entry = consensus::Entry { term: TERM + 3, ..logged(last + 2, vec![accept(4)]) };
    disk.write(vec![Write { number: 1, hard: None, entries: vec![entry], base: None }]).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Told::Synced { number: 1 });
    drop(disk.close().join());

    let again = recover(dir.path()).unwrap();
    assert_eq!((again.epoch, again.index), (2, last + 3));
    let (identity, _, base, ledger, _) = start(dir.path()).unwrap();
    assert!(identity.cluster != first.identity.cluster && base.term > TERM + 3);
    assert_eq!(ledger.former(), [FORMER, first.identity.cluster]);
    assert_eq!(ledger.job(JobId(4)).map(|job| (job.state, job.rev.epoch)), Some((JobState::Queued, 1)));
    assert!(dir.path().join("set-aside-2").is_dir());
}

#[test]
fn a_folder_that_is_damaged_in_use_empty_or_nobodys_is_refused_and_stays_as_it_is() {
    let (dir, _) = node();
    let running = Folder::lock(dir.path()).unwrap();
    for refused in [would_recover(dir.path()).unwrap_err(), recover(dir.path()).unwrap_err()] {
        assert!(matches!(refused, RecoverError::Disk(DiskError::Locked { .. })), "{refused}");
    }
    drop(running);
    let segment = dir.path().join("log/0000000001.seg");
    let length = fs::metadata(&segment).unwrap().len();
    fs::File::options().write(true).open(&segment).unwrap().set_len(length / 2).unwrap();
    let before = memory(dir.path());
    for refused in [would_recover(dir.path()).unwrap_err(), recover(dir.path()).unwrap_err()] {
        assert!(refused.to_string().contains("0000000001.seg at byte"), "{refused}");
    }
    assert_eq!(memory(dir.path()), before);

    let new = TempDir::new().unwrap();
    let Found::Empty(folder) = Folder::open(new.path()).unwrap() else { panic!("it is new") };
    drop(folder.found(IDENTITY).unwrap());
    let before = memory(new.path());
    assert!(matches!(recover(new.path()).unwrap_err(), RecoverError::Empty { .. }));
    assert_eq!(memory(new.path()), before);
    let typo = new.path().join("typo");
    assert!(matches!(recover(&typo).unwrap_err(), RecoverError::Nobodys { .. }));
    assert!(!typo.exists(), "no folder is made");
}

#[test]
fn anothers_archive_is_noticed_before_anything_is_changed() {
    let (dir, last) = node();
    fs::remove_dir_all(dir.path().join("archive")).unwrap();
    block(async {
        let log = logdb::Log::in_memory("anna");
        Archive::open(dir.path(), ClusterId(99), log).await.unwrap().close().await;
    });
    let refused = recover(dir.path()).unwrap_err();
    assert!(matches!(refused, RecoverError::Archive(ArchiveError::Foreign { .. })), "{refused}");
    let (identity, _, base, _, recovered) = start(dir.path()).unwrap();
    assert_eq!((identity, base.index, recovered.entries.len() as u64), (IDENTITY, 0, last - 1));
}

/// What a recovery does once the new memory is whole, one rename after the other.
fn moves() -> Vec<(String, String)> {
    let each = ["log", "snap", "boot", "identity"].iter().flat_map(|name| {
        let old = (name.to_string(), format!("recovering/{name}"));
        [old, (format!("recovering/new/{name}"), name.to_string())]
    });
    each.collect()
}

#[test]
fn a_recovery_that_was_cut_off_anywhere_is_refused_by_a_start_and_ended_by_running_it_again() {
    for (cut, carried) in (0..=moves().len()).map(|cut| (cut, true)).chain([(0, false)]) {
        let (dir, last) = node();
        let data = dir.path();
        let all = applied(&mut lock(data).unwrap()).unwrap();
        begin(data, &all).unwrap();
        let (begun, ..) = folder::begun(data).unwrap();
        if carried {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            carry_history(data, &runtime, all).unwrap();
        }
        for (from, to) in moves().into_iter().take(cut) {
            fs::rename(data.join(from), data.join(to)).unwrap();
        }
        let refused = start(data).unwrap_err();
        assert!(matches!(refused, DiskError::HalfRecovered { .. }), "after {cut} moves: {refused}");
        assert!(refused.to_string().contains("understudy recover --from"), "{refused}");
        assert_eq!(would_recover(data).unwrap(), Plan::End);

        let done = recover(data).unwrap();
        assert_eq!((done.identity, assert_recovered(data, last)), (begun, begun), "after {cut} moves");
        let (old, ..) = start(&done.aside).unwrap();
        assert_eq!(old, IDENTITY, "the old memory is whole where it is set aside");
        assert!(!data.join("recovering").exists());
    }
}

#[test]
fn a_new_memory_that_was_never_whole_does_not_count() {
    let (dir, last) = node();
    let data = dir.path();
    fs::create_dir_all(data.join("recovering.part/new/log")).unwrap();
    fs::write(data.join("recovering.part/new/identity"), "half").unwrap();
    let (identity, _, _, _, recovered) = start(data).unwrap();
    assert_eq!((identity, recovered.entries.len() as u64), (IDENTITY, last - 1), "the old one does");
    recover(data).unwrap();
    assert!(!data.join("recovering.part").exists());
    assert_eq!(start(data).unwrap().1, Boot(3));
}
