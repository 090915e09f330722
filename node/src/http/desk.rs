//! The desk: where handlers ask the stage, each question with its patience.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use logdb::door::Door;
use protocol::{Answer, Job, JobId, NodeId, Request, limits};
use tokio::sync::{Semaphore, broadcast, oneshot};
use tokio::time::{sleep, timeout};

use super::limits::{
    APPLY_PATIENCE, CONFIRM_PAUSE, EVENT_STREAMS, PEER_PATIENCE, SEEN_FRESH, VIEW_PATIENCE, WRITE_GRACE,
};
use super::problem::{self, Kind, Problem};
use super::warning::Known;
use super::{Served, guard, shown};
use crate::admit;
use crate::ask::{Ask, DigestAt, Event, Held, Reply, Told, View};
use crate::mint::Mint;
use crate::refusals::Refusals;

/// What handlers share.
#[derive(Clone)]
pub(super) struct Desk(Arc<Inner>);

pub(super) struct Inner {
    pub(super) served: Served,
    /// What stands before every call, and turns the soft crash.
    pub(super) door: Door,
    /// For asking other nodes.
    pub(super) client: reqwest::Client,
    /// For asking the log store.
    pub(super) log_store: Option<logdb::Remote>,
    pub(super) streams: Arc<Semaphore>,
    /// Silent nodes, and whether they said that they are stopped.
    pub(super) probes: Mutex<BTreeMap<NodeId, (Instant, bool)>>,
    /// Who was refused to join of late.
    pub(super) refusals: Mutex<Refusals>,
    seen: Mutex<Option<(Instant, Arc<Seen>)>>,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
    minted: Mutex<Mint>,
}

impl std::ops::Deref for Desk {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What came of waiting for a job's end.
pub(super) enum Awaited {
    /// It has ended.
    Ended(Held),
    /// Not in the time given, or it is no longer held here.
    TimeOver,
    /// The node was stopped.
    Stopped,
}

/// What the headers of an answer say.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Who answers, who leads, the term, and up to where this node has applied, ready to be sent.
    pub(super) stamps: Vec<(HeaderName, HeaderValue)>,
    /// Hosts of the members, for the `Host` allow-list.
    pub(super) hosts: Vec<String>,
    /// What the nodes can do, as of some moment not much earlier.
    pub(super) nodes: Arc<Known>,
}

impl Desk {
    pub(super) fn new(served: Served) -> Self {
        let client = reqwest::Client::builder()
            .default_headers(admit::named(&served.settings))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .timeout(PEER_PATIENCE)
            .build()
            .unwrap_or_default();
        // The settings were checked: a bad address was an error at the start.
        let log_store = served.settings.logdb.as_deref();
        let log_store = log_store.and_then(|url| {
            logdb::Remote::new(url, served.settings.token.as_ref(), served.front.valve.watch()).ok()
        });
        Self(Arc::new(Inner {
            door: guard::door(&served.settings, &served.front),
            served,
            log_store,
            client,
            streams: Arc::new(Semaphore::new(EVENT_STREAMS)),
            probes: Mutex::new(BTreeMap::new()),
            refusals: Mutex::default(),
            seen: Mutex::new(None),
            known: Mutex::new(None),
            minted: Mutex::default(),
        }))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.served.front.valve.is_stopped()
    }

    /// Ends when the node is stopped (at once when it is).
    pub(super) async fn until_stopped(&self) {
        let mut wanted = self.served.front.valve.watch();
        // The valve outlives this call: `self` holds it.
        let _ = wanted.wait_for(|stopped| *stopped).await;
    }

    /// This node's own state, as it is.
    pub(super) async fn view(&self) -> Result<View, Problem> {
        self.look(false, VIEW_PATIENCE).await.ok_or_else(|| self.no_view())
    }

    /// This node's state once a majority confirmed it; none when that takes too long.
    pub(super) async fn confirmed(&self, patience: Duration) -> Option<View> {
        let ask = async {
            loop {
                if let Some(view) = self.look(true, patience).await {
                    return view;
                }
                // Without a leader there is nobody to confirm it; one may be there soon.
                sleep(CONFIRM_PAUSE).await;
            }
        };
        tokio::select! {
            () = self.until_stopped() => None,
            view = timeout(patience, ask) => view.ok(),
        }
    }

