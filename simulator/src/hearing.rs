//! How long each leader has not heard each worker: a leader may take an attempt back only after the whole liveness.

use std::collections::BTreeMap;

use protocol::limits::LIVENESS_MS;
use protocol::{AttemptRef, Boot, Envelope, LossCause, NodeId, Report, ToMaster};

use crate::limits::{MS, TICK_MS};
use crate::watch::{Held, Watch, must};

/// Silence that may be taken for the whole liveness: a leader counts in ticks, and the first one may come at once.
const SILENCE_US: u64 = (LIVENESS_MS - 2 * TICK_MS) * MS;

/// Who was heard when, as each leader may count it.
#[derive(Default)]
pub(crate) struct Hearing {
    heard: BTreeMap<(usize, NodeId), Heard>,
    /// When each place's lead began.
    since_us: BTreeMap<usize, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    since_us: u64,
    session: (Boot, u64),
    echo: u64,
    /// There was a silence of the whole liveness in this lead.
    was_silent: bool,
}

impl Hearing {
    /// A lead begins: every silence counts from now.
    pub(crate) fn promoted(&mut self, leader: usize, now_us: u64) {
        self.heard.retain(|(by, _), _| *by != leader);
        self.since_us.insert(leader, now_us);
    }

    /// What a leader has heard of a node in this lead.
    fn of(&self, leader: usize, node: NodeId) -> Option<Heard> {
        let since_us = *self.since_us.get(&leader)?;
        let nothing = Heard { since_us, session: (Boot(0), 0), echo: 0, was_silent: false };
        Some(self.heard.get(&(leader, node)).copied().unwrap_or(nothing))
    }

    /// A leader takes a report. It is fresh when it shows that its worker heard a newer answer.
    pub(crate) fn report(
        &mut self,
        leader: usize,
        envelope: &Envelope<ToMaster>,
        report: &Report,
        now_us: u64,
    ) {
        let Some(nothing) = self.of(leader, envelope.from) else { return };
        let heard = self.heard.entry((leader, envelope.from)).or_insert(nothing);
        let session = (envelope.boot, envelope.session);
        if session > heard.session {
            heard.session = session;
            heard.echo = 0;
        }
        if session == heard.session && report.echo > heard.echo {
            heard.echo = report.echo;
            heard.was_silent |= now_us - heard.since_us >= SILENCE_US;
            heard.since_us = now_us;
        }
    }

    /// `no_run_while_held`: a leader proposes to take an attempt back only from a worker that it has not heard for the
    /// whole liveness, or that has started anew since. (A job that nobody may hold is the only one given to another.)
    pub(crate) fn takes_back(
        &self,
        watch: &Watch,
        (leader, name): (usize, NodeId),
        attempt: AttemptRef,
        (cause, boot_now, now_us): (LossCause, impl Fn(NodeId) -> Boot, u64),
    ) -> Held {
        let Some(given) = watch.given(attempt) else { return Ok(()) };
        let lost = match cause {
            LossCause::Restarted => boot_now(given.node) > given.boot,
            // Its window is over, it lost its connection or came anew; or nobody was there to take it.
            LossCause::Late => watch.given_up.contains(&attempt) || !watch.starts.contains_key(&attempt),
            LossCause::Left => watch.given_up.contains(&attempt),
            LossCause::Silent if boot_now(given.node) == Boot(u64::MAX) => true,
            LossCause::Abandoned => watch.leaving.contains(&(given.node, given.boot)),
            LossCause::Unbegun => !watch.starts.contains_key(&attempt),
            LossCause::Silent if given.node == name => false,
            LossCause::Silent => self
                .of(leader, given.node)
                .is_some_and(|heard| heard.was_silent || now_us - heard.since_us >= SILENCE_US),
        };
        must(lost, "no_run_while_held", || {
            let heard = self.of(leader, given.node);
            format!("{name:?} takes {attempt:?} from {given:?} ({cause:?}), which is alive and {heard:?}")
        })
    }
}
