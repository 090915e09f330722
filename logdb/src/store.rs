//! Where lines are kept: SQLite, written by one task, read by anybody.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::JobId;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{QueryBuilder, Row as _, SqlSafeStr as _, Sqlite, SqliteConnection};

use crate::arrived::{Arrived, Kept};
use crate::limits;
use crate::record::{Level, Record, now_ms};

const LINES_SQL: &str = include_str!("store/001_lines.sql");
const COLUMNS: &str =
    "SELECT n, source, seq, time_ms, level, event, job, node, container, message FROM lines";

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its folder cannot be made.
    #[error("making the folder of the log store {}: {cause}", path.display())]
    Folder {
        /// The database's file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It cannot be opened.
    #[error("opening the log store {}: {cause}", path.display())]
    Open {
        /// The database's file.
        path: PathBuf,
        /// Why.
        cause: sqlx::Error,
    },
    /// Its tables cannot be made or are of a later version.
    #[error("preparing the tables of the log store {}: {cause}", path.display())]
    Tables {
        /// The database's file.
        path: PathBuf,
        /// Why.
        cause: MigrateError,
    },
    /// It cannot be read or written now.
    #[error("using the log store: {0}")]
    Use(#[from] sqlx::Error),
}

/// Which lines are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) job: Option<JobId>,
    pub(crate) node: Option<String>,
    /// That loud or louder.
    pub(crate) level: Option<Level>,
    /// Only numbers below.
    pub(crate) before: Option<u64>,
    /// Only numbers above.
    pub(crate) after: Option<u64>,
    pub(crate) limit: usize,
}

/// A handle on the store; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
    id: Arc<str>,
}

impl Store {
    /// Opens the database at `path`, and makes it when there is none.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let own = || path.to_path_buf();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|cause| StoreError::Folder { path: own(), cause })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_millis(limits::STORE_BUSY_MS));
        let pool =
            SqlitePoolOptions::new().max_connections(limits::STORE_CONNECTIONS).connect_with(options).await;
        let pool = pool.map_err(|cause| StoreError::Open { path: own(), cause })?;
        let first =
            Migration::new(1, Cow::Borrowed("lines"), MigrationType::Simple, LINES_SQL.into_sql_str(), false);
        let tables = Migrator::with_migrations(vec![first]).run(&pool).await;
        tables.map_err(|cause| StoreError::Tables { path: own(), cause })?;
        sqlx::query("INSERT INTO about (id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM about)")
            .bind(format!("store-{:x}", now_ms()))
            .execute(&pool)
            .await?;
        let id: String = sqlx::query_scalar("SELECT id FROM about").fetch_one(&pool).await?;
        Ok(Self { pool, id: Arc::from(id) })
    }

    /// Which store numbers these lines.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Keeps what is not kept yet, all or nothing, and says what that was, in order. Called by one task alone.
    pub(crate) async fn append(&self, arrived: Vec<Arrived>) -> Result<Vec<Kept>, StoreError> {
        let mut write = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut known = known(&mut write, &arrived).await?;
        let last: i64 =
            sqlx::query_scalar("SELECT coalesce(max(n), 0) FROM lines").fetch_one(&mut *write).await?;
        let mut n = last.unsigned_abs();
        let mut kept = Vec::with_capacity(arrived.len());
        for mut line in arrived {
            if line.is_numbered() && !known.insert((Arc::clone(&line.record.source), line.record.seq)) {
                continue;
            }
            n += 1;
            if !line.is_numbered() {
                line.record.seq = n;
            }
            kept.push(Kept { n, container: line.number, record: line.record });
        }
        for lines in kept.chunks(limits::STORE_ROWS) {
            insert(&mut write, lines).await?;
        }
        write.commit().await?;
        Ok(kept)
    }

    /// Lets the oldest lines go when there are more than `most`.
    pub(crate) async fn shorten(&self, most: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM lines WHERE n <= (SELECT max(n) FROM lines) - ?")
            .bind(number(most))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Numbers of the oldest and of the newest line; 0 when there is none.
    pub(crate) async fn bounds(&self) -> Result<(u64, u64), StoreError> {
        let row =
            sqlx::query("SELECT (SELECT min(n) FROM lines) AS first, (SELECT max(n) FROM lines) AS last");
        let row = row.fetch_one(&self.pool).await?;
        let bound = |name: &str| row.try_get::<Option<i64>, _>(name).map(|n| n.unwrap_or(0).unsigned_abs());
        Ok((bound("first")?, bound("last")?))
    }

    /// What is wanted, oldest first: the newest `limit` of them, or, with `after`, the oldest `limit` above that.
    pub(crate) async fn find(&self, wanted: &Wanted) -> Result<Vec<Kept>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
        query.push(" WHERE n > ").push_bind(number(wanted.after.unwrap_or(0)));
        if let Some(before) = wanted.before {
            query.push(" AND n < ").push_bind(number(before));
        }
        if let Some(job) = wanted.job {
            query.push(" AND job = ").push_bind(job.to_string());
        }
        if let Some(node) = &wanted.node {
            query.push(" AND node = ").push_bind(node.clone());
        }
        if let Some(level) = wanted.level {
            query.push(" AND level >= ").push_bind(level_number(level));
        }
        let from_old = wanted.after.is_some() && wanted.before.is_none();
        query.push(if from_old { " ORDER BY n LIMIT " } else { " ORDER BY n DESC LIMIT " });
        query.push_bind(number(wanted.limit as u64));
        let rows = query.build().persistent(false).fetch_all(&self.pool).await?;
        let mut lines: Vec<Kept> = rows.iter().map(read).collect::<Result<_, _>>()?;
        if !from_old {
            lines.reverse();
        }
        Ok(lines)
    }

    /// Ends it: what is written is on disk in one file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Which of these are kept already.