    /// Why no state can be shown.
    pub(super) fn no_view(&self) -> Problem {
        if self.is_stopped() {
            problem::stopped()
        } else if let Some(why) = self.served.front.disk.out() {
            problem::out(why)
        } else {
            Problem::new(Kind::Starting, "this node has not found its cluster yet")
        }
    }

    async fn look(&self, linearizable: bool, patience: Duration) -> Option<View> {
        if self.served.front.disk.out().is_some() {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        let ask = Ask::View { linearizable, reply };
        let view = timeout(patience, async {
            self.served.front.asks.send(ask).await.ok()?;
            answer.await.ok()
        })
        .await
        .ok()??;
        self.note(&view);
        Some(view)
    }

    /// This node's ledger at an index.
    pub(super) async fn digest(&self, index: Option<u64>) -> Result<DigestAt, Problem> {
        let (reply, answer) = oneshot::channel();
        let asked = timeout(VIEW_PATIENCE, async {
            self.served.front.asks.send(Ask::Digest { index, reply }).await.ok()?;
            answer.await.ok()
        });
        asked.await.ok().flatten().ok_or_else(|| self.no_view())
    }

    fn note(&self, view: &View) {
        let leader = view.leader.map(|id| shown::node_name(&view.ledger, id)).unwrap_or_default();
        let stamps = [
            ("x-understudy-node", self.served.settings.name.clone()),
            ("x-understudy-leader", leader),
            ("x-understudy-term", view.term.to_string()),
            ("x-understudy-index", view.applied.to_string()),
        ];
        let ready = |(name, text)| Some((HeaderName::from_static(name), HeaderValue::try_from(text).ok()?));
        let seen = Seen {
            stamps: stamps.into_iter().filter_map(ready).collect(),
            hosts: shown::member_hosts(&view.ledger),
            nodes: self.known(view),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::new(seen)));
    }

