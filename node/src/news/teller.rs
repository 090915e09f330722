//! Tells the four kinds of information when they change and when it is time, jobs and the lead as they happen. A task: what it
//! writes down costs the owner loop nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;

use protocol::{Load, Member};
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::board::Board;
use super::kinds::Kind;
use super::limits::{PERIOD, PERIODS_AGAIN, STATE_PAUSE};
use super::listener::Orders;
use super::queue::Queue;
use super::standing::{Addresses, Common, Dynamic, Myself, Standing, State, Static};
use super::topics;
use super::views::Wanted;
use crate::ask::Event;
use crate::http::shown::{self, Extent};

/// What the task works with.
pub(crate) struct Teller {
    pub(crate) board: Board,
    pub(crate) queue: Arc<Queue>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) me: Myself,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) load: watch::Receiver<Load>,
    pub(crate) events: broadcast::Receiver<Event>,
    /// Changes up to this index of the log were on disk and known to be committed when this start began: they are no news.
    pub(crate) quiet_index: u64,
}

/// What was told last, and to whom it listens.
#[derive(Default)]
struct Told {
    followed: Option<(Arc<Vec<Member>>, Arc<Addresses>)>,
    common: Option<Common>,
    fixed: Option<Static>,
    state: Option<State>,
}

impl Teller {
    /// Runs until the owner loop of this start has ended.
    pub(crate) async fn run(mut self) {
        // The first look of the owner loop: before it there is nothing to tell.
        if self.standing.changed().await.is_err() {
            return;
        }
        let mut told = Told::default();
        self.follow_members(&mut told);
        self.tell_all(&mut told);
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut count, mut state_due) = (0_u32, None::<Instant>);
        let mut state_rests = Instant::now() + STATE_PAUSE;
        loop {
            tokio::select! {
                changed = self.standing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.follow_members(&mut told);
                    state_due = state_due.or(Some(state_rests));
                }
                () = due(state_due) => {
                    self.tell_state(&mut told, false);
                    (state_due, state_rests) = (None, Instant::now() + STATE_PAUSE);
                }
                event = self.events.recv() => match event {
                    Ok(event) => self.tell_event(&event),
                    Err(RecvError::Lagged(missed)) if self.queue.jobs_wanted() => {
                        self.queue.count_dropped(missed);
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = periods.tick() => {
                    count += 1;
                    if count.is_multiple_of(PERIODS_AGAIN) {
                        self.tell_all(&mut told);
                    } else {
                        self.tell_slow(&mut told, false);
                        self.tell_dynamic();
                    }
                }
            }
        }
    }

    fn tell_all(&self, told: &mut Told) {
        self.tell_slow(told, true);
        self.tell_dynamic();
        self.tell_state(told, true);
    }

    /// What hardly ever changes.
    fn tell_slow(&self, told: &mut Told, again: bool) {
        let load = *self.load.borrow();
        let (common, fixed) = (Common::of(&self.me), Static::of(&self.standing.borrow(), &load));
        self.tell(Kind::Common, common, &mut told.common, again);
        self.tell(Kind::Static, fixed, &mut told.fixed, again);
    }

    fn tell_dynamic(&self) {
        let load = *self.load.borrow();
        let dynamic = Dynamic::of(&self.standing.borrow(), &load);
        self.board.tell(Kind::Dynamic, &dynamic);
    }

    fn tell_state(&self, told: &mut Told, again: bool) {
        let state = State::of(&self.standing.borrow(), &self.me, false);
        self.tell(Kind::State, state, &mut told.state, again);
    }

    fn tell<What: Serialize + PartialEq>(
        &self,
        kind: Kind,
        what: What,
        last: &mut Option<What>,
        again: bool,
    ) {
        if again || last.as_ref() != Some(&what) {
            self.board.tell(kind, &what);
            *last = Some(what);
        }
    }

    fn tell_event(&self, event: &Event) {
        match event {
            Event::Job { fact, job } if fact.rev.index > self.quiet_index && self.queue.jobs_wanted() => {
                let standing = self.standing.borrow();
                let shown = shown::job_named(job, &|id| standing.name(id), Extent::Event);
                self.post(topics::job(&job.spec.class), &shown);
            }
            Event::Leader { term, leader, previous, gap_ms } => {
                let standing = self.standing.borrow();
                let previous = previous.map(|id| standing.name(id));
                let leader = standing.name(*leader);
                let what = json!({"term": term, "leader": leader, "previous": previous, "gap_ms": gap_ms});
                self.post(topics::LEADER.to_string(), &what);
            }
            Event::Job { .. } | Event::Nodes { .. } | Event::Anew => {}
        }
    }

    fn post(&self, topic: String, what: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(what) {
            // No room: it is dropped and counted there.
            let _ = self.queue.put(topic, text.into());
        }
    }

    /// Listens to the members there are now, where they said they can be heard.
    fn follow_members(&self, told: &mut Told) {
        let now = self.standing.borrow();
        let same = told.followed.as_ref().is_some_and(|(members, addresses)| {
            Arc::ptr_eq(&now.members, members) && Arc::ptr_eq(&now.addresses, addresses)
        });
        if same {
            return;
        }
        told.followed = Some((Arc::clone(&now.members), Arc::clone(&now.addresses)));
        let others = || now.members.iter().filter(|member| member.id != self.me.member.id);
        let wanted = |member: &Member| Wanted { id: member.id.to_string(), boot: member.boot.0 };
        let wanted: BTreeMap<String, Wanted> =
            others().map(|member| (member.name.clone(), wanted(member))).collect();
        self.board.want(wanted);
        let endpoints: BTreeSet<String> = others()
            .filter_map(|member| now.addresses.get(&member.id))
            .map(|(_, address)| format!("tcp://{address}"))
            .collect();
        self.orders.listen_to(endpoints);
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
#[path = "teller_tests.rs"]
mod tests;
