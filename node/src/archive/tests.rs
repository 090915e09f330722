//! The archive against a plain model in memory: whatever is cut off when, a replay makes the same of it; whatever is asked for, a
//! page holds what a walk over all jobs would.

mod filling;
mod stories;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use master::Bounds;
use proptest::prelude::*;
use protocol::{
    Boot, Change, Command, Entry, Fact, Job, JobId, JobSpec, JobState, Member, NodeId, Origin, Outcome,
    Reason, submit,
};
use tempfile::TempDir;

use super::*;

const ME: NodeId = NodeId(1);
const CLUSTER: ClusterId = ClusterId(7);
/// Ended jobs that the ledger of these tests holds.
const HELD: u64 = 3;

/// A ledger, everything its entries brought about, and all jobs as they ended: the model.
struct Past {
    ledger: Ledger,
    number: u64,
    batches: Vec<Batch>,
    ended: BTreeMap<u64, Arc<Job>>,
    facts: Vec<Arc<Fact>>,
    /// Where wall time stands still.
    stopped_ms: Option<u64>,
}

impl Past {
    fn new() -> Self {
        let bounds = Bounds { ended_jobs: HELD, facts: 1, ..Bounds::default() };
        let mut past = Self {
            ledger: Ledger::with_bounds(bounds),
            number: 0,
            batches: Vec::new(),
            ended: BTreeMap::new(),
            facts: Vec::new(),
            stopped_ms: None,
        };
        let at = |port: u16| format!("127.0.0.1:{port}");
        let me = Member {
            id: ME,
            number: 0,
            boot: Boot(1),
            name: "n1".into(),
            http: at(1),
            link: at(2),
            broker: at(3),
        };
        past.entry(vec![Command::Configure(Change::Member(me)), Command::Configure(Change::Open)]);
        past
    }

    fn entry(&mut self, commands: Vec<Command>) {
        let index = self.ledger.applied() + 1;
        let wall_ms = self.stopped_ms.unwrap_or(index * 1_000);
        let entry = Entry { clock_ms: index * 1_000, wall_ms, term: 1, commands };
        let mut batch = Batch { applied: index, ..Batch::default() };
        for effect in self.ledger.apply(index, &entry) {
            let master::Effect::Fact(fact) = effect else { continue };
            let job = fact.what.job().and_then(|id| self.ledger.job(id));
            batch.hear(&fact, job.as_ref());
            if let Some(job) = job.filter(|job| job.state.is_terminal()) {
                self.ended.insert(job.order, job);
            }
            if let protocol::What::Forgotten { upto } = fact.what {
                self.ended.retain(|_, job| job.ending.is_some_and(|ending| ending.number > upto));
            }
            self.facts.push(fact);
        }
        (batch.last_end, batch.last_fact) = (self.ledger.last_end(), self.ledger.last_fact());
        self.batches.push(batch);
    }

    fn submit(&mut self, id: u128, spec: JobSpec) -> JobId {
        self.number += 1;
        let origin = Origin { gateway: ME, boot: Boot(1), number: self.number, floor: self.number };
        let job = JobId(id);
        self.entry(vec![Command::Submit {
            job,
            spec: Arc::new(spec),
            key: None,
            fingerprint: [0; 32],
            origin,
        }]);
        job
    }

    fn assign(&mut self, job: JobId) {
        self.entry(vec![Command::Assign { job, attempt: 1, node: ME, boot: Boot(1) }]);
    }

    fn finish(&mut self, job: JobId, outcome: Outcome) {
        self.entry(vec![Command::Finish { job, attempt: 1, node: ME, outcome: Arc::new(outcome) }]);
    }

    /// A job that ran and ended well.
    fn run(&mut self, id: u128, spec: JobSpec) {
        let job = self.submit(id, spec);
        self.assign(job);
        self.finish(job, Outcome::success(Bytes::from(format!("out {id}"))));
    }

    /// All jobs, the newest first: open ones from the ledger, ended ones from the model.
    fn all(&self) -> Vec<Arc<Job>> {
        let open = self.ledger.newest(None).filter(|job| !job.state.is_terminal());
        let mut all: BTreeMap<u64, Arc<Job>> = open.map(|job| (job.order, job)).collect();
        all.extend(self.ended.clone());
        all.into_values().rev().collect()
    }
}

async fn open(folder: &Path) -> Archive {
    Archive::open(folder, CLUSTER, logdb::Log::in_memory("n1")).await.unwrap()
}