    /// What the nodes can do; not put together anew for every look.
    fn known(&self, view: &View) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((at, known)) if at.elapsed() < SEEN_FRESH => Arc::clone(known),
            _ => {
                let anew = Arc::new(Known::of(view));
                *known = Some((Instant::now(), Arc::clone(&anew)));
                anew
            }
        }
    }

    /// What was known at the last look, however old.
    pub(super) fn remembered(&self) -> Option<Arc<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, seen)| Arc::clone(seen))
    }

    /// What is known about leader and term, looked up again when that was long ago.
    pub(super) async fn seen(&self) -> Option<Arc<Seen>> {
        let fresh = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.as_mut().and_then(|(at, seen)| {
                let is_fresh = at.elapsed() < SEEN_FRESH;
                // One looks for all: meanwhile the others go on with what there is.
                *at = if is_fresh { *at } else { Instant::now() };
                is_fresh.then(|| Arc::clone(seen))
            })
        };
        if fresh.is_none() && !self.is_stopped() {
            // In a box: this is on every request's way, and seldom taken.
            Box::pin(self.look(false, SEEN_FRESH)).await;
            return self.remembered();
        }
        fresh
    }

    /// Has the leader do something.
    pub(super) async fn request(&self, request: Request) -> Result<Answer, Problem> {
        self.decide(request).await.map(|(answer, _)| answer)
    }

    /// Has the leader do something, and shows the job that it made or found.
    pub(super) async fn decide(&self, request: Request) -> Result<(Answer, Option<Held>), Problem> {
        if let Some(why) = self.served.front.disk.out() {
            return Err(problem::out(why).not_accepted());
        }
        let id = job_of(&request);
        let patience = Duration::from_millis(limits::WRITE_PATIENCE_MS);
        let (reply, told) = oneshot::channel();
        let asks = &self.served.front.asks;
        if let Err(ask) = asks.put(Ask::Request { request, reply }) {
            // In a box: mostly there is room.
            match Box::pin(timeout(patience, asks.send(*ask))).await {
                Err(_) => {
                    let detail = "too many requests wait at this node";
                    return Err(Problem::new(Kind::Full, detail).not_accepted());
                }
                Ok(Err(_)) => return Err(self.no_view().not_accepted()),
                Ok(Ok(())) => {}
            }
        }
        let Ok(Ok(Reply { told, held })) = timeout(patience + WRITE_GRACE, told).await else {
            return Err(problem::outcome_unknown(id));
        };
        match told {
            Told::NoQuorum { handed_over: true } => Err(problem::outcome_unknown(id)),
            Told::NoQuorum { handed_over: false } => {
                Err(Problem::new(Kind::NoQuorum, "no leader could be reached; repeating is safe")
                    .not_accepted())
            }
            Told::Busy => Err(Problem::new(Kind::Full, "too many requests wait at this node").not_accepted()),
            Told::Answer(Answer::Refused(refusal)) => Err(problem::refused(refusal, id)),
            Told::Answer(answer) => Ok((answer, held)),
        }
    }

    /// What happens from now on.
    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.served.front.events.subscribe()
    }

    /// The job `id` and the state it is in, once this node's ledger holds it as `fits` wants. The leader's answer may be ahead of
    /// the own apply. None when that takes longer than [`APPLY_PATIENCE`].
    pub(super) async fn applied(&self, id: JobId, fits: impl Fn(&Job) -> bool) -> Option<(View, Arc<Job>)> {
        if let Some((view, Some(job))) = self.with_job(self.view().await.ok(), id).await
            && fits(&job)
        {
            return Some((view, job));
        }
        // A confirmed state is at least as new as the acknowledgement.
        match self.with_job(self.confirmed(APPLY_PATIENCE).await, id).await {
            Some((view, Some(job))) if fits(&job) => Some((view, job)),
            _ => None,
        }
    }

    async fn with_job(&self, view: Option<View>, id: JobId) -> Option<(View, Option<Arc<Job>>)> {
        let view = view?;
        let job = self.job(&view, id).await.ok()?;
        Some((view, job))
    }

    /// A job as of this moment: from the ledger, else from history. None: neither knows it.
    pub(super) async fn job(&self, view: &View, id: JobId) -> Result<Option<Arc<Job>>, Problem> {
        if let Some(job) = view.ledger.job(id) {
            return Ok(Some(job).filter(|job| !view.ledger.has_forgotten(job)));
        }
        match self.served.front.history.now() {
            Some(archive) => match archive.job(id).await.map_err(|error| problem::history(&error))? {
                None if !archive.is_complete() => Err(problem::incomplete()),
                found => Ok(found.filter(|job| !view.ledger.has_forgotten(job))),
            },
            None => Ok(None),
        }
    }

    /// A job as it stands at this node.
    pub(super) async fn held(&self, id: JobId) -> Option<Held> {
        let view = self.view().await.ok()?;
        let job = self.job(&view, id).await.ok()??;
        Some(Held { job, members: Arc::new(view.ledger.members().cloned().collect()) })
    }

    /// A job that was acknowledged, wherever it is by now. None: this node is very late.
    pub(super) async fn held_or_history(&self, id: JobId) -> Option<Held> {
        let (view, job) = self.applied(id, |_| true).await?;
        Some(Held { job, members: Arc::new(view.ledger.members().cloned().collect()) })
    }

    /// The job once it has ended.
    pub(super) async fn ended(&self, id: JobId, wait: Duration) -> Awaited {
        let (reply, ended) = oneshot::channel();
        let ask = async {
            self.served.front.asks.send(Ask::Ended { job: id, reply }).await.ok()?;
            ended.await.ok()
        };
        match timeout(wait, ask).await {
            Ok(Some(held)) => Awaited::Ended(held),
            Ok(None) if self.is_stopped() => Awaited::Stopped,
            // The time is over, or it had ended and left this node's ledger already: either way a look tells.
            Ok(None) | Err(_) => Awaited::TimeOver,
        }
    }

    /// A new job id.
    pub(super) fn mint(&self) -> Result<JobId, Problem> {
        self.mint_all(1)
    }

    /// The first of so many new job ids that follow each other.
    pub(super) fn mint_all(&self, jobs: usize) -> Result<JobId, Problem> {
        let minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner).jobs(jobs);
        minted.map_err(|error| Problem::new(Kind::Broken, error.to_string()).not_accepted())
    }
}

/// The job a request makes or touches, for answers.
fn job_of(request: &Request) -> Option<JobId> {
    match request {
        Request::Submit { job, .. } | Request::Cancel { job } => Some(*job),
        Request::SubmitAll(batch) => Some(batch.first),
        Request::Join(_) | Request::Transfer { .. } | Request::Drain { .. } | Request::Recodex(_) => None,
    }
}

/// An answer with a header that says how old it is.
pub(super) fn aged(mut response: Response, age_ms: u64) -> Response {
    response.headers_mut().insert("x-understudy-age", axum::http::HeaderValue::from(age_ms / 1000));
    response
}
