//! The store's HTTP: `/logging` in the seed's form, live; `/api/v1/logs` for programs; how it is.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::{Query as Pairs, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::arrived::Kept;
use crate::door::{Kind, Metrics, Problem};
use crate::limits;
use crate::page::{self, Line};
use crate::query::{Format, Query, Source};
use crate::record::Level;
use crate::shown::{guarded, joined, lines_answer, refusal, wants_html};
use crate::store::{Store, StoreError, Wanted};
use crate::writer::Health;

/// What the routes read from.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) name: Arc<str>,
    pub(crate) store: Store,
    /// The newest number.
    pub(crate) last: watch::Receiver<u64>,
    pub(crate) health: Arc<Health>,
    followers: Arc<Semaphore>,
}

impl Shelf {
    pub(crate) fn new(name: &str, store: Store, last: watch::Receiver<u64>, health: Arc<Health>) -> Self {
        let followers = Arc::new(Semaphore::new(limits::FOLLOWERS));
        Self { name: Arc::from(name), store, last, health, followers }
    }

    /// The routes of the store, without its door.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/", get(async || Redirect::to("/logging")))
            .route("/logging", get(logging))
            .route("/api/v1/logs", get(logs))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
            .merge(page::assets())
    }

    async fn select(&self, query: &Query) -> Result<Vec<Kept>, StoreError> {
        self.store.find(&Wanted { after: query.after, limit: query.limit, ..Wanted::default() }).await
    }
}

async fn logging(
    State(shelf): State<Shelf>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let query = match Query::read(&pairs) {
        Ok(query) => query,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if query.source == Source::Cluster {
        return refusal(StatusCode::NOT_FOUND, "parameter source: there is no ledger here");
    }
    if query.incarnation.as_deref().is_some_and(|wanted| wanted != shelf.store.id()) {
        return refusal(StatusCode::NOT_FOUND, "parameter incarnation: that is not this store");
    }
    match shown(&shelf, &query, &headers).await {
        Ok(answer) => answer,
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

async fn shown(shelf: &Shelf, query: &Query, headers: &HeaderMap) -> Result<Response, StoreError> {
    let lines = shelf.select(query).await?;
    if query.format.is_none() && !query.follow && wants_html(headers) {
        let lines: Vec<Line> = lines.iter().map(line).collect();
        let body = page::page(&shelf.name, shelf.store.id(), &lines, false);
        return Ok(guarded(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body)));
    }
    let mut first = String::new();
    let (oldest, newest) = shelf.store.bounds().await?;
    if query.format == Some(Format::Jsonl) {
        let id = Value::from(shelf.store.id());
        let _ = writeln!(first, "{{\"first\":{oldest},\"last\":{newest},\"incarnation\":{id}}}");
    }
    first.push_str(&written(query.format, &lines));
    if !query.follow {
        return Ok(lines_answer(query, Body::from(first)));
    }
    let Ok(seat) = Arc::clone(&shelf.followers).try_acquire_owned() else {
        let detail = format!("{} readers follow this log already", limits::FOLLOWERS);
        return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, &detail));
    };
    let seen = lines.last().map_or(query.after.unwrap_or(0).min(newest), |line| line.n);
    let format = query.format;
    let follower = Follower { store: shelf.store.clone(), last: shelf.last.clone(), seen, _seat: seat };
    let news = stream::unfold(follower, move |mut follower| async move {
        let lines = follower.next().await?;
        Some((written(format, &lines), follower))
    });
    let all = stream::iter([first]).chain(news).map(|part| Ok::<_, Infallible>(Bytes::from(part)));
    Ok(lines_answer(query, Body::from_stream(all)))
}

/// Reads the store as it grows.
struct Follower {
    store: Store,
    last: watch::Receiver<u64>,
    seen: u64,
    _seat: tokio::sync::OwnedSemaphorePermit,
}

impl Follower {
    /// The next lines; none when the store ends or cannot be read.
    async fn next(&mut self) -> Option<Vec<Kept>> {
        let seen = self.seen;
        self.last.wait_for(|last| *last > seen).await.ok()?;
        let wanted = Wanted { after: Some(seen), limit: limits::PAGE_LINES, ..Wanted::default() };
        let lines = self.store.find(&wanted).await.ok()?;
        self.seen = lines.last()?.n;
        Some(lines)
    }
}

