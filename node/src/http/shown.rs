//! How jobs and nodes look as JSON on the public surface. Times are RFC 3339 in UTC, nodes are named, bytes that are not text are base64.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use master::Ledger;
use protocol::{Attempt, AttemptRef, End, Job, JobState, Member, NodeId, NodeLoad, Outcome};
use serde::Serialize;

use super::limits::{EXCERPT_CHARS, LIST_OUTPUT_BYTES};
use crate::archive::Listed;
use crate::ask::{Held, View};

/// Room for an answer at first; one job fits.
const ANSWER_BYTES: usize = 1 << 10;
/// Room for its headers: a map that grows is made up anew.
const ANSWER_HEADERS: usize = 16;

/// How much of a job is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// In a list: long outputs are left out.
    Listed,
    /// In an event: no output at all.
    Event,
}

#[derive(Serialize)]
pub(crate) struct JobShown<'a> {
    id: String,
    class: &'a str,
    state: &'static str,
    reason: Option<&'static str>,
    text: Option<Cow<'a, str>>,
    not_before: Option<String>,
    priority: u8,
    labels: &'a BTreeMap<String, String>,
    requires: &'a BTreeMap<String, String>,
    submitter: &'a str,
    batch: Option<String>,
    retry_of: Option<String>,
    payload_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_excerpt: Option<Cow<'a, str>>,
    submitted_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    progress: Progress,
    attempts: Vec<AttemptShown>,
    result: Option<ResultShown>,
    rev: String,
    /// What whoever submitted it should know besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

#[derive(Serialize)]
struct Progress {
    value: Option<f64>,
    text: Option<String>,
}

#[derive(Serialize)]
struct AttemptShown {
    number: u32,
    node: String,
    term: u64,
    state: &'static str,
    reason: Option<&'static str>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    started_at: String,
    finished_at: Option<String>,
    cpu_ms: Option<u64>,
    memory_peak_bytes: Option<u64>,
    /// Why it went there.
    why: Option<Note>,
    /// Why what it brought back was not taken.
    refused: Option<Note>,
}

/// Something about an attempt, for programs and for people.
#[derive(Serialize)]
struct Note {
    code: &'static str,
    text: String,
}

#[derive(Serialize)]
struct ResultShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_base64: Option<Option<String>>,
    output_bytes: u64,
    truncated: bool,
    exit_code: Option<i32>,
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<FileShown>>,
}

/// A file of a result; its bytes are at `/jobs/{id}/files/{name}`.
#[derive(Serialize)]
struct FileShown {
    name: String,
    bytes: u64,
}

/// The job, as everybody sees it.
pub(super) fn job<'a>(job: &'a Job, ledger: &Ledger, extent: Extent) -> JobShown<'a> {
    job_named(job, &|id| node_name(ledger, id), extent)
}

#[expect(clippy::float_arithmetic, reason = "only shown")]
fn fraction(permille: u16) -> f64 {
    f64::from(permille) / 1_000.0
}

impl JobShown<'_> {
    /// With what its submitter should know besides.
    pub(super) fn with_warning(self, warning: Option<String>) -> Self {
        Self { warning, ..self }
    }

    /// With what its running attempt last said of itself, as far as this node has heard.
    pub(super) fn with_progress(self, job: &Job, roster: &[NodeLoad]) -> Self {
        let current =
            job.current().map(|current| (current.node, AttemptRef { job: job.id, attempt: current.number }));
        let said = current.and_then(|(node, attempt)| {
            let line = roster.iter().find(|line| line.id == node)?;
            line.progress.iter().find(|said| said.attempt == attempt)
        });
        match said {
            Some(said) => {
                let value = Some(fraction(said.permille));
                Self { progress: Progress { value, text: Some(said.text.clone()) }, ..self }
            }
            None => self,
        }
    }
}

/// The job in a list: what is long of it may not be at hand.
pub(super) fn listed<'a>(listed: &'a Listed, view: &View) -> JobShown<'a> {
    let shown = job(&listed.job, &view.ledger, Extent::Listed).with_progress(&listed.job, &view.roster);
    JobShown { payload_bytes: listed.payload_bytes, ..shown }
}

/// The same, for a job that came with the members of its time.
pub(super) fn held(held: &Held) -> JobShown<'_> {
    let named = |id: NodeId| held.members.iter().find(|member| member.id == id).map(|member| &member.name);
    job_named(&held.job, &|id| named(id).cloned().unwrap_or_else(|| id.to_string()), Extent::Whole)
}

