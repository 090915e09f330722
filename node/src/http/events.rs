//! `GET /events`: what happens, as it happens. Job events bear the ledger's revision, equal on every node, so a reader may lose one
//! node and go on at another; nodes and leader come as a snapshot first and carry no id.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use protocol::{JobId, Rev};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::desk::Desk;
use super::limits::{BEHIND_PATIENCE, EVENT_BACKLOG, EVENT_COMMENT, EVENT_STREAMS};
use super::nodes;
use super::params::{Params, job_id};
use super::problem::{Kind, Problem};
use super::shown::{self, Extent};
use crate::ask::{Event, View};

/// What a reader wants to hear.
struct Wish {
    jobs: bool,
    nodes: bool,
    leader: bool,
    job: Option<JobId>,
    since: Option<Rev>,
}

impl Wish {
    fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let params = Params::read(uri, &["kinds", "job", "since"])?;
        let mut wish = Self { jobs: false, nodes: false, leader: false, job: None, since: None };
        for kind in params.get("kinds").unwrap_or("job,node,leader").split(',') {
            match kind.trim() {
                "job" => wish.jobs = true,
                "node" => wish.nodes = true,
                "leader" => wish.leader = true,
                "log" => {
                    let detail = "log is not supported by this version yet; see /logging?follow=1";
                    return Err(Problem::field(Kind::Invalid, "kinds", detail, None));
                }
                _ => {
                    return Err(Problem::field(Kind::Invalid, "kinds", "must be of job, node, leader", None));
                }
            }
        }
        wish.job = params.get("job").map(job_id).transpose()?;
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        // A browser that reconnects says where it was; the `since` of its address is older then.
        let since = last.filter(|id| !id.is_empty()).or(params.get("since"));
        wish.since = since
            .map(|text| {
                text.parse().map_err(|error: protocol::ids::BadRev| {
                    Problem::field(Kind::Invalid, "since", error.to_string(), None)
                })
            })
            .transpose()?;
        Ok(wish)
    }
}

pub(super) async fn events(
    State(desk): State<Desk>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = Wish::read(&uri, &headers)?;
    let Ok(seat) = desk.streams.clone().try_acquire_owned() else {
        return Err(Problem::new(Kind::Full, format!("{EVENT_STREAMS} event streams are open already")));
    };
    // Heard from before the first look at the state on, so that nothing falls between them.
    let events = desk.events();
    let view = caught_up(&desk, wish.since).await?;
    let (sender, receiver) = mpsc::channel(EVENT_BACKLOG);
    let stream = Stream { desk, wish, sender, shown: BTreeMap::new(), upto: view.ledger.rev(), _seat: seat };
    tokio::spawn(stream.serve(view, events));
    let keep_alive = KeepAlive::new().interval(EVENT_COMMENT).text("still here");
    let mut response = Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response();
    let no_buffer = axum::http::HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", no_buffer);
    Ok(response)
}

/// This node's state, once it is not behind what the reader has seen elsewhere, or [`BEHIND_PATIENCE`] is over.
async fn caught_up(desk: &Desk, since: Option<Rev>) -> Result<View, Problem> {
    let view = desk.view().await?;
    if since.is_none_or(|since| since <= view.ledger.rev()) {
        return Ok(view);
    }
    match desk.confirmed(BEHIND_PATIENCE).await {
        Some(view) => Ok(view),
        None => desk.view().await,
    }
}

/// One reader.
struct Stream {
    desk: Desk,
    wish: Wish,
    sender: mpsc::Sender<Result<Sent, Infallible>>,
    /// Nodes as last sent, by name.
    shown: BTreeMap<String, Value>,
    /// Job events up to here are sent, or were before the reader came.
    upto: Rev,
    _seat: OwnedSemaphorePermit,
}

/// The reader is gone, or the node is stopped.
struct Gone;

impl Stream {
    async fn serve(mut self, view: View, events: tokio::sync::broadcast::Receiver<Event>) {
        let desk = self.desk.clone();
        tokio::select! {
            () = desk.until_stopped() => {}
            _ = self.run(view, events) => {}
        }
    }

    async fn run(
        &mut self,
        view: View,
        mut events: tokio::sync::broadcast::Receiver<Event>,
    ) -> Result<(), Gone> {
        self.snapshot(&view).await?;
        if let Some(since) = self.wish.since {
            self.replay(&view, since).await?;
        }
        drop(view);
        loop {
            let sender = self.sender.clone();
            let event = tokio::select! {
                () = sender.closed() => return Err(Gone),
                event = events.recv() => event,
            };
            match event {
                Err(RecvError::Lagged(_)) | Ok(Event::Anew) => {
                    let view = self.desk.view().await.map_err(|_| Gone)?;
                    self.reset(&view).await?;
                    self.snapshot(&view).await?;
                }
                Ok(event) => self.tell(event).await?,
                Err(RecvError::Closed) => return Err(Gone),
            }
        }
    }

