//! Facts lie in blocks; each is told once, in order, and a job's own are found whatever happened to it.

use protocol::{LossCause, What};

use super::*;

/// The facts about one job, as the model has them.
fn told(past: &Past, job: JobId) -> Vec<Fact> {
    past.facts.iter().filter(|fact| fact.what.job() == Some(job)).map(|fact| Fact::clone(fact)).collect()
}

async fn assert_stories(past: &Past, archive: &Archive, jobs: &[JobId]) {
    for job in past.all().into_iter().filter(|job| jobs.contains(&job.id)) {
        let story = archive.facts_of(job.id, Some(&job), usize::MAX).await.unwrap();
        assert_eq!(story, told(past, job.id), "{job:?}");
        let newest = archive.facts_of(job.id, Some(&job), 2).await.unwrap();
        assert_eq!(newest, story[story.len().saturating_sub(2)..], "the newest ones");
    }
}

/// How many blocks there are, and how many facts are in them.
async fn blocks(archive: &Archive) -> (i64, i64) {
    let sql = "SELECT count(*), coalesce(sum(last - first + 1), 0) FROM fact_blocks";
    sqlx::query_as(sql).fetch_one(&archive.0.pool).await.unwrap()
}

fn submitted(past: &mut Past, ids: std::ops::RangeInclusive<u128>) {
    let submits = ids.map(|id| {
        past.number += 1;
        let origin = Origin { gateway: ME, boot: Boot(1), number: past.number, floor: past.number };
        let spec = Arc::new(labelled("echo", &[]));
        Command::Submit { job: JobId(id), spec, key: None, fingerprint: [0; 32], origin }
    });
    let submits = submits.collect();
    past.entry(submits);
}

#[tokio::test]
async fn the_story_of_a_job_is_whole_whatever_happened_to_it() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    // A thousand jobs of one moment are in several blocks of one time.
    submitted(&mut past, 1..=1_000);
    let give = |job, attempt| Command::Assign { job, attempt, node: ME, boot: Boot(1) };
    let lost = |job, attempt| Command::Requeue { job, attempt, cause: LossCause::Silent };
    let end = |job, attempt| {
        let outcome = Arc::new(Outcome::success(Bytes::from_static(b"out")));
        Command::Finish { job, attempt, node: ME, outcome }
    };
    let [lucky, often, late, never] = [3, 300, 700, 999].map(JobId);
    past.entry([lucky, often, late].map(|job| give(job, 1)).into());
    past.entry(vec![end(lucky, 1), lost(often, 1), Command::Cancel { job: late }]);
    past.entry(vec![give(often, 2), Command::Expire { job: never, reason: Reason::Expired }]);
    past.entry(vec![end(late, 1)]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let some = [lucky, often, late, never, JobId(1), JobId(500), JobId(1_000)];
    assert_stories(&past, &archive, &some).await;
    past.entry(vec![end(often, 2)]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let told = [often, late].map(|job| told(&past, job).len());
    assert_eq!(told, [5, 4], "lost and run again; cancelled, and a result after that");
    assert_stories(&past, &archive, &some).await;
    archive.close().await;
}

#[tokio::test]
async fn facts_are_few_blocks_and_told_in_pages_without_a_hole() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    submitted(&mut past, 1..=700);
    (701..=900).for_each(|id| past.run(id, labelled("echo", &[])));
    let last = past.ledger.last_fact();
    let mut whole = Batch { applied: past.ledger.applied(), last_fact: last, ..Batch::default() };
    past.facts.iter().for_each(|fact| whole.hear(fact, None));
    whole.last_end = past.ledger.last_end();
    past.ended.values().for_each(|job| whole.put(Arc::clone(job)));
    archive.push(whole);
    written(&archive, past.ledger.applied()).await;
    assert_eq!(blocks(&archive).await, (last.div_ceil(limits::BLOCK_FACTS as u64) as i64, last as i64));
    let (mut after, mut pages) = (0, Vec::new());
    while let found = archive.facts_after(after, 97).await.unwrap().facts
        && !found.is_empty()
    {
        assert!(found.len() <= 97);
        after += found.len() as u64;
        pages.extend(found);
    }
    assert!(pages.iter().eq(past.facts.iter().map(|fact| &**fact)));
    archive.close().await;
}