/// Waits until everything up to here is in the tables.
async fn written(archive: &Archive, applied: u64) {
    let mut progress = archive.progress();
    let come = progress.wait_for(|progress| progress.applied >= applied);
    let come = tokio::time::timeout(Duration::from_secs(30), come).await;
    come.unwrap_or_else(|_| panic!("not written: {:?}", archive.trouble())).unwrap();
}

fn push_all(past: &mut Past, archive: &Archive) {
    past.batches.drain(..).for_each(|batch| assert!(!archive.push(batch), "it is not full"));
}

async fn list(
    past: &Past,
    archive: &Archive,
    filter: &Filter,
    below: Option<u64>,
    limit: usize,
) -> find::Page {
    page(past.ledger.clone(), Some(archive.clone()), filter.clone(), below, limit).await.unwrap()
}

/// Every page of a list, one after another.
async fn pages(past: &Past, archive: &Archive, filter: &Filter, limit: usize) -> Vec<Arc<Job>> {
    let (mut found, mut below) = (Vec::new(), None);
    loop {
        let page = list(past, archive, filter, below, limit).await;
        assert!(page.jobs.len() <= limit);
        found.extend(page.jobs.into_iter().map(|listed| listed.job));
        below = page.next;
        if below.is_none() {
            return found;
        }
    }
}

/// Rows and facts as they are in the tables, by id and by number.
async fn assert_same(past: &Past, archive: &Archive) {
    // In a list, what is long is cut.
    let sketch = |job: &Arc<Job>| (job.order, job.id, job.state, job.rev, job.ending);
    let listed = pages(past, archive, &Filter::default(), 7).await;
    assert!(listed.iter().map(sketch).eq(past.all().iter().map(sketch)), "each once, the newest first");
    for job in past.ended.values() {
        let found = archive.job(job.id).await.unwrap();
        assert!(found.as_ref() == Some(job), "{} is as it ended", job.id);
    }
    let facts = archive.facts_after(0, usize::MAX).await.unwrap();
    assert!(facts.facts.iter().eq(past.facts.iter().map(|fact| &**fact)), "facts without a hole");
    assert_eq!(archive.progress().borrow().holes, []);
}

fn labelled(class: &str, labels: &[(&str, &str)]) -> JobSpec {
    let mut spec = submit::defaults(class);
    spec.labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    spec
}

#[tokio::test]
async fn what_has_left_the_ledger_is_found_by_id_and_in_lists() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    let waits = past.submit(1, labelled("waits", &[]));
    for id in 2..=30 {
        past.run(id, labelled("echo", &[("n", "x")]));
    }
    push_all(&mut past, &archive);
    assert!(!past.ledger.holds(JobId(2)) && past.ledger.holds(waits));
    // Also before anything is written: it is in the backlog then.
    assert_same(&past, &archive).await;
    written(&archive, past.ledger.applied()).await;
    assert_eq!(archive.backlog_bytes(), 0);
    assert_same(&past, &archive).await;
    assert_eq!(archive.job(JobId(99)).await.unwrap(), None);
    let story = archive.facts_of(JobId(2), archive.job(JobId(2)).await.unwrap().as_deref(), 9).await.unwrap();
    assert_eq!(story.len(), 3, "accepted, assigned, finished: {story:?}");
    archive.close().await;
}

#[tokio::test]
async fn a_late_result_changes_the_row_of_its_job() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    let job = past.submit(1, labelled("echo", &[]));
    past.assign(job);
    past.entry(vec![Command::Cancel { job }]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    past.finish(job, Outcome::failure(Reason::Exit, "late".into()));
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let found = archive.job(job).await.unwrap().unwrap();
    assert_eq!((found.state, found.attempts[0].reason), (JobState::Cancelled, Some(Reason::Exit)));
    assert_same(&past, &archive).await;
    archive.close().await;
}

#[tokio::test]
async fn what_is_forgotten_is_gone_with_its_labels_and_facts() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    for id in 1..=20 {
        past.run(id, labelled("echo", &[("n", "x")]));
    }
    past.entry(vec![Command::Forget { after: 0, upto: 15 }]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let by_label = Filter { labels: vec![("n".into(), "x".into())], ..Filter::default() };
    assert_eq!(pages(&past, &archive, &by_label, 4).await.len(), 5);
    assert_eq!(archive.job(JobId(15)).await.unwrap(), None);
    let labels: i64 =
        sqlx::query_scalar("SELECT count(*) FROM labels").fetch_one(&archive.0.pool).await.unwrap();
    assert_eq!((labels, archive.first_fact().await.unwrap()), (5, Some(2 + 15 * 3 + 1)));
    let told = archive.facts_after(0, 1).await.unwrap();
    assert_eq!(
        (told.start, told.facts[0].number),
        (48, 48),
        "a reader from before goes on with what is kept"
    );
    archive.close().await;
}

