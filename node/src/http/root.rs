//! What stands at the root of a node beside what its door has: `/readyz`, `/metrics`.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use logdb::door::Metrics;

use super::desk::Desk;
use super::nodes;
use super::params::Params;
use super::problem::Problem;
use crate::broker::Dropped;

/// Whether this node knows a leader and the cluster takes writes; with `?verbose` each check by itself.
pub(super) async fn readyz(State(desk): State<Desk>, uri: Uri) -> Result<Response, Problem> {
    let verbose = Params::read(&uri, &["verbose"])?.flag("verbose")?;
    let view = desk.view().await.ok();
    let trouble = desk.served.front.disk.words();
    let checks = [
        ("disk", trouble.is_none()),
        ("cluster", view.is_some()),
        ("leader", view.as_ref().is_some_and(|view| view.leader.is_some())),
        ("staying", view.as_ref().is_some_and(|view| !view.leaving)),
        ("open", view.as_ref().is_some_and(|view| view.ledger.is_open())),
    ];
    let is_ready = checks.iter().all(|(_, good)| *good);
    let mut text = String::new();
    if verbose {
        for (name, good) in checks {
            let why = trouble.as_deref().filter(|_| name == "disk").map(|why| format!(": {why}"));
            let _ = writeln!(text, "[{}] {name}{}", if good { '+' } else { '-' }, why.unwrap_or_default());
        }
        // Jobs do not wait for history: this alone makes no node unfit.
        if let Some(why) = desk.served.front.history.now().and_then(|archive| archive.trouble()) {
            let _ = writeln!(text, "[-] archive: {why}");
        }
    }
    match trouble {
        _ if is_ready => text.push_str("ok\n"),
        Some(why) if !verbose => text.push_str(&format!("not ready: disk: {why}\n")),
        _ => text.push_str("not ready\n"),
    }
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, text).into_response())
}

/// Prometheus text.
pub(super) async fn metrics(State(desk): State<Desk>) -> Result<Metrics, Problem> {
    let view = desk.view().await?;
    let jobs: Vec<(String, u64)> =
        nodes::counts(&view).into_iter().map(|(state, n)| (format!("{{state=\"{state}\"}}"), n)).collect();
    let alive = view.roster.iter().filter(|line| line.alive).count() as u64;
    let dropped = &desk.served.front.broker;
    let broker = Dropped::ALL.map(|why| (format!("{{reason=\"{}\"}}", why.word()), dropped.dropped(why)));
    let (leads, knows_leader) = (view.leader == Some(view.node), view.leader.is_some());
    let history = desk.served.front.history.now();
    let (backlog_bytes, progress) = match &history {
        Some(archive) => (archive.backlog_bytes(), archive.progress().borrow().clone()),
        None => Default::default(),
    };
    let missing = progress.holes.iter().map(|hole| hole.last + 1 - hole.first).sum();
    Ok(Metrics::default()
        .gauge("archive_backlog_bytes", "Bytes of history that wait to be written.", backlog_bytes)
        .gauge("archive_applied_index", "Everything up to this entry is in the archive.", progress.applied)
        .gauge("archive_durable_index", "It is there after a power cut too.", progress.durable)
        .gauge("archive_missing", "Ended jobs and facts that this node's archive never saw.", missing)
        .gauges("jobs", "Jobs by state.", &jobs)
        .gauge("term", "Current term.", view.term)
        .gauge("commit_index", "Newest committed index known here.", view.commit)
        .gauge("applied_index", "Newest applied index here.", view.applied)
        .gauge("is_leader", "Whether this node leads.", u64::from(leads))
        .gauge("has_leader", "Whether this node knows a leader.", u64::from(knows_leader))
        .gauge("voters", "Voters of the present configuration.", view.voters.len() as u64)
        .gauge("nodes_alive", "Nodes heard within the liveness.", alive)
        .gauge(
            "lab_unreadable",
            "Messages at the lab's ports that were none of the wire's, let go.",
            desk.served.front.lab.unreadable(),
        )
        .counters("broker_dropped_total", "Messages of the broker link that were let go.", &broker)
        .gauge("news_dropped", "News that found no room on their way out.", desk.served.front.news.dropped()))
}
