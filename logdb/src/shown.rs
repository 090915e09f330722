//! `GET /logging`: a container's own log for people, browsers and programs. It needs nothing but this process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query as Pairs, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream, StreamExt as _};

use crate::limits;
use crate::page::{self, Line};
use crate::query::{Format, Query, Source};
use crate::record::Record;
use crate::ring::Log;

/// Facts of the ledger as records, asked for by `(after, limit)`: the oldest `limit` above `after`; without `after` the newest.
pub type ClusterSource = Arc<dyn Fn(Option<u64>, usize) -> BoxFuture<'static, ClusterPage> + Send + Sync>;

/// Some facts of the ledger, in order.
#[derive(Clone, Debug, Default)]
pub struct ClusterPage {
    /// Number of the oldest that can be had; 0: none.
    pub first: u64,
    /// Number of the newest.
    pub last: u64,
    /// Those asked for.
    pub records: Vec<Record>,
}

/// The routes `/logging`, `/logging/live.js` and `/logging/live.css`, ready to be merged into any server.
/// `cluster` serves `?source=cluster`; without it that is 404.
pub fn logging_router(log: Log, cluster: Option<ClusterSource>) -> Router {
    Router::new().route("/logging", get(logging)).with_state(Shown { log, cluster }).merge(page::assets())
}

#[derive(Clone)]
struct Shown {
    log: Log,
    cluster: Option<ClusterSource>,
}

async fn logging(
    State(shown): State<Shown>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let query = match Query::read(&pairs) {
        Ok(query) => query,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let earlier = query.incarnation.as_deref().filter(|wanted| *wanted != shown.log.incarnation());
    match (query.source, earlier) {
        (Source::Cluster, _) => shown.cluster_lines(&query).await,
        (Source::Own, Some(incarnation)) => shown.earlier(incarnation, &query).await,
        (Source::Own, None) if query.format.is_none() && !query.follow && wants_html(&headers) => {
            let lines: Vec<Line> = shown.select(&query).iter().map(|record| line(record)).collect();
            let has_ledger = shown.cluster.is_some();
            let body = page::page(shown.log.name(), shown.log.incarnation(), &lines, has_ledger);
            guarded(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body))
        }
        (Source::Own, None) => shown.own(&query),
    }
}

impl Shown {
    fn select(&self, query: &Query) -> Vec<Arc<Record>> {
        match query.after {
            Some(seq) => self.log.after(seq, query.limit),
            None => self.log.newest(query.limit),
        }
    }

    fn own(&self, query: &Query) -> Response {
        let lines = self.select(query);
        let bounds = (self.log.first(), self.log.last(), Some(self.log.incarnation()));
        let first = render(query, bounds, &lines);
        if !query.follow {
            return lines_answer(query, Body::from(first));
        }
        let seen = lines.last().map_or(query.after.unwrap_or(0).min(self.log.last()), |record| record.seq);
        let Some(follower) = self.log.follow(seen) else {
            let detail = format!("{} readers follow this log already", limits::FOLLOWERS);
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &detail);
        };
        let format = query.format;
        let news = stream::unfold(follower, move |mut follower| async move {
            let lines = follower.next().await?;
            Some((written(format, &lines), follower))
        });
        streamed(query, first, news)
    }

    async fn earlier(&self, incarnation: &str, query: &Query) -> Response {
        let (log, wanted) = (self.log.clone(), incarnation.to_string());
        let read = tokio::task::spawn_blocking(move || log.earlier(&wanted)).await;
        let all = read.unwrap_or_default();
        let (Some(first), Some(last)) = (all.first(), all.last()) else {
            let detail = format!("no lines of incarnation {incarnation:?} are kept here");
            return refusal(StatusCode::NOT_FOUND, &detail);
        };
        let body = render(query, (first.seq, last.seq, Some(incarnation)), page_of(&all, query));
        lines_answer(query, Body::from(body))
    }

    async fn cluster_lines(&self, query: &Query) -> Response {
        let Some(source) = self.cluster.clone() else {
            return refusal(StatusCode::NOT_FOUND, "parameter source: there is no ledger here");
        };
        let ClusterPage { first, last, records } = source(query.after, query.limit).await;
        let lines: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
        let begin = render(query, (first, last, None), &lines);
        if !query.follow {
            return lines_answer(query, Body::from(begin));
        }
        let seen = lines.last().map_or(query.after.unwrap_or(0).min(last), |record| record.seq);
        let format = query.format;
        let news = stream::unfold((source, seen), move |(source, mut seen)| async move {
            loop {
                tokio::time::sleep(Duration::from_millis(limits::CLUSTER_LOOK_MS)).await;
                let page = source(Some(seen), limits::PAGE_LINES).await;
                let lines: Vec<_> = page.records.into_iter().map(Arc::new).collect();
                if let Some(record) = lines.last() {
                    seen = record.seq;
                    return Some((written(format, &lines), (source, seen)));
                }
            }
        });
        streamed(query, begin, news)
    }
}

fn line(record: &Record) -> Line {
    Line { seq: record.seq, level: record.level, text: record.text() }
}

/// The part of all lines that was asked for.
fn page_of<'a>(all: &'a [Arc<Record>], query: &Query) -> &'a [Arc<Record>] {
    match query.after {
        Some(seq) => {
            let rest = &all[all.partition_point(|record| record.seq <= seq)..];
            &rest[..rest.len().min(query.limit)]
        }
        None => &all[all.len().saturating_sub(query.limit)..],
    }
}

/// The head (JSON lines only) and the lines.
fn render(query: &Query, bounds: (u64, u64, Option<&str>), lines: &[Arc<Record>]) -> String {
    let (first, last, incarnation) = bounds;
    let mut body = match query.format {
        Some(Format::Jsonl) => {
            // In this order: readers by eye see what is kept before whose it is.
            let incarnation = serde_json::Value::from(incarnation);
            format!("{{\"first\":{first},\"last\":{last},\"incarnation\":{incarnation}}}\n")
        }
        Some(Format::Text) | None => String::new(),
    };
    body.push_str(&written(query.format, lines));
    body
}

fn written(format: Option<Format>, lines: &[Arc<Record>]) -> String {
    joined(lines, |record| if format == Some(Format::Jsonl) { record.json() } else { record.text() })
}

/// Each on a line of its own.
pub(crate) fn joined<L>(lines: &[L], written: impl Fn(&L) -> String) -> String {
    lines.iter().map(|line| written(line) + "\n").collect()
}

fn streamed(query: &Query, first: String, news: impl Stream<Item = String> + Send + 'static) -> Response {
    let all = stream::iter([first]).chain(news).map(|part| Ok::<_, Infallible>(Bytes::from(part)));
    lines_answer(query, Body::from_stream(all))
}

/// Lines as they were asked for.
pub(crate) fn lines_answer(query: &Query, body: Body) -> Response {
    let kind = match query.format {
        Some(Format::Jsonl) => "application/x-ndjson",
        Some(Format::Text) | None => "text/plain; charset=utf-8",
    };
    guarded(([(header::CONTENT_TYPE, kind)], body))
}

/// A short sentence instead of lines.
pub(crate) fn refusal(status: StatusCode, detail: &str) -> Response {
    guarded((status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{detail}\n")))
}

/// Adds what keeps a browser from running anything of a log.
pub(crate) fn guarded(answer: impl IntoResponse) -> Response {
    let guards = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (guards, answer).into_response()
}

/// Whether a browser asks.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        is_html && !parts.any(|part| matches!(part.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00"))
    })
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