#[tokio::test]
async fn a_replay_after_a_cut_at_any_moment_makes_the_same_rows() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    for id in 1..=400 {
        past.run(id, labelled(if id % 3 == 0 { "hash" } else { "echo" }, &[("n", "x")]));
        if id == 200 {
            past.entry(vec![Command::Forget { after: 0, upto: 50 }]);
        }
    }
    // Copies of the files, taken while they are written, are what a kill leaves behind.
    let mut cuts = Vec::new();
    for (n, batch) in past.batches.iter().enumerate() {
        archive.push(batch.clone());
        if n % 150 == 149 {
            let cut = TempDir::new().unwrap();
            std::fs::create_dir(cut.path().join("archive")).unwrap();
            // The log of SQLite before its file: a copy is not one moment, and a file ahead of its log would be none at all.
            for name in ["archive/history.sqlite-wal", "archive/history.sqlite"] {
                std::fs::copy(folder.path().join(name), cut.path().join(name)).unwrap();
            }
            cuts.push(cut);
            tokio::task::yield_now().await;
        }
    }
    archive.close().await;
    let ends: Vec<u64> = past.ended.keys().copied().collect();
    for cut in cuts {
        let archive = open(cut.path()).await;
        let begun = archive.progress().borrow().applied;
        for batch in &past.batches {
            assert!(!archive.push(batch.clone()));
        }
        written(&archive, past.ledger.applied()).await;
        let found = pages(&past, &archive, &Filter::default(), 100).await;
        assert_eq!(found, past.all(), "cut at entry {begun}");
        assert_eq!(archive.progress().borrow().holes, [], "cut at entry {begun}");
        archive.close().await;
    }
    assert_eq!(ends.len(), 350);
}

#[tokio::test]
async fn what_is_told_to_be_durable_is_in_the_file_itself() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    (1..=50).for_each(|id| past.run(id, labelled("echo", &[])));
    push_all(&mut past, &archive);
    let applied = past.ledger.applied();
    assert!(archive.progress().borrow().durable < applied, "nothing is safe before it is synced");
    let mut progress = archive.progress();
    let safe = progress.wait_for(|progress| progress.durable >= applied);
    tokio::time::timeout(Duration::from_secs(30), safe).await.unwrap().unwrap();
    // A power cut may take SQLite's log: what was made safe does not need it.
    let cut = TempDir::new().unwrap();
    std::fs::create_dir(cut.path().join("archive")).unwrap();
    std::fs::copy(folder.path().join(PLACE), cut.path().join(PLACE)).unwrap();
    let after = open(cut.path()).await;
    assert_eq!(after.progress().borrow().applied, applied);
    assert_same(&past, &after).await;
    after.close().await;
    archive.close().await;
}

#[tokio::test]
async fn what_a_snapshot_jumped_over_is_known_to_be_missing() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    (1..=10).for_each(|id| past.run(id, labelled("echo", &[])));
    push_all(&mut past, &archive);
    (11..=30).for_each(|id| past.run(id, labelled("echo", &[])));
    past.batches.clear();
    archive.restored(&past.ledger);
    past.run(31, labelled("echo", &[]));
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let holes = archive.progress().borrow().holes.clone();
    let ends: Vec<(u64, u64)> =
        holes.iter().filter(|h| h.kind == holes::Kind::Ends).map(|h| (h.first, h.last)).collect();
    // The ledger lets go when an entry begins, so that it still holds one more.
    assert_eq!(ends, [(11, 30 - HELD - 1)]);
    assert_eq!(archive.job(JobId(30)).await.unwrap().map(|job| job.id), Some(JobId(30)));
    archive.close().await;
    let again = open(folder.path()).await;
    assert_eq!(again.progress().borrow().holes, holes, "that outlives a restart");
    again.close().await;
}