async fn known(
    read: &mut SqliteConnection,
    arrived: &[Arrived],
) -> Result<BTreeSet<(Arc<str>, u64)>, sqlx::Error> {
    let mut by_source: BTreeMap<&Arc<str>, Vec<u64>> = BTreeMap::new();
    for line in arrived.iter().filter(|line| line.is_numbered()) {
        by_source.entry(&line.record.source).or_default().push(line.record.seq);
    }
    let mut known = BTreeSet::new();
    for (source, seqs) in by_source {
        for seqs in seqs.chunks(limits::STORE_ROWS) {
            let mut query = QueryBuilder::<Sqlite>::new("SELECT seq FROM lines WHERE source = ");
            query.push_bind(source.to_string()).push(" AND seq IN (");
            let mut list = query.separated(", ");
            for seq in seqs {
                list.push_bind(number(*seq));
            }
            query.push(")");
            let found: Vec<i64> = query.build_query_scalar().persistent(false).fetch_all(&mut *read).await?;
            known.extend(found.into_iter().map(|seq| (Arc::clone(source), seq.unsigned_abs())));
        }
    }
    Ok(known)
}

async fn insert(write: &mut SqliteConnection, lines: &[Kept]) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO lines (n, source, seq, time_ms, level, event, job, node, container, message) ",
    );
    query.push_values(lines, |mut row, Kept { n, container, record }| {
        row.push_bind(number(*n))
            .push_bind(record.source.to_string())
            .push_bind(number(record.seq))
            .push_bind(number(record.time_ms))
            .push_bind(level_number(record.level))
            .push_bind(record.event.to_string())
            .push_bind(record.job.map(|job| job.to_string()))
            .push_bind(record.node.to_string())
            .push_bind(container.map(i64::from))
            .push_bind(record.message.clone());
    });
    query.build().persistent(false).execute(write).await.map(drop)
}

fn read(row: &SqliteRow) -> Result<Kept, sqlx::Error> {
    let integer = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    let text = |name: &str| row.try_get::<String, _>(name);
    let job: Option<String> = row.try_get("job")?;
    let container: Option<i64> = row.try_get("container")?;
    let record = Record {
        source: Arc::from(text("source")?),
        seq: integer("seq")?,
        time_ms: integer("time_ms")?,
        level: level_of(integer("level")?),
        event: Cow::Owned(text("event")?),
        // Only ids were ever written there; a damaged one is shown as none.
        job: job.and_then(|job| job.parse().ok()),
        node: Arc::from(text("node")?),
        message: text("message")?,
    };
    Ok(Kept { n: integer("n")?, container: container.and_then(|n| u32::try_from(n).ok()), record })
}

/// SQLite's numbers are signed; ours stay far below their bound.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn level_number(level: Level) -> i64 {
    match level {
        Level::Debug => 0,
        Level::Info => 1,
        Level::Warn => 2,
        Level::Error => 3,
    }
}

fn level_of(number: u64) -> Level {
    match number {
        0 => Level::Debug,
        1 => Level::Info,
        2 => Level::Warn,
        _ => Level::Error,
    }
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
