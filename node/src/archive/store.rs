//! The tables: how they are opened, written by one, read by several.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use protocol::{ClusterId, Fact, Job, JobId, What};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, QueryBuilder, Row as _, SqlSafeStr as _, Sqlite,
    SqliteConnection,
};

use super::backlog::Batch;
use super::error::ArchiveError;
use super::facts;
use super::filter::{number_of, search};
use super::holes::{Hole, Holes, Kind};
use super::limits::{BUSY, INSERT_ROWS, READERS};
use super::row::Row;

/// The tables, as they came to be: a version never changes once it is out.
const VERSIONS: [(&str, &str); 2] =
    [("history", include_str!("001_history.sql")), ("fact blocks", include_str!("002_fact_blocks.sql"))];

/// The writer's connection, and what it knows of the tables without asking.
pub(super) struct Store {
    write: SqliteConnection,
    about: About,
    holes: Holes,
    /// What was not what had been written; to be told.
    damage: Option<String>,
}

/// How far the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// Everything up to this entry is in them, apart from holes.
    pub(super) applied: u64,
    pub(super) last_end: u64,
    pub(super) last_fact: u64,
    pub(super) forgotten: u64,
    pub(super) forgotten_facts: u64,
}

impl About {
    async fn read(read: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query("SELECT * FROM about").fetch_one(read).await?;
        let number = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
        Ok(Self {
            applied: number("applied")?,
            last_end: number("last_end")?,
            last_fact: number("last_fact")?,
            forgotten: number("forgotten")?,
            forgotten_facts: number("forgotten_facts")?,
        })
    }
}

/// Opens the tables at `path`, makes them where there are none, and gives the connections to read by.
pub(super) async fn open(path: &Path, cluster: ClusterId) -> Result<(Store, SqlitePool), ArchiveError> {
    let own = || path.to_path_buf();
    if let Some(folder) = path.parent() {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|cause| ArchiveError::Folder { path: folder.to_path_buf(), cause })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY);
    // The writer says itself when the log of SQLite goes into the file: only that makes it safe.
    let writing = options.clone().pragma("wal_autocheckpoint", "0");
    let mut write = writing.connect().await.map_err(|cause| ArchiveError::Open { path: own(), cause })?;
    let version = |(number, (name, sql)): (i64, (&'static str, &'static str))| {
        Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let tables = Migrator::with_migrations((1..).zip(VERSIONS).map(version).collect()).run(&mut write).await;
    tables.map_err(|cause| ArchiveError::Tables { path: own(), cause })?;
    sync_folder(path)?;
    let mine = cluster.0.to_be_bytes().to_vec();
    sqlx::query("INSERT INTO about (cluster) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM about)")
        .bind(mine.clone())
        .execute(&mut write)
        .await?;
    let of: Vec<u8> = sqlx::query_scalar("SELECT cluster FROM about").fetch_one(&mut write).await?;
    if of != mine {
        return Err(ArchiveError::Foreign { path: own() });
    }
    let about = About::read(&mut write).await?;
    let holes = Holes::read(&mut write).await?;
    let reading = options.pragma("query_only", "ON");
    let pool = SqlitePoolOptions::new().max_connections(READERS).connect_with(reading).await;
    let pool = pool.map_err(|cause| ArchiveError::Open { path: own(), cause })?;
    Ok((Store { write, about, holes, damage: None }, pool))
}

/// A new file is there after a power cut only when its folder is synced too.
fn sync_folder(path: &Path) -> Result<(), ArchiveError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|cause| ArchiveError::Folder { path: folder.to_path_buf(), cause })
}

impl Store {
    pub(super) fn about(&self) -> About {
        self.about
    }

    pub(super) fn holes(&self) -> &[Hole] {
        self.holes.all()
    }

    /// What was found damaged since this was asked last.
    pub(super) fn damage(&mut self) -> Option<String> {
        self.damage.take()
    }

