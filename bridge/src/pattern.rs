//! Between programs of ZeroMQ's patterns and the cluster: what comes becomes jobs, their ends become what is sent.
//!
//! ```text
//!   ventilator ──PUSH──▶ PULL ┐                                 ┌─▶ job on any node
//!                             ├─ thread: Flow ─task─▶ Work ─HTTP┤
//!   sink ◀──PULL── PUSH ◀─────┘        ◀──answer──── (as many   └─◀ its end
//!   one peer ◀════PAIR═══▶               at once as allowed)
//! ```
//! A task is answered once, with the output of its job or `ERROR reason`. What ZeroMQ does not promise cannot be promised
//! here: PUSH and PULL know no acknowledgement, so a task that a killed bridge had read is gone (its job, if it was
//! submitted, runs to its end).

mod ends;
mod flow;
mod peer;
mod template;
mod turn;
mod work;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::address::Address;
use crate::api::Api;
use crate::errand::Say;
use crate::limits;
use crate::stop::Stop;
use ends::Sockets;
use flow::Flow;
use turn::{Task, Turn};
use work::Work;

pub use template::{Template, TemplateError};

/// Where tasks come from and answers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Tasks from a ventilator, confirmations to a sink, in the order in which jobs end.
    Batch {
        /// Of the ventilator.
        pull: Address,
        /// Of the sink.
        push: Address,
    },
    /// Questions of one exclusive peer, answers to it in the order of the questions.
    Pair(Address),
}

/// What the bridge does.
#[derive(Clone, Debug)]
pub struct PatternSettings {
    ends: Ends,
    class: String,
    template: Template,
    concurrency: usize,
}

/// The bridge cannot be as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternSettingsError {
    /// The class has a name longer than any may be.
    #[error("class: a name has 1 to {} bytes, this has {bytes}", protocol::limits::CLASS_BYTES)]
    ClassBytes {
        /// How many it has.
        bytes: usize,
    },
    /// None or too many at once.
    #[error("concurrency: 1 to {}, this is {given}", limits::CONCURRENCY)]
    Concurrency {
        /// What was given.
        given: usize,
    },
}

/// Why the bridge ended that was not asked to, or never began.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A socket cannot be had.
    #[error("address {address}: {why}")]
    Socket {
        /// Which.
        address: String,
        /// Why not.
        why: String,
    },
    /// ZeroMQ failed in a way that does not pass.
    #[error("waiting for tasks: {why}")]
    Wait {
        /// How.
        why: String,
    },
    /// Its thread cannot be started, or ended by a broken invariant.
    #[error("running the bridge: {why}")]
    Thread {
        /// How.
        why: String,
    },
}

impl PatternSettings {
    /// Jobs of `class`, at most `concurrency` under way at once, whose payload is the template with the task in it.
    ///
    /// # Errors
    /// [`PatternSettingsError`], naming the limit.
    pub fn new(
        ends: Ends,
        class: &str,
        template: Template,
        concurrency: usize,
    ) -> Result<Self, PatternSettingsError> {
        if class.is_empty() || class.len() > protocol::limits::CLASS_BYTES {
            return Err(PatternSettingsError::ClassBytes { bytes: class.len() });
        }
        if !(1..=limits::CONCURRENCY).contains(&concurrency) {
            return Err(PatternSettingsError::Concurrency { given: concurrency });
        }
        Ok(Self { ends, class: class.to_string(), template, concurrency })
    }
}

/// Serves until it is told to stop; then answers what it has read, within ten seconds. Gives how many tasks are left without
/// an answer. Needs a tokio runtime with time and I/O.
///
/// # Errors
/// [`PatternError`]; a cluster that cannot be reached is none, however long.
pub async fn run(settings: &PatternSettings, api: Api, stop: &Stop, say: Say) -> Result<usize, PatternError> {
    let sockets = Sockets::open(&settings.ends, &say)?;
    let (tasks, mut wanted) = mpsc::channel(settings.concurrency);
    let (done, answers) = std::sync::mpsc::sync_channel(settings.concurrency);
    let is_ordered = matches!(settings.ends, Ends::Pair(_));
    let flow = Flow::new(settings.concurrency, is_ordered);
    let turn = Turn { sockets, flow, tasks, answers, stop: stop.clone() };
    let thread = std::thread::Builder::new().name("pattern".to_string()).spawn(move || turn.run());
    let thread = thread.map_err(|cause| PatternError::Thread { why: cause.to_string() })?;
    let work = Arc::new(Work::new(api, &settings.class, &settings.template, say));
    // What still runs when this returns is dropped with it: its jobs go on, its answers have nobody to go to.
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            task = wanted.recv() => match task {
                Some(task) => {
                    under_way.spawn(answer(Arc::clone(&work), task, done.clone(), stop.clone()));
                }
                // The thread has ended, or is about to.
                None => break,
            },
            Some(_) = under_way.join_next() => {}
        }
    }
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    let broken = || PatternError::Thread { why: "its thread ended by a broken invariant".to_string() };
    ended.map_err(|_| broken())?.map_err(|_| broken())?
}

/// One task, from its coming to its answer.
async fn answer(work: Arc<Work>, (number, task): Task, done: SyncSender<Task>, stop: Stop) {
    let answer = work.answer(&task).await;
    // There is room for all that may be under way; an error means that the thread has ended.
    let _ = done.try_send((number, answer));
    stop.ring();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named_with_its_limit() {
        let settings = |class: &str, concurrency: usize| {
            let ends = Ends::Pair(Address::read("tcp://*:5560").unwrap());
            let template = Template::read("{}").unwrap();
            PatternSettings::new(ends, class, template, concurrency).map_err(|error| error.to_string())
        };
        assert!(settings("C", 1).is_ok() && settings("C", 1_024).is_ok());
        assert_eq!(settings("", 1).unwrap_err(), "class: a name has 1 to 200 bytes, this has 0");
        assert!(settings(&"c".repeat(201), 1).is_err());
        assert_eq!(settings("C", 0).unwrap_err(), "concurrency: 1 to 1024, this is 0");
        assert!(settings("C", 1_025).is_err());
    }
}