#[tokio::test]
async fn what_is_told_twice_is_written_once() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    (1..=20).for_each(|id| past.run(id, labelled("echo", &[])));
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let before = blocks(&archive).await;
    archive.restored(&past.ledger);
    past.run(21, labelled("echo", &[]));
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    assert_eq!(blocks(&archive).await.1, before.1 + 3);
    assert_same(&past, &archive).await;
    archive.close().await;
}

#[tokio::test]
async fn rows_of_an_earlier_version_are_told_with_the_blocks() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    (1..=10).for_each(|id| past.run(id, labelled("echo", &[])));
    let half_run = past.submit(11, labelled("echo", &[]));
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let (first, kept) = (archive.first_fact().await.unwrap(), past.facts.len());
    archive.close().await;
    // As the version before blocks had it.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join(PLACE));
    let earlier = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("DELETE FROM fact_blocks").execute(&earlier).await.unwrap();
    for fact in &past.facts {
        sqlx::query("INSERT INTO facts (number, job, fact) VALUES (?, ?, ?)")
            .bind(fact.number as i64)
            .bind(fact.what.job().map(store::key))
            .bind(protocol::native::encode(&**fact))
            .execute(&earlier)
            .await
            .unwrap();
    }
    earlier.close().await;
    let archive = open(folder.path()).await;
    past.assign(half_run);
    past.finish(half_run, Outcome::success(Bytes::from_static(b"out")));
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    assert_eq!((blocks(&archive).await.1, past.facts.len()), (2, kept + 2));
    assert_eq!(archive.first_fact().await.unwrap(), first);
    assert_same(&past, &archive).await;
    assert_stories(&past, &archive, &(1..=11).map(JobId).collect::<Vec<_>>()).await;
    past.entry(vec![Command::Forget { after: 0, upto: 5 }]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    assert_eq!(archive.first_fact().await.unwrap(), Some(2 + 5 * 3 + 1));
    archive.close().await;
}

/// Writes to the tables as the archive's own thread does, a connection of its own.
async fn other_writer(folder: &Path) -> sqlx::SqliteConnection {
    use sqlx::ConnectOptions as _;
    sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join(PLACE)).connect().await.unwrap()
}

#[tokio::test]
async fn where_time_stands_still_a_story_is_found_by_its_marks() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    past.run(1, labelled("echo", &[]));
    // The clock of a leader was far ahead.
    past.stopped_ms = Some(1_000_000_000);
    (2..=60).for_each(|id| past.run(id, labelled("echo", &[])));
    past.stopped_ms = None;
    let mut write = other_writer(folder.path()).await;
    for fact in &past.facts {
        facts::put(&mut write, &[fact]).await.unwrap();
    }
    let marks: i64 =
        sqlx::query_scalar("SELECT count(*) FROM fact_marks").fetch_one(&mut write).await.unwrap();
    assert_eq!(marks, 59 * 3 - limits::MOMENT_BLOCKS as i64, "those after the first blocks of that time");
    let jobs: Vec<JobId> = (1..=60).map(JobId).collect();
    assert_stories(&past, &archive, &jobs).await;
    archive.close().await;
}