    /// Writes what batches hold and how far they go, all or nothing. Written twice it is as written once.
    pub(super) async fn write(&mut self, batches: &[Arc<Batch>], applied: u64) -> Result<(), sqlx::Error> {
        let mut write = self.write.begin_with("BEGIN IMMEDIATE").await?;
        let before = About::read(&mut write).await?;
        if before != self.about {
            // A write of an earlier start, which had hung, came through.
            self.holes = Holes::read(&mut write).await?;
        }
        let (mut about, mut holes) = (before, self.holes.clone());
        let mut jobs: BTreeMap<u64, &Arc<Job>> = BTreeMap::new();
        let mut facts: Vec<&Arc<Fact>> = Vec::new();
        let (mut forget, mut forget_facts) = (about.forgotten, about.forgotten_facts);
        for batch in batches {
            // A replay of the log begins with what is here already.
            let is_news = |index: u64| batch.is_whole || index > about.applied;
            forget = forget.max(batch.forgotten);
            forget_facts = forget_facts.max(batch.forgotten_facts);
            jobs.extend(batch.jobs.iter().filter(|j| is_news(j.rev.index)).map(|job| (job.order, job)));
            facts.extend(batch.facts.iter().filter(|fact| is_news(fact.rev.index)));
            for fact in &batch.facts {
                if let What::Forgotten { upto } = fact.what {
                    forget = forget.max(upto);
                }
            }
        }
        // What a peer or a restored ledger tells may be here already, and no fact is in two blocks.
        facts.retain(|fact| fact.number > before.last_fact || self.holes.lack(Kind::Facts, fact.number));
        // Mostly they are in order already, each once.
        facts.sort_by_key(|fact| fact.number);
        facts.dedup_by_key(|fact| fact.number);
        about.applied = about.applied.max(applied);
        about.last_end = batches.iter().map(|batch| batch.last_end).fold(about.last_end, u64::max);
        about.last_fact = batches.iter().map(|batch| batch.last_fact).fold(about.last_fact, u64::max);
        let ends: BTreeSet<u64> = jobs.values().filter_map(|job| Some(job.ending?.number)).collect();
        holes.came(Kind::Ends, before.last_end, about.last_end, ends);
        holes.came(Kind::Facts, before.last_fact, about.last_fact, facts.iter().map(|fact| fact.number));
        put_jobs(&mut write, &jobs).await?;
        facts::put(&mut write, &facts).await?;
        if forget > about.forgotten {
            let last_fact = match last_fact_of_end(&mut write, forget).await {
                // Facts stay longer, then; nothing else waits for that.
                Err(sqlx::Error::Decode(error)) => {
                    self.damage = Some(error.to_string());
                    0
                }
                found => found?,
            };
            forget_until(&mut write, about.forgotten, forget).await?;
            facts::forget(&mut write, last_fact).await?;
            about.forgotten = forget;
            forget_facts = forget_facts.max(last_fact);
            holes.forget(Kind::Ends, forget);
        }
        about.forgotten_facts = forget_facts;
        holes.forget(Kind::Facts, forget_facts);
        if holes != self.holes {
            holes.write(&mut write).await?;
        }
        put_about(&mut write, about).await?;
        write.commit().await?;
        (self.about, self.holes) = (about, holes);
        Ok(())
    }

    /// From here on it is this cluster's.
    pub(super) async fn give_to(&mut self, cluster: ClusterId) -> Result<(), sqlx::Error> {
        let mine = cluster.0.to_be_bytes().to_vec();
        sqlx::query("UPDATE about SET cluster = ?").bind(mine).execute(&mut self.write).await.map(drop)
    }

    /// Makes everything written so far safe from a power cut; false: a reader was in the way.
    pub(super) async fn checkpoint(&mut self) -> Result<bool, sqlx::Error> {
        let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut self.write).await?;
        Ok(row.try_get::<i64, _>(0)? == 0)
    }

    pub(super) async fn close(self) {
        // Whatever happens to it now, what is written is written.
        let _ = self.write.close().await;
    }
}

/// Never back: a write of an earlier start may have hung meanwhile.
async fn put_about(write: &mut SqliteConnection, about: About) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE about SET applied = max(applied, ?), last_end = max(last_end, ?), last_fact = max(last_fact, ?), \
         forgotten = max(forgotten, ?), forgotten_facts = max(forgotten_facts, ?)")
        .bind(signed(about.applied))
        .bind(signed(about.last_end))
        .bind(signed(about.last_fact))
        .bind(signed(about.forgotten))
    .bind(signed(about.forgotten_facts))
        .execute(write)
        .await
        .map(drop)
}

