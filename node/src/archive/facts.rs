//! Facts in the tables. A row each, found by its job, cost two thirds of what the archive did while jobs were only taken, so they
//! lie in blocks by their numbers. A job's own facts are looked for at the moments that the job tells (when it was accepted, first
//! started, ended); the few others have a mark. So have those of a moment that does not end: the ledger's wall time never goes
//! back, but where a leader's clock was ahead it stands still until all clocks have come there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::{Fact, Job, JobId, What, native};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::limits::{BLOCK_FACTS, BLOCKS_AT_ONCE, INSERT_ROWS, MOMENT_BLOCKS, SCAN_BLOCKS};
use super::store::{key, signed};

/// Facts by their numbers.
pub(super) type Numbered = BTreeMap<u64, Fact>;

/// Writes facts that are not in the tables yet, in order.
pub(super) async fn put(write: &mut SqliteConnection, facts: &[&Arc<Fact>]) -> Result<(), sqlx::Error> {
    let mut marks = Vec::new();
    for run in facts.chunk_by(|before, after| before.number + 1 == after.number) {
        let mut begun_ms = begun_before(write, run).await?;
        for block in run.chunks(BLOCK_FACTS) {
            let [first, ..] = block else { continue };
            let endless = begun_ms.get(MOMENT_BLOCKS - 1).copied();
            let marked = block
                .iter()
                .filter(|fact| !is_at_a_moment_of_its_job(&fact.what) || endless == Some(fact.wall_ms));
            marks.extend(marked.filter_map(|fact| Some((fact.what.job()?, fact.number))));
            sqlx::query("INSERT INTO fact_blocks (last, first, from_ms, facts) VALUES (?, ?, ?, ?)")
                .bind(signed(first.number + block.len() as u64 - 1))
                .bind(signed(first.number))
                .bind(signed(first.wall_ms))
                .bind(native::encode(&block))
                .execute(&mut *write)
                .await?;
            begun_ms.truncate(MOMENT_BLOCKS - 1);
            begun_ms.push_front(first.wall_ms);
        }
    }
    for marks in marks.chunks(INSERT_ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO fact_marks (job, number) ");
        query.push_values(marks, |mut values, (job, number)| {
            values.push_bind(key(*job)).push_bind(signed(*number));
        });
        query.build().persistent(false).execute(&mut *write).await?;
    }
    Ok(())
}

/// When the blocks before this run began, the last one first.
async fn begun_before(read: &mut SqliteConnection, run: &[&Arc<Fact>]) -> Result<VecDeque<u64>, sqlx::Error> {
    let first = run.first().map_or(0, |fact| fact.number);
    let sql = "SELECT from_ms FROM fact_blocks WHERE last < ? ORDER BY last DESC LIMIT ?";
    let begun = sqlx::query_scalar(sql).bind(signed(first)).bind(signed(MOMENT_BLOCKS as u64));
    let begun: Vec<i64> = begun.fetch_all(read).await?;
    Ok(begun.into_iter().map(i64::unsigned_abs).collect())
}

/// Whether it became so at one of [`moments`].
fn is_at_a_moment_of_its_job(what: &What) -> bool {
    match what {
        What::Accepted { .. } | What::Finished { .. } | What::Cancelled { .. } | What::Expired { .. } => true,
        What::Assigned { attempt, .. } => attempt.attempt == 1,
        _ => false,
    }
}

/// The wall times at which a job was accepted, first assigned, ended, as its facts have them.
fn moments(job: &Job) -> impl Iterator<Item = u64> {
    let mut moments = vec![job.submitted_wall_ms];
    moments.extend(job.started_wall_ms.into_iter().chain(job.finished_wall_ms));
    moments.dedup();
    moments.into_iter()
}

/// Facts from a number on, in order: `limit` of each form at least, where there are so many.
pub(super) async fn from(read: &SqlitePool, start: u64, limit: usize) -> Result<Numbered, sqlx::Error> {
    let sql = "SELECT number, fact FROM facts WHERE number >= ? ORDER BY number LIMIT ?";
    let rows = sqlx::query(sql).bind(signed(start)).bind(signed(limit as u64)).fetch_all(read).await?;
    let mut found = rows.iter().map(of_row).collect::<Result<Numbered, _>>()?;
    let (mut pages, mut in_blocks) = (Pages::at(start), 0);
    while in_blocks < limit
        && let Some(blocks) = pages.next(read).await?
    {
        let facts = blocks.into_iter().flat_map(|block| block.facts).filter(|fact| fact.number >= start);
        found.extend(facts.inspect(|_| in_blocks += 1).map(|fact| (fact.number, fact)));
    }
    Ok(found)
}

/// Number of the oldest; of its block there may be more than is to be told.
pub(super) async fn first(read: &SqlitePool) -> Result<Option<u64>, sqlx::Error> {
    let row: Option<i64> = sqlx::query_scalar("SELECT min(number) FROM facts").fetch_one(read).await?;
    let sql = "SELECT first FROM fact_blocks ORDER BY last LIMIT 1";
    let block: Option<i64> = sqlx::query_scalar(sql).fetch_optional(read).await?;
    Ok(row.into_iter().chain(block).min().map(i64::unsigned_abs))
}