fn line(kept: &Kept) -> Line {
    Line { seq: kept.n, level: kept.record.level, text: kept.text() }
}

fn written(format: Option<Format>, lines: &[Kept]) -> String {
    joined(lines, |line| if format == Some(Format::Jsonl) { line.json() } else { line.text() })
}

/// Records by job, node and level, newest first. Lines of one job are told in the order of their times: they come from
/// several containers, and a slower cable must not turn the story around.
async fn logs(
    State(shelf): State<Shelf>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
) -> Result<Json<Value>, Problem> {
    let wanted = wanted(&pairs).map_err(|error| Problem::new(Kind::Malformed, error))?;
    let found = shelf.store.find(&wanted).await;
    let mut lines = found.map_err(|error| Problem::new(Kind::LogStoreAway, error.to_string()))?;
    let (oldest, newest) = (lines.first().map(|line| line.n), lines.last().map(|line| line.n));
    if wanted.job.is_some() {
        lines.sort_by_key(|line| (line.record.time_ms, line.n));
    }
    lines.reverse();
    let is_full = lines.len() == wanted.limit;
    let more_old = oldest.filter(|_| is_full || wanted.after.is_some());
    Ok(Json(json!({
        "items": lines, "next": more_old, "prev": newest.or(wanted.after), "behind": []
    })))
}

fn wanted(pairs: &[(String, String)]) -> Result<Wanted, String> {
    let mut wanted = Wanted { limit: limits::PAGE_LINES, ..Wanted::default() };
    for (name, value) in pairs {
        let shown: String = value.chars().take(64).collect();
        let bad = |must: &str| format!("parameter {name}: must be {must}, this is {shown:?}");
        match name.as_str() {
            "job" => wanted.job = Some(value.parse().map_err(|_| bad("the id of a job"))?),
            "node" => wanted.node = Some(value.clone()),
            "level" => {
                let found = [Level::Debug, Level::Info, Level::Warn, Level::Error].into_iter();
                let found = found.clone().find(|level| level.word() == value);
                wanted.level = Some(found.ok_or_else(|| bad("debug, info, warn or error"))?);
            }
            "before" => wanted.before = Some(value.parse().map_err(|_| bad("the number of a line"))?),
            "after" => wanted.after = Some(value.parse().map_err(|_| bad("the number of a line"))?),
            "limit" => {
                let most = limits::PAGE_LINES_MOST;
                let limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
                wanted.limit = limit.ok_or_else(|| bad(&format!("a number from 1 to {most}")))?;
            }
            _ => {
                let name: String = name.chars().take(64).collect();
                return Err(format!(
                    "parameter {name}: is not known (known are job, node, level, limit, before and after)"
                ));
            }
        }
    }
    Ok(wanted)
}

/// Whether lines are stored now.
async fn readyz(State(shelf): State<Shelf>) -> Response {
    match shelf.health.trouble() {
        None => "ok\n".into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}

/// Prometheus text.
async fn metrics(State(shelf): State<Shelf>) -> Metrics {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let health = &shelf.health;
    let port = health.port();
    let refused = port.iter().flat_map(|counts| &counts.refused);
    let refused: Vec<(String, u64)> =
        refused.map(|(why, count)| (format!("{{reason=\"{}\"}}", why.as_str()), *count)).collect();
    let connections = port.as_ref().map_or(0, |counts| counts.connections);
    Metrics::default()
        .counter("log_store_kept_total", "Lines kept since the start.", count(&health.kept))
        .counter("log_store_repeated_total", "Records that were kept before.", count(&health.repeated))
        .counter("log_store_dropped_total", "Messages that were no line.", count(&health.dropped))
        .counters("log_store_refused_total", "Connections that the port refused, by reason.", &refused)
        .gauge(
            "log_store_connections",
            "Connections to the port.",
            u64::try_from(connections).unwrap_or(u64::MAX),
        )
        .gauge("log_store_last", "Number of the newest line.", *shelf.last.borrow())
        .gauge("log_store_ready", "Whether lines are stored now.", u64::from(health.trouble().is_none()))
}