/// The same, with nodes named by `name`.
pub(crate) fn job_named<'a>(job: &'a Job, name: &dyn Fn(NodeId) -> String, extent: Extent) -> JobShown<'a> {
    let spec = &job.spec;
    JobShown {
        id: job.id.to_string(),
        class: &spec.class,
        state: job.state.word(),
        reason: job.reason.map(protocol::Reason::word),
        text: text(job, name),
        not_before: job.not_before_wall_ms.map(time),
        priority: spec.priority,
        labels: &spec.labels,
        requires: &spec.requires,
        submitter: &spec.submitter,
        batch: None,
        retry_of: spec.more.retry_of.map(|id| id.to_string()),
        payload_bytes: spec.payload.len() as u64,
        payload_excerpt: (extent != Extent::Event).then(|| excerpt(&spec.payload)),
        submitted_at: time(job.submitted_wall_ms),
        started_at: job.started_wall_ms.map(time),
        finished_at: job.finished_wall_ms.map(time),
        progress: Progress { value: None, text: None },
        attempts: job.attempts.iter().map(|a| attempt(a, name)).collect(),
        result: job.state.is_terminal().then(|| result(job, extent)),
        rev: job.rev.to_string(),
        warning: None,
    }
}

/// One sentence on where it stands.
fn text<'a>(job: &'a Job, name: &dyn Fn(NodeId) -> String) -> Option<Cow<'a, str>> {
    let text = match job.state {
        JobState::Scheduled => "waits before its next attempt".into(),
        JobState::Blocked => "waits for other jobs".into(),
        JobState::Queued => "waits for a worker".into(),
        JobState::Running => {
            let at = job.attempts.last().map(|a| name(a.node)).unwrap_or_default();
            format!("runs on {at}").into()
        }
        JobState::Succeeded => return None,
        JobState::Failed => match job.result.as_ref().and_then(|outcome| outcome.error.as_deref()) {
            Some(error) => error.into(),
            None => {
                let reason = job.reason.map_or("for no known reason", protocol::Reason::word);
                format!("failed: {reason}").into()
            }
        },
        JobState::Cancelled => "cancelled on request".into(),
    };
    Some(text)
}

fn attempt(attempt: &Attempt, name: &dyn Fn(NodeId) -> String) -> AttemptShown {
    AttemptShown {
        number: attempt.number,
        node: name(attempt.node),
        term: attempt.term,
        state: attempt.state.word(),
        reason: attempt.reason.map(protocol::Reason::word),
        exit_code: attempt.exit_code,
        signal: attempt.signal,
        started_at: time(attempt.started_wall_ms),
        finished_at: attempt.finished_wall_ms.map(time),
        cpu_ms: attempt.cpu_ms,
        memory_peak_bytes: attempt.more.memory_peak_bytes,
        why: attempt.more.why.map(|why| Note { code: why.word(), text: why.text() }),
        refused: attempt.refused().map(|why| Note { code: why.word(), text: why.text().to_string() }),
    }
}

/// A job that ended without running has an empty result, so that readers need no third case.
fn result(job: &Job, extent: Extent) -> ResultShown {
    let none = Outcome::failure(job.reason.unwrap_or(protocol::Reason::Exit), String::new());
    let (outcome, error) = match &job.result {
        Some(outcome) => (&**outcome, outcome.error.clone()),
        None => (&none, Some(format!("it ended as {} without a result", job.state.word()))),
    };
    let shown = match extent {
        Extent::Whole => true,
        Extent::Listed => outcome.output.len() <= LIST_OUTPUT_BYTES,
        Extent::Event => false,
    };
    let as_text = std::str::from_utf8(&outcome.output).ok().map(str::to_string);
    let as_base64 =
        as_text.is_none().then(|| base64::engine::general_purpose::STANDARD.encode(&outcome.output));
    let error = match outcome.end {
        End::Success => error,
        End::Failure(reason) => error.or_else(|| Some(format!("failed: {}", reason.word()))),
    };
    ResultShown {
        output: shown.then_some(as_text),
        output_base64: shown.then_some(as_base64),
        output_bytes: outcome.output_bytes,
        truncated: outcome.truncated,
        exit_code: outcome.exit_code,
        error,
        files: (extent == Extent::Whole).then(|| files(outcome)),
    }
}

fn files(outcome: &Outcome) -> Vec<FileShown> {
    let shown =
        |(name, bytes): (&String, &bytes::Bytes)| FileShown { name: name.clone(), bytes: bytes.len() as u64 };
    outcome.files.iter().map(shown).collect()
}

/// The beginning of a payload, for lists.
fn excerpt(payload: &[u8]) -> Cow<'_, str> {
    let head = String::from_utf8_lossy(&payload[..payload.len().min(EXCERPT_CHARS * 4)]);
    // So many bytes are at most so many characters.
    if head.len() <= EXCERPT_CHARS {
        return head;
    }
    let end = head.char_indices().nth(EXCERPT_CHARS).map_or(head.len(), |(at, _)| at);
    match head {
        Cow::Borrowed(head) => Cow::Borrowed(&head[..end]),
        Cow::Owned(mut head) => {
            head.truncate(end);
            Cow::Owned(head)
        }
    }
}

