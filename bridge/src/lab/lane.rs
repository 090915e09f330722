//! One lane: a worker of the first broker and a client of the second, with one request under way. No sockets in here:
//! what happened and the time go in, what the lane wants comes out.
//!
//! ```text
//!   Free ─job─▶ Going (half the delay) ─▶ Asking ─sent─▶ Waiting ─reply─▶ Back (half the delay) ─▶ Answering ─sent─▶ Free
//!    ▲                                      ▲  connection  │                                          ▲
//!    │                                      └──── ended ───┘   loop, hops, patience, lost ────────────┘
//!    └── the first broker's connection ended: the job is forgotten, its broker offers it again
//! ```

use std::time::{Duration, Instant};

use super::trail::{BridgeId, Trail};
use crate::limits;

/// What holds for all lanes of a bridge.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) id: BridgeId,
    /// Waited before asking, and again before answering.
    pub(super) half_delay: Duration,
    /// How long the second broker may take, whatever happens to it meanwhile.
    pub(super) patience: Duration,
}

#[derive(Debug)]
pub(super) struct Lane {
    rules: Rules,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Free,
    Going { job: Job, at: Instant },
    Asking { job: Job, until: Instant },
    Waiting { job: Job, until: Instant },
    Back { client: Vec<u8>, reply: Vec<u8>, at: Instant },
    Answering { client: Vec<u8>, reply: Vec<u8> },
}

#[derive(Debug)]
struct Job {
    /// Goes back to the first broker as it came.
    client: Vec<u8>,
    message: Vec<u8>,
    /// This bridge is its last.
    trail: Trail,
    asked: u32,
}

/// What a lane waits for next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Want<'a> {
    /// A job of the first broker.
    Job,
    /// To send this to the second broker, under the name with this trail.
    Ask { trail: &'a Trail, message: &'a [u8] },
    /// The reply to it.
    Reply { trail: &'a Trail },
    /// To send this to the first broker.
    Answer { client: &'a [u8], reply: &'a [u8] },
    /// Time to pass.
    Time,
}

/// Why a request is not passed on, with the bridges it came over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has passed this bridge before.
    Loop(Trail),
    /// It has passed as many bridges as one may.
    Hops(Trail),
}

impl Refused {
    /// What its client reads.
    fn reply(&self) -> &'static [u8] {
        match self {
            Self::Loop(_) => b"ERROR loop",
            Self::Hops(_) => b"ERROR hops",
        }
    }
}

impl Lane {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, stage: Stage::Free }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.stage, Stage::Free)
    }

    pub(super) fn want(&self) -> Want<'_> {
        match &self.stage {
            Stage::Free => Want::Job,
            Stage::Going { .. } | Stage::Back { .. } => Want::Time,
            Stage::Asking { job, .. } => Want::Ask { trail: &job.trail, message: &job.message },
            Stage::Waiting { job, .. } => Want::Reply { trail: &job.trail },
            Stage::Answering { client, reply } => Want::Answer { client, reply },
        }
    }

    /// When it wants to be told the time.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Free | Stage::Answering { .. } => None,
            Stage::Going { at, .. } | Stage::Back { at, .. } => Some(*at),
            Stage::Asking { until, .. } | Stage::Waiting { until, .. } => Some(*until),
        }
    }

    /// The first broker gave a job. Refused: that is its answer.
    pub(super) fn take(&mut self, client: Vec<u8>, message: Vec<u8>, now: Instant) -> Result<(), Refused> {
        let trail = Trail::read(&client);
        let refused = if trail.contains(self.rules.id) {
            Refused::Loop(trail)
        } else if trail.hops() >= limits::HOPS {
            Refused::Hops(trail)
        } else {
            let job = Job { client, message, trail: trail.with(self.rules.id), asked: 0 };
            self.stage = Stage::Going { job, at: now + self.rules.half_delay };
            return Ok(());
        };
        self.stage = Stage::Answering { client, reply: refused.reply().to_vec() };
        Err(refused)
    }

    /// Time has passed. Gives the trail of a request that is given up: its reply may come yet and must meet nobody.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Trail> {
        let stage = std::mem::replace(&mut self.stage, Stage::Free);
        let mut given_up = None;
        self.stage = match stage {
            Stage::Going { job, at } if now >= at => Stage::Asking { job, until: now + self.rules.patience },
            Stage::Asking { job, until } if now >= until => error(job, b"ERROR patience"),
            Stage::Waiting { job, until } if now >= until => {
                given_up = Some(job.trail.clone());
                error(job, b"ERROR patience")
            }
            Stage::Back { client, reply, at } if now >= at => Stage::Answering { client, reply },
            other => other,
        };
        given_up
    }

    /// What [`Want::Ask`] said has left.
    pub(super) fn asked(&mut self) {
        self.turn(|stage| match stage {
            Stage::Asking { job, until } => {
                Stage::Waiting { job: Job { asked: job.asked + 1, ..job }, until }
            }
            other => other,
        });
    }

    /// The connection to the second broker with this trail ended: the reply to what was asked there cannot come any more.
    pub(super) fn lost(&mut self, trail: &Trail) {
        self.turn(|stage| match stage {
            Stage::Waiting { job, .. } if job.trail == *trail && job.asked >= limits::ASKS => {
                error(job, b"ERROR lost")
            }
            Stage::Waiting { job, until } if job.trail == *trail => Stage::Asking { job, until },
            other => other,
        });
    }

    /// The second broker replied.
    pub(super) fn reply(&mut self, reply: Vec<u8>, now: Instant) {
        let at = now + self.rules.half_delay;
        self.turn(|stage| match stage {
            Stage::Waiting { job, .. } => Stage::Back { client: job.client, reply, at },
            other => other,
        });
    }

    /// What [`Want::Answer`] said has left.
    pub(super) fn answered(&mut self) {
        self.turn(|stage| match stage {
            Stage::Answering { .. } => Stage::Free,
            other => other,
        });
    }

    /// The connection to the first broker ended: it takes no answer any more from whom it knew there. Gives the trail of what
    /// was asked: its reply may come yet and must meet nobody.
    pub(super) fn forget(&mut self) -> Option<Trail> {
        match std::mem::replace(&mut self.stage, Stage::Free) {
            Stage::Waiting { job, .. } => Some(job.trail),
            _ => None,
        }
    }

    fn turn(&mut self, next: impl FnOnce(Stage) -> Stage) {
        self.stage = next(std::mem::replace(&mut self.stage, Stage::Free));
    }
}

fn error(job: Job, reply: &[u8]) -> Stage {
    Stage::Answering { client: job.client, reply: reply.to_vec() }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
