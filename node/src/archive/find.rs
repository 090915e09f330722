//! Looking things up: one job, a page of a list, facts. The backlog is looked at before the tables, so that what moves from one to
//! the other meanwhile is seen at least once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use master::Ledger;
use protocol::{Fact, Job, JobId};
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::backlog::find;
use super::error::ArchiveError;
use super::facts;
use super::filter::Filter;
use super::limits::{SCAN_JOBS, SCAN_ORDERS, SCAN_TIME};
use super::row::{Listed, Row, listed};
use super::store::{key, signed};
use super::{Archive, locked};

/// A part of a list, newest acceptance first.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Listed>,
    /// What comes next is below this place in the order of acceptance; none: this was the end.
    pub(crate) next: Option<u64>,
}

/// Facts from a number on.
#[derive(Debug, Default)]
pub(crate) struct FactsFrom {
    /// Number of the first one wanted that is not forgotten.
    pub(crate) start: u64,
    /// The facts from there on.
    pub(crate) facts: Vec<Fact>,
}

/// What was found of a list in one place, and down to where that place was looked through.
struct Part {
    jobs: Vec<Listed>,
    floor: u64,
}

impl Archive {
    /// A job that has ended.
    ///
    /// # Errors
    /// The archive cannot be read now.
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<Arc<Job>>, ArchiveError> {
        let waiting = locked(&self.0.backlog).all();
        if let Some(job) = find(&waiting, id) {
            return Ok(Some(job));
        }
        let sql = "SELECT jobs.ord, head, body FROM jobs LEFT JOIN bodies ON bodies.ord = jobs.ord \
                   WHERE id = ? ORDER BY jobs.ord DESC LIMIT 1";
        let Some(row) = sqlx::query(sql).bind(key(id)).fetch_optional(&self.0.pool).await? else {
            return Ok(None);
        };
        let (head, body): (Vec<u8>, Option<Vec<u8>>) = (row.try_get("head")?, row.try_get("body")?);
        let order = row.try_get::<i64, _>("ord")?.unsigned_abs();
        let job = Row::read(&head, body.as_deref()).ok_or(ArchiveError::Damaged { order })?;
        Ok(Some(Arc::new(job)))
    }

    /// Facts with a higher number, at most `limit`, in order and without a hole: where some are missing here, this ends before them.
    ///
    /// # Errors
    /// The archive cannot be read now.
    pub(crate) async fn facts_after(&self, number: u64, limit: usize) -> Result<FactsFrom, ArchiveError> {
        let start = number.max(self.0.progress.borrow().forgotten_facts) + 1;
        let waiting = locked(&self.0.backlog).all();
        let mut found = facts::from(&self.0.pool, start, limit).await?;
        for fact in waiting.iter().flat_map(|batch| &batch.facts).filter(|fact| fact.number >= start) {
            found.entry(fact.number).or_insert_with(|| Fact::clone(fact));
        }
        let in_row = (start..).zip(found).take_while(|(wanted, (number, _))| wanted == number);
        Ok(FactsFrom { start, facts: in_row.map(|(_, (_, fact))| fact).take(limit).collect() })
    }

    /// Number of the oldest fact here; none: there are none.
    ///
    /// # Errors
    /// The archive cannot be read now.
    pub(crate) async fn first_fact(&self) -> Result<Option<u64>, ArchiveError> {
        let waiting = locked(&self.0.backlog).all();
        let forgotten = self.0.progress.borrow().forgotten_facts;
        let written = facts::first(&self.0.pool).await?;
        let waits = waiting.iter().flat_map(|batch| &batch.facts).map(|fact| fact.number);
        Ok(written.into_iter().chain(waits).min().map(|first| first.max(forgotten + 1)))
    }

    /// What is kept of one job's story, in order; facts that are still waiting are not among it. `job` is how it is or ended, which
    /// says where to look; where that is not known the story may be a part.
    ///
    /// # Errors
    /// The archive cannot be read now.
    pub(crate) async fn facts_of(
        &self,
        id: JobId,
        job: Option<&Job>,
        limit: usize,
    ) -> Result<Vec<Fact>, ArchiveError> {
        let forgotten = self.0.progress.borrow().forgotten_facts;
        let mut read = self.0.pool.acquire().await?;
        let found = facts::of_job(&mut read, id, job, limit).await?;
        Ok(found.into_values().filter(|fact| fact.number > forgotten).collect())
    }