#[derive(Serialize)]
pub(super) struct NodeShown {
    pub(super) id: String,
    pub(super) name: String,
    url: String,
    role: &'static str,
    voter: bool,
    pub(super) alive: bool,
    pub(super) stopped: bool,
    draining: bool,
    cpu_percent: u32,
    memory_used_bytes: u64,
    memory_total_bytes: u64,
    slots: u32,
    running: u32,
    classes: BTreeSet<String>,
    headers: BTreeMap<String, BTreeSet<String>>,
    resources: BTreeMap<String, Amount>,
    version: Option<&'static str>,
}

/// A number down to thousandths; a whole one is shown as such.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    Whole(u64),
    Part(f64),
}

/// Thousandths as numbers people read.
#[expect(clippy::float_arithmetic, reason = "only shown")]
pub(crate) fn amounts(thousandths: &BTreeMap<String, u64>) -> BTreeMap<String, Amount> {
    let amount = |milli: u64| match milli % 1_000 {
        0 => Amount::Whole(milli / 1_000),
        _ => Amount::Part(milli as f64 / 1_000.0),
    };
    thousandths.iter().map(|(name, milli)| (name.clone(), amount(*milli))).collect()
}

/// A member as everybody sees it. `stopped`: its HTTP said so.
pub(super) fn node(member: &Member, view: &View, stopped: bool) -> NodeShown {
    let line: Option<&NodeLoad> = view.roster.iter().find(|line| line.id == member.id);
    let load = line.map(|line| line.load).unwrap_or_default();
    let offer = line.map(|line| line.offer.clone()).unwrap_or_default();
    let is_self = member.id == view.node;
    let is_leader = view.leader == Some(member.id);
    NodeShown {
        id: member.id.to_string(),
        name: member.name.clone(),
        url: format!("http://{}", member.http),
        role: role(is_leader),
        voter: view.voters.contains(&member.id),
        alive: is_self || is_leader || line.is_some_and(|line| line.alive),
        stopped,
        draining: offer.draining || view.ledger.is_draining(member.id),
        cpu_percent: (u64::from(load.cpu_used_milli) * 100 / u64::from(load.cpu_total_milli.max(1))) as u32,
        memory_used_bytes: load.memory_used_bytes,
        memory_total_bytes: load.memory_total_bytes,
        slots: offer.slots,
        running: line.map_or(0, |line| line.running),
        classes: offer.served().map(String::from).collect(),
        headers: offer.headers,
        resources: amounts(&offer.resources),
        version: is_self.then_some(env!("CARGO_PKG_VERSION")),
    }
}

pub(super) fn role(is_leader: bool) -> &'static str {
    if is_leader { "leader" } else { "worker" }
}

/// The name of a node, or its id when the ledger does not know it (any more).
pub(super) fn node_name(ledger: &Ledger, id: NodeId) -> String {
    ledger.member(id).map_or_else(|| id.to_string(), |member| member.name.clone())
}

/// The hosts by which members may be addressed.
pub(super) fn member_hosts(ledger: &Ledger) -> Vec<String> {
    let mut hosts = Vec::new();
    for member in ledger.members() {
        hosts.push(member.name.clone());
        hosts.push(member.http.rsplit_once(':').map_or(member.http.as_str(), |(host, _)| host).to_string());
    }
    hosts
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn time(wall_ms: u64) -> String {
    let last_writable_ms = 253_402_300_799_999; // the end of the year 9999
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(wall_ms.min(last_writable_ms)))
        .to_string()
}

/// A body of JSON. Our own values always serialise: no foreign keys, no failing `Serialize`.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    let mut bytes = Vec::with_capacity(ANSWER_BYTES);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => {}
        Err(error) => unreachable!("our own values always serialise: {error}"),
    }
    let mut response = Response::new(Body::from(bytes));
    let mut headers = HeaderMap::with_capacity(ANSWER_HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_first_characters_of_whatever_bytes_there_are() {
        let long = "ä".repeat(EXCERPT_CHARS + 1);
        for (payload, shown) in [
            (b"" as &[u8], String::new()),
            (b"hello", "hello".to_string()),
            (&[b'x'; EXCERPT_CHARS], "x".repeat(EXCERPT_CHARS)),
            (&[b'x'; 5 * EXCERPT_CHARS], "x".repeat(EXCERPT_CHARS)),
            (long.as_bytes(), "ä".repeat(EXCERPT_CHARS)),
            (b"a\xffb", "a\u{fffd}b".to_string()),
            (&[0xff; 5 * EXCERPT_CHARS], "\u{fffd}".repeat(EXCERPT_CHARS)),
        ] {
            assert_eq!(excerpt(payload), shown);
        }
    }
}
