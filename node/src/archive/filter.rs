//! What a list of jobs is narrowed by, for jobs in memory and for rows alike.

use protocol::{Job, JobState};
use sqlx::{QueryBuilder, Sqlite};

/// Each kind of wish must fit, of several states one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) states: Vec<JobState>,
    pub(crate) class: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) submitter: Option<String>,
    /// In small letters.
    pub(crate) text: Option<String>,
}

impl Filter {
    pub(crate) fn fits(&self, job: &Job) -> bool {
        let spec = &job.spec;
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.class.as_ref().is_none_or(|class| *class == spec.class)
            && self.submitter.as_ref().is_none_or(|submitter| *submitter == spec.submitter)
            && self.labels.iter().all(|(name, value)| spec.labels.get(name) == Some(value))
            && self.text.as_ref().is_none_or(|text| search(job).contains(text))
    }

    /// The same as conditions on the table of jobs, each led by `AND`, for places from `first` to below `end`.
    pub(super) fn push(&self, query: &mut QueryBuilder<Sqlite>, (first, end): (i64, i64)) {
        if !self.states.is_empty() {
            query.push(" AND state IN (");
            let mut list = query.separated(", ");
            for state in &self.states {
                list.push_bind(number_of(*state));
            }
            query.push(")");
        }
        if let Some(class) = &self.class {
            query.push(" AND class = ").push_bind(class.clone());
        }
        if let Some(submitter) = &self.submitter {
            query.push(" AND submitter = ").push_bind(submitter.clone());
        }
        for (name, value) in &self.labels {
            query.push(" AND ord IN (SELECT ord FROM labels WHERE name = ").push_bind(name.clone());
            query.push(" AND value = ").push_bind(value.clone());
            query.push(" AND ord >= ").push_bind(first).push(" AND ord < ").push_bind(end).push(")");
        }
        if let Some(text) = &self.text {
            query.push(" AND instr(search, ").push_bind(text.clone()).push(") > 0");
        }
    }
}

/// What `q` looks at: id, class, submitter and labels, in small letters, a line each.
pub(super) fn search(job: &Job) -> String {
    let spec = &job.spec;
    let mut text = format!("{}\n{}\n{}", job.id, spec.class, spec.submitter);
    for (name, value) in &spec.labels {
        text.push('\n');
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text.to_lowercase()
}

/// The number a state has in the table, for ever.
pub(super) fn number_of(state: JobState) -> i64 {
    match state {
        JobState::Scheduled => 0,
        JobState::Blocked => 1,
        JobState::Queued => 2,
        JobState::Running => 3,
        JobState::Succeeded => 4,
        JobState::Failed => 5,
        JobState::Cancelled => 6,
    }
}