    /// Rows of ended jobs that are in no ledger of this moment and fit, below `below`, down to `floor`.
    async fn rows(&self, wish: &Wish<'_>, floor: u64) -> Result<Part, ArchiveError> {
        let began = Instant::now();
        let mut part = Part { jobs: Vec::new(), floor: wish.below };
        while part.floor > floor {
            let first = floor.max(part.floor.saturating_sub(SCAN_ORDERS));
            let found = self.window(wish.filter, first, part.floor, wish.limit).await?;
            let is_through = found.len() < wish.limit;
            part.floor = match found.last() {
                Some(last) if !is_through => last.job.order,
                _ => first,
            };
            part.jobs.extend(found.into_iter().filter(|found| wish.is_history(&found.job)));
            if part.jobs.len() >= wish.limit || began.elapsed() > SCAN_TIME {
                break;
            }
        }
        Ok(part)
    }

    /// The newest rows that fit, from place `first` to below `end`.
    async fn window(
        &self,
        filter: &Filter,
        first: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<Listed>, ArchiveError> {
        let range = (signed(first), signed(end));
        let mut query = QueryBuilder::<Sqlite>::new("SELECT ord, head FROM jobs WHERE ord >= ");
        query.push_bind(range.0).push(" AND ord < ").push_bind(range.1);
        filter.push(&mut query, range);
        query.push(" ORDER BY ord DESC LIMIT ").push_bind(signed(limit as u64));
        let rows = query.build().persistent(false).fetch_all(&self.0.pool).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let order = row.try_get::<i64, _>("ord")?.unsigned_abs();
            let head: Vec<u8> = row.try_get("head")?;
            found.push(listed(&head).ok_or(ArchiveError::Damaged { order })?);
        }
        Ok(found)
    }
}

/// What a page is to be.
struct Wish<'a> {
    ledger: &'a Ledger,
    filter: &'a Filter,
    below: u64,
    /// One more than the page holds: that there is more has to be seen.
    limit: usize,
}

impl Wish<'_> {
    /// It had left the ledger by this moment: not held any more, and not accepted later.
    fn is_history(&self, job: &Job) -> bool {
        job.order <= self.ledger.last_order()
            && !self.ledger.has_forgotten(job)
            && self.ledger.order_of(job.id).is_none_or(|order| order != job.order)
    }

    fn in_memory(&self) -> Part {
        let mut part = Part { jobs: Vec::new(), floor: 1 };
        for (looked, job) in self.ledger.newest(Some(self.below)).enumerate() {
            if part.jobs.len() == self.limit || looked == SCAN_JOBS {
                part.floor = job.order + 1;
                break;
            }
            if self.filter.fits(&job) && !self.ledger.has_forgotten(&job) {
                part.jobs.push(Listed::from(job));
            }
        }
        part
    }
}

/// A page of all jobs as of one moment of the ledger: those it holds, those on their way to the archive, those in there.
/// Nothing twice, and nothing left out: down to `next` every place was looked at.
///
/// # Errors
/// The archive cannot be read now.
pub(crate) async fn page(
    ledger: Ledger,
    archive: Option<Archive>,
    filter: Filter,
    below: Option<u64>,
    limit: usize,
) -> Result<Page, ArchiveError> {
    let below = below.unwrap_or(u64::MAX).min(ledger.last_order() + 1);
    let scan = move || {
        let wish = Wish { ledger: &ledger, filter: &filter, below, limit: limit + 1 };
        let part = wish.in_memory();
        (ledger, filter, part)
    };
    // Up to hundreds of thousands of jobs are looked at: not in the way of other requests.
    let Ok((ledger, filter, held)) = tokio::task::spawn_blocking(scan).await else {
        return Ok(Page::default());
    };
    let wish = Wish { ledger: &ledger, filter: &filter, below, limit: limit + 1 };
    let mut floor = held.floor;
    let mut found: BTreeMap<u64, Listed> = BTreeMap::new();
    let mut put = |jobs: Vec<Listed>| found.extend(jobs.into_iter().map(|listed| (listed.job.order, listed)));
    if let Some(archive) = archive {
        let waiting = locked(&archive.0.backlog).all();
        let rows = archive.rows(&wish, floor).await?;
        floor = floor.max(rows.floor);
        put(rows.jobs);
        // A later batch replaces an earlier one.
        for job in waiting.iter().flat_map(|batch| &batch.jobs) {
            if job.order < below && wish.is_history(job) && filter.fits(job) {
                put(vec![Listed::from(Arc::clone(job))]);
            }
        }
    }
    put(held.jobs);
    let mut jobs: Vec<Listed> =
        found.into_values().rev().take_while(|listed| listed.job.order >= floor).collect();
    let next = if jobs.len() > limit {
        jobs.truncate(limit);
        jobs.last().map(|listed| listed.job.order)
    } else {
        (floor > 1).then_some(floor)
    };
    Ok(Page { jobs, next })
}