#[tokio::test]
async fn a_write_of_an_earlier_start_that_comes_late_doubles_nothing() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join(PLACE);
    let mut past = Past::new();
    (1..=20).for_each(|id| past.run(id, labelled("echo", &[])));
    let (mut late, _) = store::open(&place, CLUSTER).await.unwrap();
    let (mut present, pool) = store::open(&place, CLUSTER).await.unwrap();
    let batches: Vec<Arc<Batch>> = past.batches.iter().cloned().map(Arc::new).collect();
    let (some, all) = (&batches[..30], &batches[..]);
    let applied = |batches: &[Arc<Batch>]| batches.last().unwrap().applied;
    late.write(some, applied(some)).await.unwrap();
    present.write(all, applied(all)).await.unwrap();
    late.write(some, applied(some)).await.unwrap();
    let sql = "SELECT sum(last - first + 1) FROM fact_blocks";
    let written: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    assert_eq!((written, present.holes()), (past.facts.len() as i64, &[][..]));
    late.close().await;
    present.close().await;
}

#[tokio::test]
async fn a_damaged_row_keeps_facts_longer_and_nothing_else_waits() {
    let folder = TempDir::new().unwrap();
    let log = logdb::Log::in_memory("n1");
    let archive = Archive::open(folder.path(), CLUSTER, log.clone()).await.unwrap();
    let mut past = Past::new();
    (1..=20).for_each(|id| past.run(id, labelled("echo", &[])));
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let mut write = other_writer(folder.path()).await;
    sqlx::query("UPDATE jobs SET head = x'00' WHERE ended = 5").execute(&mut write).await.unwrap();
    past.entry(vec![Command::Forget { after: 0, upto: 5 }]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    assert_eq!((archive.job(JobId(5)).await.unwrap(), archive.first_fact().await.unwrap()), (None, Some(1)));
    let told = log.newest(9).iter().any(|line| line.message.contains("is damaged"));
    assert!(told, "{:?}", log.newest(9));
    past.entry(vec![Command::Forget { after: 5, upto: 6 }]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    assert_eq!(archive.first_fact().await.unwrap(), Some(2 + 6 * 3 + 1), "the next time they go");
    archive.close().await;
}

#[tokio::test]
async fn marks_of_forgotten_jobs_are_gone_and_of_others_not() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    for id in 1..=4 {
        let job = past.submit(id, labelled("echo", &[]));
        past.assign(job);
        past.entry(vec![Command::Requeue { job, attempt: 1, cause: LossCause::Silent }]);
        past.entry(vec![Command::Cancel { job }]);
    }
    past.entry(vec![Command::Forget { after: 0, upto: 3 }]);
    push_all(&mut past, &archive);
    written(&archive, past.ledger.applied()).await;
    let marks: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT job FROM fact_marks").fetch_all(&archive.0.pool).await.unwrap();
    assert_eq!(marks, [store::key(JobId(4))]);
    let fourth = archive.job(JobId(4)).await.unwrap().unwrap();
    let story = archive.facts_of(fourth.id, Some(&fourth), 9).await.unwrap();
    assert_eq!(story, told(&past, JobId(4)));
    assert!(matches!(story[2].what, What::Requeued { .. }));
    archive.close().await;
}

/// More than one statement takes, twice: the one for the usual number of rows is kept and used again.
#[tokio::test]
async fn many_jobs_that_end_at_once_are_all_there_each_with_its_own_result() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    for ids in [1..=1_234, 2_001..=3_100] {
        submitted(&mut past, ids.clone());
        let give = |id| Command::Assign { job: JobId(id), attempt: 1, node: ME, boot: Boot(1) };
        past.entry(ids.clone().map(give).collect());
        let end = |id: u128| {
            // Every hundredth is long: its row has a body too.
            let output = format!("{id} ").repeat(if id.is_multiple_of(100) { 2_000 } else { 1 });
            let outcome = Arc::new(Outcome::success(Bytes::from(output)));
            Command::Finish { job: JobId(id), attempt: 1, node: ME, outcome }
        };
        past.entry(ids.map(end).collect());
        push_all(&mut past, &archive);
        written(&archive, past.ledger.applied()).await;
    }
    assert_eq!(past.ended.len(), 2_334);
    assert_same(&past, &archive).await;
    archive.close().await;
}