/// The newest facts about a job, `limit` at most. Where the job itself is not known, only those that have marks or rows.
pub(super) async fn of_job(
    read: &mut SqliteConnection,
    id: JobId,
    job: Option<&Job>,
    limit: usize,
) -> Result<Numbered, sqlx::Error> {
    let most = signed(limit as u64);
    let sql = "SELECT number, fact FROM facts WHERE job = ? ORDER BY number DESC LIMIT ?";
    let rows = sqlx::query(sql).bind(key(id)).bind(most).fetch_all(&mut *read).await?;
    let mut found = rows.iter().map(of_row).collect::<Result<Numbered, _>>()?;
    let mut take = |block: Block| {
        let about = block.facts.into_iter().filter(|fact| fact.what.job() == Some(id));
        found.extend(about.map(|fact| (fact.number, fact)));
    };
    for moment_ms in job.into_iter().flat_map(moments) {
        // The block before the first that began then may reach into that moment.
        let sql = "SELECT last FROM fact_blocks WHERE from_ms < ? ORDER BY from_ms DESC, last DESC LIMIT 1";
        let before: Option<i64> =
            sqlx::query_scalar(sql).bind(signed(moment_ms)).fetch_optional(&mut *read).await?;
        let (mut pages, mut looked) = (Pages::at(before.map_or(0, i64::unsigned_abs)), 0);
        while looked < SCAN_BLOCKS
            && let Some(blocks) = pages.next(&mut *read).await?
        {
            looked += blocks.len();
            let is_past = blocks.last().is_some_and(|block| block.begins_after(moment_ms));
            blocks.into_iter().for_each(&mut take);
            if is_past {
                break;
            }
        }
    }
    let sql = "SELECT number FROM fact_marks WHERE job = ? ORDER BY number DESC LIMIT ?";
    let marks: Vec<i64> = sqlx::query_scalar(sql).bind(key(id)).bind(most).fetch_all(&mut *read).await?;
    let mut read_from = i64::MAX;
    for number in marks {
        // Marks fall, so the block that was read last is the only one that may hold this one too.
        if number >= read_from {
            continue;
        }
        let sql = "SELECT last, first, facts FROM fact_blocks WHERE last >= ? ORDER BY last LIMIT 1";
        if let Some(row) = sqlx::query(sql).bind(number).fetch_optional(&mut *read).await? {
            let block = Block::read(&row)?;
            read_from = signed(block.first);
            take(block);
        }
    }
    while found.len() > limit {
        found.pop_first();
    }
    Ok(found)
}

/// Takes out facts up to a number. Of a block that goes on after it, all stays.
pub(super) async fn forget(write: &mut SqliteConnection, upto: u64) -> Result<(), sqlx::Error> {
    for sql in ["DELETE FROM facts WHERE number <= ?", "DELETE FROM fact_blocks WHERE last <= ?"] {
        sqlx::query(sql).bind(signed(upto)).execute(&mut *write).await?;
    }
    Ok(())
}

fn of_row(row: &SqliteRow) -> Result<(u64, Fact), sqlx::Error> {
    let (number, fact): (i64, Vec<u8>) = (row.try_get("number")?, row.try_get("fact")?);
    native::decode(&fact).map(|fact: Fact| (fact.number, fact)).map_err(|_| damaged(number))
}

/// Blocks in order, some at a time: few at first, for most readers want one or two.
struct Pages {
    from: u64,
    most: u64,
}

impl Pages {
    fn at(number: u64) -> Self {
        Self { from: number, most: BLOCKS_AT_ONCE / 16 }
    }

    /// The next ones; none: there are no more.
    async fn next<'e>(
        &mut self,
        read: impl sqlx::SqliteExecutor<'e>,
    ) -> Result<Option<Vec<Block>>, sqlx::Error> {
        let sql = "SELECT last, first, facts FROM fact_blocks WHERE last >= ? ORDER BY last LIMIT ?";
        let rows = sqlx::query(sql).bind(signed(self.from)).bind(signed(self.most)).fetch_all(read).await?;
        let blocks = rows.iter().map(Block::read).collect::<Result<Vec<_>, _>>()?;
        let Some(last) = blocks.last() else { return Ok(None) };
        (self.from, self.most) = (last.last + 1, BLOCKS_AT_ONCE.min(self.most * 2));
        Ok(Some(blocks))
    }
}

/// A block as it is read.
struct Block {
    first: u64,
    last: u64,
    facts: Vec<Fact>,
}

impl Block {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let (first, last): (i64, i64) = (row.try_get("first")?, row.try_get("last")?);
        let facts = native::decode(&row.try_get::<Vec<u8>, _>("facts")?).map_err(|_| damaged(last))?;
        Ok(Self { first: first.unsigned_abs(), last: last.unsigned_abs(), facts })
    }

    fn begins_after(&self, moment_ms: u64) -> bool {
        self.facts.first().is_some_and(|first| first.wall_ms > moment_ms)
    }
}

fn damaged(number: i64) -> sqlx::Error {
    sqlx::Error::Decode(format!("facts up to number {number} are damaged").into())
}