/// Statement that puts so many jobs. It is read once for the usual number, and not for each piece of a burst.
fn insert_of(jobs: usize) -> String {
    let row = "(?, ?, ?, ?, ?, ?, ?, ?)";
    let columns = "ord, ended, id, state, class, submitter, search, head";
    format!("INSERT OR REPLACE INTO jobs ({columns}) VALUES {}", vec![row; jobs].join(", "))
}

async fn put_jobs(write: &mut SqliteConnection, jobs: &BTreeMap<u64, &Arc<Job>>) -> Result<(), sqlx::Error> {
    static USUAL: LazyLock<String> = LazyLock::new(|| insert_of(INSERT_ROWS));
    let mut bodies = Vec::new();
    for some in jobs.values().collect::<Vec<_>>().chunks(INSERT_ROWS) {
        let mut query = match some.len() {
            INSERT_ROWS => sqlx::query(USUAL.as_str()),
            fewer => sqlx::query(AssertSqlSafe(insert_of(fewer))).persistent(false),
        };
        for job in some {
            let Row { head, body } = Row::of(job);
            bodies.extend(body.map(|body| (job.order, body)));
            query = query
                .bind(signed(job.order))
                .bind(signed(job.ending.map_or(0, |ending| ending.number)))
                .bind(key(job.id))
                .bind(number_of(job.state))
                .bind(job.spec.class.clone())
                .bind(job.spec.submitter.clone())
                .bind(search(job))
                .bind(head);
        }
        query.execute(&mut *write).await?;
    }
    for bodies in bodies.chunks(INSERT_ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO bodies (ord, body) ");
        query.push_values(bodies, |mut values, (order, body)| {
            values.push_bind(signed(*order)).push_bind((*body).clone());
        });
        query.build().persistent(false).execute(&mut *write).await?;
    }
    let labels: Vec<(u64, &String, &String)> = jobs
        .values()
        .flat_map(|job| job.spec.labels.iter().map(|(name, value)| (job.order, name, value)))
        .collect();
    for labels in labels.chunks(INSERT_ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO labels (name, value, ord) ");
        query.push_values(labels, |mut values, (order, name, value)| {
            values.push_bind((*name).clone()).push_bind((*value).clone()).push_bind(signed(*order));
        });
        query.build().persistent(false).execute(&mut *write).await?;
    }
    Ok(())
}

/// Number of the last fact about the last job that had ended by then; 0: none is known.
async fn last_fact_of_end(read: &mut SqliteConnection, upto: u64) -> Result<u64, sqlx::Error> {
    let sql = "SELECT ord, head FROM jobs WHERE ended <= ? ORDER BY ended DESC LIMIT 1";
    let Some(row) = sqlx::query(sql).bind(signed(upto)).fetch_optional(&mut *read).await? else {
        return Ok(0);
    };
    let (order, head): (i64, Vec<u8>) = (row.try_get("ord")?, row.try_get("head")?);
    let damaged = || sqlx::Error::Decode(format!("job {order} is damaged").into());
    let job = Row::read(&head, None).ok_or_else(damaged)?;
    let facts = facts::of_job(read, job.id, Some(&job), usize::MAX).await?;
    Ok(facts.into_keys().last().unwrap_or(0))
}

/// Takes out the jobs that ended first, with their labels, bodies and marks.
async fn forget_until(write: &mut SqliteConnection, after: u64, upto: u64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM fact_marks WHERE job IN (SELECT id FROM jobs WHERE ended <= ?)")
        .bind(signed(upto))
        .execute(&mut *write)
        .await?;
    for table in ["labels", "bodies"] {
        let sql = format!("DELETE FROM {table} WHERE ord IN (SELECT ord FROM jobs WHERE ended > ");
        let mut query = QueryBuilder::<Sqlite>::new(sql);
        query.push_bind(signed(after)).push(" AND ended <= ").push_bind(signed(upto)).push(")");
        query.build().persistent(false).execute(&mut *write).await?;
    }
    sqlx::query("DELETE FROM jobs WHERE ended <= ?").bind(signed(upto)).execute(write).await.map(drop)
}

/// SQLite's numbers are signed; ours stay far below their bound.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An id as the tables hold it.
pub(super) fn key(id: JobId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}