    async fn tell(&mut self, event: Event) -> Result<(), Gone> {
        match event {
            Event::Job { fact, job } => {
                if fact.rev <= self.upto {
                    return Ok(());
                }
                self.upto = fact.rev;
                if !self.wish.jobs || self.wish.job.is_some_and(|wanted| wanted != job.id) {
                    return Ok(());
                }
                let view = self.desk.view().await.map_err(|_| Gone)?;
                self.send("job", Some(fact.rev), &shown::job(&job, &view.ledger, Extent::Event)).await
            }
            Event::Leader { term, leader, previous, gap_ms } if self.wish.leader => {
                let view = self.desk.view().await.map_err(|_| Gone)?;
                let name = |id| shown::node_name(&view.ledger, id);
                let told = json!({"term": term, "leader": name(leader), "previous": previous.map(name), "gap_ms": gap_ms});
                self.send("leader", None, &told).await
            }
            Event::Nodes { .. } if self.wish.nodes => {
                let view = self.desk.view().await.map_err(|_| Gone)?;
                self.nodes(&view).await
            }
            Event::Leader { .. } | Event::Nodes { .. } | Event::Anew => Ok(()),
        }
    }

    /// Nodes and leader as they are.
    async fn snapshot(&mut self, view: &View) -> Result<(), Gone> {
        if self.wish.leader {
            let leader = view.leader.map(|id| shown::node_name(&view.ledger, id));
            let gap_ms = view.leaderless_ms;
            let told = json!({"term": view.term, "leader": leader, "previous": null, "gap_ms": gap_ms});
            self.send("leader", None, &told).await?;
        }
        if self.wish.nodes {
            self.shown.clear();
            self.nodes(view).await?;
        }
        Ok(())
    }

    /// The nodes that look different from what was sent last.
    async fn nodes(&mut self, view: &View) -> Result<(), Gone> {
        for node in nodes::all(&self.desk, view).await {
            let Ok(value) = serde_json::to_value(&node) else { continue };
            if self.shown.get(&node.name) != Some(&value) {
                self.send("node", None, &node).await?;
                self.shown.insert(node.name, value);
            }
        }
        Ok(())
    }

    /// Every job changed after `since`, as it is now and under the revision of that; steps in between are one. A reset when the
    /// ledger no longer (or not yet) knows them all.
    async fn replay(&mut self, view: &View, since: Rev) -> Result<(), Gone> {
        let now = view.ledger.rev();
        let kept_from = view.ledger.facts_after(0).next().map(|fact| (fact.number, fact.rev));
        let is_gone = kept_from.is_some_and(|(number, rev)| number > 1 && since < rev);
        if since > now || since.epoch != now.epoch || is_gone {
            return self.reset(view).await;
        }
        if !self.wish.jobs {
            return Ok(());
        }
        for fact in view.ledger.facts_after(0).filter(|fact| fact.rev > since) {
            let Some(id) = fact.what.job() else { continue };
            // It may have left the ledger since.
            let Some(job) = self.desk.job(view, id).await.map_err(|_| Gone)? else { continue };
            let is_newest = job.rev == fact.rev;
            if is_newest && self.wish.job.is_none_or(|wanted| wanted == job.id) {
                self.send("job", Some(fact.rev), &shown::job(&job, &view.ledger, Extent::Event)).await?;
            }
        }
        Ok(())
    }

    async fn reset(&mut self, view: &View) -> Result<(), Gone> {
        self.upto = view.ledger.rev();
        let rev = self.upto.to_string();
        self.send("reset", Some(self.upto), &json!({"rev": rev})).await
    }

    async fn send<T: Serialize>(&self, kind: &str, rev: Option<Rev>, data: &T) -> Result<(), Gone> {
        let text = serde_json::to_string(data).map_err(|_| Gone)?;
        let event = Sent::default().event(kind).data(text);
        let event = match rev {
            Some(rev) => event.id(rev.to_string()),
            None => event,
        };
        // A reader that takes nothing makes this wait, lag, and start anew with a reset; it never makes the node hold more.
        self.sender.send(Ok(event)).await.map_err(|_| Gone)
    }
}
