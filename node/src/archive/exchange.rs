//! What one node's archive tells another's: ended jobs and facts by their numbers, a page at a time.

use bytes::Bytes;
use protocol::{Fact, native};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;

use super::Archive;
use super::error::ArchiveError;
use super::holes::Kind;
use super::limits::{PAGE_BYTES, PAGE_ROWS};
use super::store::signed;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Jobs whose ends have these numbers.
    Ends {
        /// The first is above this.
        after: u64,
        /// The last is at most this.
        upto: u64,
    },
    /// Facts of these numbers.
    Facts {
        /// The first is above this.
        after: u64,
        /// The last is at most this.
        upto: u64,
    },
    /// A part of what is long of a job.
    Body {
        /// The job's place in the order of acceptance.
        order: u64,
        /// Bytes that the asker has.
        offset: u64,
    },
}

/// What is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// All jobs of the numbers asked for up to `through`, apart from those that are forgotten.
    Ends { through: u64, rows: Vec<Sent> },
    /// All facts likewise; those up to `forgotten` are.
    Facts { through: u64, forgotten: u64, facts: Vec<Fact> },
    /// A part, and how long the whole is.
    Body { whole_bytes: u64, part: Vec<u8> },
}

/// A row on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) order: u64,
    pub(super) head: Vec<u8>,
    pub(super) body: SentBody,
}

/// What is long of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SentBody {
    /// Nothing.
    None,
    /// This.
    Whole(Vec<u8>),
    /// To be asked for by itself.
    Long,
}

impl Archive {
    /// Answers another node from what is written here; at most a page, and never past what is missing here.
    ///
    /// # Errors
    /// The archive cannot be read now, or there is nothing to tell.
    pub(crate) async fn answer(&self, question: Question) -> Result<Bytes, ArchiveError> {
        let answer = match question {
            Question::Ends { after, upto } => self.ends(after, upto).await?,
            Question::Facts { after, upto } => self.facts(after, upto).await?,
            Question::Body { order, offset } => self.body(order, offset).await?,
        };
        Ok(Bytes::from(native::encode(&answer)))
    }

    /// How far can be told from here.
    fn reach(&self, kind: Kind, after: u64, upto: u64) -> u64 {
        let progress = self.0.progress.borrow();
        let known = match kind {
            Kind::Ends => progress.last_end,
            Kind::Facts => progress.last_fact,
        };
        let hole = progress.holes.iter().find(|hole| hole.kind == kind && hole.last > after);
        let before_hole = hole.map_or(known, |hole| hole.first.saturating_sub(1));
        upto.min(known).min(before_hole)
    }

    async fn ends(&self, after: u64, upto: u64) -> Result<Answer, ArchiveError> {
        let reach = self.reach(Kind::Ends, after, upto);
        let sql = "SELECT jobs.ord, ended, head, length(body) AS bytes, CASE WHEN length(body) <= ? THEN body END AS body \
                   FROM jobs LEFT JOIN bodies ON bodies.ord = jobs.ord \
                   WHERE ended > ? AND ended <= ? ORDER BY ended LIMIT ?";
        let half = signed(PAGE_BYTES / 2);
        let found =
            sqlx::query(sql).bind(half).bind(signed(after)).bind(signed(reach)).bind(signed(PAGE_ROWS));
        let found = found.fetch_all(&self.0.pool).await?;
        let (mut rows, mut bytes, mut through) = (Vec::new(), 0, after);
        let is_all = (found.len() as u64) < PAGE_ROWS;
        for row in &found {
            let head: Vec<u8> = row.try_get("head")?;
            let body =
                match (row.try_get::<Option<i64>, _>("bytes")?, row.try_get::<Option<Vec<u8>>, _>("body")?) {
                    (None, _) => SentBody::None,
                    (Some(_), Some(body)) => SentBody::Whole(body),
                    (Some(_), None) => SentBody::Long,
                };
            let body_bytes = if let SentBody::Whole(body) = &body { body.len() } else { 0 };
            bytes += (head.len() + body_bytes + 32) as u64;
            if bytes > PAGE_BYTES && !rows.is_empty() {
                return Ok(Answer::Ends { through, rows });
            }
            through = row.try_get::<i64, _>("ended")?.unsigned_abs();
            rows.push(Sent { order: row.try_get::<i64, _>("ord")?.unsigned_abs(), head, body });
        }
        Ok(Answer::Ends { through: if is_all { reach.max(after) } else { through }, rows })
    }

    async fn facts(&self, after: u64, upto: u64) -> Result<Answer, ArchiveError> {
        let reach = self.reach(Kind::Facts, after, upto);
        let forgotten = self.0.progress.borrow().forgotten_facts;
        let found = self.facts_after(after, PAGE_ROWS as usize).await?;
        let facts: Vec<Fact> = found.facts.into_iter().filter(|fact| fact.number <= reach).collect();
        let last = facts.last().map_or(forgotten.max(after), |fact| fact.number);
        Ok(Answer::Facts { through: last.min(upto), forgotten, facts })
    }

    async fn body(&self, order: u64, offset: u64) -> Result<Answer, ArchiveError> {
        let sql = "SELECT length(body) AS bytes, substr(body, ?, ?) AS part FROM bodies WHERE ord = ?";
        let row = sqlx::query(sql).bind(signed(offset + 1)).bind(signed(PAGE_BYTES)).bind(signed(order));
        let row = row.fetch_optional(&self.0.pool).await?.ok_or(ArchiveError::Damaged { order })?;
        let whole_bytes = row.try_get::<i64, _>("bytes")?.unsigned_abs();
        Ok(Answer::Body { whole_bytes, part: row.try_get("part")? })
    }
}