#[tokio::test]
async fn another_clusters_archive_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    open(folder.path()).await.close().await;
    let other = Archive::open(folder.path(), ClusterId(8), logdb::Log::in_memory("n1")).await;
    let text = other.unwrap_err().to_string();
    assert!(text.contains("history.sqlite") && text.contains("another cluster"), "{text}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_advice() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("archive")).unwrap();
    std::fs::write(folder.path().join(PLACE), vec![b'x'; 10_000]).unwrap();
    let text =
        Archive::open(folder.path(), CLUSTER, logdb::Log::in_memory("n1")).await.unwrap_err().to_string();
    assert!(text.contains("history.sqlite") && text.contains("move it away"), "{text}");
}

/// What a step of a made-up past does.
#[derive(Clone, Debug)]
enum Step {
    Submit { class: u8, submitter: u8, label: u8 },
    Run(u8),
    Cancel(u8),
    Fail(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let submit = (0_u8..3, 0_u8..3, 0_u8..4);
    let step = prop_oneof![
        4 => submit.prop_map(|(class, submitter, label)| Step::Submit { class, submitter, label }),
        2 => any::<u8>().prop_map(Step::Run),
        1 => any::<u8>().prop_map(Step::Cancel),
        1 => any::<u8>().prop_map(Step::Fail),
    ];
    prop::collection::vec(step, 1..120)
}

fn filters() -> impl Strategy<Value = Filter> {
    let states = prop::collection::vec(prop::sample::select(JobState::ALL.to_vec()), 0..3);
    let word = |words: &'static [&'static str]| prop::option::of(prop::sample::select(words));
    let text = word(&["", "class-1", "anna", "k=2", "Ü", "\n", "nowhere"]);
    (states, word(&["Class-0", "Class-1"]), word(&["anna", ""]), word(&["1", "2"]), text).prop_map(
        |(states, class, submitter, label, text)| Filter {
            states,
            class: class.map(str::to_string),
            labels: label.map(|value| ("k".to_string(), value.to_string())).into_iter().collect(),
            submitter: submitter.map(str::to_string),
            text: text.map(str::to_lowercase),
        },
    )
}

fn live(past: &mut Past, steps: &[Step]) {
    let mut open: Vec<JobId> = Vec::new();
    let take =
        |open: &mut Vec<JobId>, n: u8| (!open.is_empty()).then(|| open.remove(n as usize % open.len()));
    for (id, step) in steps.iter().enumerate() {
        match step {
            Step::Submit { class, submitter, label } => {
                let mut spec = labelled(&format!("Class-{class}"), &[]);
                spec.submitter = ["", "anna", "Ünal"][*submitter as usize].to_string();
                spec.max_attempts = 1;
                if *label > 0 {
                    spec.labels.insert("k".into(), label.to_string());
                }
                open.push(past.submit(1_000 - id as u128, spec));
            }
            Step::Run(n) => {
                if let Some(job) = take(&mut open, *n) {
                    past.assign(job);
                    past.finish(job, Outcome::success(Bytes::from_static(b"out")));
                }
            }
            Step::Fail(n) => {
                if let Some(job) = take(&mut open, *n) {
                    past.assign(job);
                    past.finish(job, Outcome::failure(Reason::Exit, "no".into()));
                }
            }
            Step::Cancel(n) => {
                if let Some(job) = take(&mut open, *n) {
                    past.entry(vec![Command::Cancel { job }]);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pages of any length, with any filter, wherever the jobs are by then (a part of them written, a part waiting, a part only in
    /// the ledger): what a walk over all jobs gives, each once.
    #[test]
    fn paging_is_a_walk_over_all_jobs(
        steps in steps(), filters in prop::collection::vec(filters(), 1..4), limit in 1_usize..9, cut in 0_usize..100,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let (mut past, archive) = (Past::new(), open(folder.path()).await);
            live(&mut past, &steps);
            let written_first = past.batches.len() * cut / 100;
            let rest = past.batches.split_off(written_first);
            let index = past.batches.last().map_or(0, |batch| batch.applied);
            push_all(&mut past, &archive);
            if past.facts.iter().any(|fact| fact.rev.index <= index) {
                written(&archive, index).await;
            }
            past.batches = rest;
            push_all(&mut past, &archive);
            for filter in &filters {
                let wanted: Vec<Arc<Job>> = past.all().into_iter().filter(|job| filter.fits(job)).collect();
                let found = pages(&past, &archive, filter, limit).await;
                assert_eq!(found, wanted, "{filter:?}");
            }
            archive.close().await;
        });
    }
}
