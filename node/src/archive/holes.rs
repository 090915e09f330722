//! Which ends and facts are not in the archive although the ledger has gone past them: a node that was brought up by a
//! snapshot never saw them applied. Both are numbered without holes, so that what is missing is known to the last one.

use sqlx::{Row as _, SqliteConnection};

use super::store::signed;

/// What is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Ends of jobs.
    Ends,
    /// Facts.
    Facts,
}

/// Numbers that are missing, both bounds among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hole {
    pub(crate) kind: Kind,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holes(Vec<Hole>);

impl Holes {
    pub(super) async fn read(read: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let rows =
            sqlx::query("SELECT kind, first, last FROM missing ORDER BY kind, first").fetch_all(read).await?;
        let mut holes = Vec::with_capacity(rows.len());
        for row in rows {
            let kind = if row.try_get::<i64, _>("kind")? == 0 { Kind::Ends } else { Kind::Facts };
            let number = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
            holes.push(Hole { kind, first: number("first")?, last: number("last")? });
        }
        Ok(Self(holes))
    }

    pub(super) async fn write(&self, write: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM missing").execute(&mut *write).await?;
        for Hole { kind, first, last } in &self.0 {
            sqlx::query("INSERT INTO missing (kind, first, last) VALUES (?, ?, ?)")
                .bind(if *kind == Kind::Ends { 0 } else { 1 })
                .bind(signed(*first))
                .bind(signed(*last))
                .execute(&mut *write)
                .await?;
        }
        Ok(())
    }

    pub(super) fn all(&self) -> &[Hole] {
        &self.0
    }

    /// Whether this number is missing.
    pub(super) fn lack(&self, kind: Kind, number: u64) -> bool {
        self.0.iter().any(|hole| hole.kind == kind && (hole.first..=hole.last).contains(&number))
    }

    /// The ledger went from one number to another, and these came: rising, each once.
    pub(super) fn came(&mut self, kind: Kind, before: u64, after: u64, came: impl IntoIterator<Item = u64>) {
        if after > before {
            self.0.push(Hole { kind, first: before + 1, last: after });
        }
        let mut runs = came.into_iter().peekable();
        while let Some(first) = runs.next() {
            let mut last = first;
            while runs.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            self.fill(kind, first, last);
        }
    }

    /// Everything up to this number is forgotten: it is not missed any more.
    pub(super) fn forget(&mut self, kind: Kind, upto: u64) {
        self.fill(kind, 0, upto);
    }

    fn fill(&mut self, kind: Kind, first: u64, last: u64) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for hole in self.0.drain(..) {
            if hole.kind != kind || hole.last < first || hole.first > last {
                left.push(hole);
                continue;
            }
            if hole.first < first {
                left.push(Hole { last: first - 1, ..hole });
            }
            if hole.last > last {
                left.push(Hole { first: last + 1, ..hole });
            }
        }
        left.sort_unstable();
        self.0 = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(holes: &Holes, kind: Kind) -> Vec<(u64, u64)> {
        holes.all().iter().filter(|h| h.kind == kind).map(|h| (h.first, h.last)).collect()
    }

    #[test]
    fn what_the_ledger_jumped_over_is_missing_until_it_comes() {
        let mut missing = Holes::default();
        missing.came(Kind::Ends, 0, 3, [1, 2, 3]);
        assert_eq!(missing.all(), []);
        missing.came(Kind::Ends, 3, 20, [15, 16, 19, 20]);
        missing.came(Kind::Facts, 0, 2, []);
        assert_eq!(holes(&missing, Kind::Ends), [(4, 14), (17, 18)]);
        missing.came(Kind::Ends, 20, 20, [5, 6, 14]);
        assert_eq!(holes(&missing, Kind::Ends), [(4, 4), (7, 13), (17, 18)]);
        missing.forget(Kind::Ends, 9);
        assert_eq!(holes(&missing, Kind::Ends), [(10, 13), (17, 18)]);
        assert_eq!(holes(&missing, Kind::Facts), [(1, 2)]);
        missing.came(Kind::Ends, 20, 20, 10..=18);
        assert_eq!(holes(&missing, Kind::Ends), []);
    }
}
