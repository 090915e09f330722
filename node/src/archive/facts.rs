//! Facts in the tables. A row each, found by its job, cost two thirds of what the archive did while jobs were only taken, so they
//! lie in blocks by their numbers. A job's own facts are looked for at the moments that the job tells (when it was accepted, first
//! started, ended); the few others have a mark.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::{Fact, Job, What, native};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::limits::{BLOCK_FACTS, BLOCKS_AT_ONCE, INSERT_ROWS};
use super::store::{key, signed};

/// Facts by their numbers.
pub(super) type Numbered = BTreeMap<u64, Fact>;

/// Writes facts that are not in the tables yet, in order.
pub(super) async fn put(write: &mut SqliteConnection, facts: &[&Arc<Fact>]) -> Result<(), sqlx::Error> {
    let runs = facts.chunk_by(|before, after| before.number + 1 == after.number);
    for block in runs.flat_map(|run| run.chunks(BLOCK_FACTS)) {
        let [first, ..] = block else { continue };
        let last = first.number + block.len() as u64 - 1;
        sqlx::query("INSERT INTO fact_blocks (last, first, from_ms, facts) VALUES (?, ?, ?, ?)")
            .bind(signed(last))
            .bind(signed(first.number))
            .bind(signed(first.wall_ms))
            .bind(native::encode(&block))
            .execute(&mut *write)
            .await?;
    }
    let marked = facts.iter().filter(|fact| !is_at_a_moment_of_its_job(&fact.what));
    let marks: Vec<_> = marked.filter_map(|fact| Some((fact.what.job()?, fact.number))).collect();
    for marks in marks.chunks(INSERT_ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO fact_marks (job, number) ");
        query.push_values(marks, |mut values, (job, number)| {
            values.push_bind(key(*job)).push_bind(signed(*number));
        });
        query.build().persistent(false).execute(&mut *write).await?;
    }
    Ok(())
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
    let (mut start_of_rest, mut in_blocks) = (start, 0);
    while in_blocks < limit {
        let sql = "SELECT last, first, facts FROM fact_blocks WHERE last >= ? ORDER BY last LIMIT ?";
        let some = sqlx::query(sql).bind(signed(start_of_rest)).bind(signed(BLOCKS_AT_ONCE));
        let some = some.fetch_all(read).await?;
        for row in &some {
            let block = Block::read(row)?;
            start_of_rest = block.last + 1;
            let facts = block.facts.into_iter().filter(|fact| fact.number >= start);
            found.extend(facts.inspect(|_| in_blocks += 1).map(|fact| (fact.number, fact)));
        }
        if (some.len() as u64) < BLOCKS_AT_ONCE {
            break;
        }
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

/// The newest facts about a job, `limit` at most.
pub(super) async fn of_job(
    read: &mut SqliteConnection,
    job: &Job,
    limit: usize,
) -> Result<Numbered, sqlx::Error> {
    let most = signed(limit as u64);
    let sql = "SELECT number, fact FROM facts WHERE job = ? ORDER BY number DESC LIMIT ?";
    let rows = sqlx::query(sql).bind(key(job.id)).bind(most).fetch_all(&mut *read).await?;
    let mut found = rows.iter().map(of_row).collect::<Result<Numbered, _>>()?;
    let mut take = |block: Block| {
        let about = block.facts.into_iter().filter(|fact| fact.what.job() == Some(job.id));
        found.extend(about.map(|fact| (fact.number, fact)));
    };
    for moment in moments(job) {
        // Blocks of one time may be many; the first that ends before it is the last to be looked at.
        let (mut is_through, mut before) = (false, u64::MAX);
        while !is_through {
            let sql = "SELECT last, first, facts FROM fact_blocks WHERE from_ms <= ? AND last < ? \
                       ORDER BY from_ms DESC, last DESC LIMIT ?";
            let some =
                sqlx::query(sql).bind(signed(moment)).bind(signed(before)).bind(signed(BLOCKS_AT_ONCE));
            let some = some.fetch_all(&mut *read).await?;
            is_through = (some.len() as u64) < BLOCKS_AT_ONCE;
            for row in &some {
                let block = Block::read(row)?;
                before = block.last;
                is_through |= block.facts.last().is_some_and(|last| last.wall_ms < moment);
                take(block);
            }
        }
    }
    let sql = "SELECT number FROM fact_marks WHERE job = ? ORDER BY number DESC LIMIT ?";
    let marks: Vec<i64> = sqlx::query_scalar(sql).bind(key(job.id)).bind(most).fetch_all(&mut *read).await?;
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
}

fn damaged(number: i64) -> sqlx::Error {
    sqlx::Error::Decode(format!("facts up to number {number} are damaged").into())
}
