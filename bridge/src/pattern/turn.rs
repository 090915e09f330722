//! The thread that owns the sockets: tasks in as long as there is room, answers out as they can leave.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use zmq::PollItem;

use super::PatternError;
use super::ends::{Came, Sockets};
use super::flow::Flow;
use crate::limits;
use crate::stop::Stop;

/// A poll ends after this even when nothing is due.
const LONGEST: Duration = Duration::from_secs(60);
const FINISH: Duration = Duration::from_millis(limits::FINISH_MS);

/// A task with its number.
pub(super) type Task = (u64, Vec<u8>);

pub(super) struct Turn {
    pub(super) sockets: Sockets,
    pub(super) flow: Flow,
    /// To those who make jobs of them; holds as many as may be under way.
    pub(super) tasks: Sender<Task>,
    /// Their answers; `stop` rings when there is one.
    pub(super) answers: Receiver<Task>,
    pub(super) stop: Stop,
}

impl Turn {
    /// Runs until it is told to stop and has answered all; gives how many answers it owes still.
    pub(super) fn run(mut self) -> Result<usize, PatternError> {
        let mut until: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let stopping = self.stop.is_told();
            if self.sockets.look(now)? {
                self.flow.forget();
            }
            // As many as may be under way, all of them: the bell that told of them is silent now.
            while let Ok((number, answer)) = self.answers.try_recv() {
                self.flow.done(number, answer);
            }
            let is_alone = !stopping && !self.read();
            self.write();
            if stopping {
                until.get_or_insert(now + FINISH);
            }
            let is_over =
                until.is_some_and(|until| self.flow.owed() == 0 || now >= until || self.stop.is_urgent());
            if is_over || is_alone {
                let owed = self.flow.owed();
                let closed = self.sockets.close(self.stop.is_urgent());
                return closed.map(|()| owed).map_err(|error| PatternError::Wait { why: error.to_string() });
            }
            self.wait(stopping, until)?;
        }
    }

    /// Takes tasks; false when nobody makes jobs of them any more.
    fn read(&mut self) -> bool {
        for _ in 0..limits::TURN_MESSAGES {
            if !self.flow.has_room() {
                break;
            }
            let task = match self.sockets.receive() {
                Came::Task(task) => task,
                Came::NoTask => {
                    let number = self.flow.admit();
                    self.flow.done(number, b"ERROR frames".to_vec());
                    continue;
                }
                Came::Nothing => break,
            };
            let number = self.flow.admit();
            match self.tasks.try_send((number, task)) {
                Ok(()) => {}
                // There is room for all that may be under way, so this is for a broken promise only.
                Err(TrySendError::Full(_)) => self.flow.done(number, b"ERROR full".to_vec()),
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        true
    }

    fn write(&mut self) {
        for _ in 0..limits::TURN_MESSAGES {
            match self.flow.front() {
                Some(answer) if self.sockets.send(answer) => self.flow.sent(),
                Some(_) | None => break,
            }
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self, stopping: bool, until: Option<Instant>) -> Result<(), PatternError> {
        let due = self.sockets.due().into_iter().chain(until).min();
        let rest = due.map_or(LONGEST, |due| due.saturating_duration_since(Instant::now()).min(LONGEST));
        // Rounded up: a poll that ends before its time would be a turn for nothing.
        let rest_ms = i64::try_from(rest.as_micros().div_ceil(1_000)).unwrap_or(i64::MAX);
        let mut items = vec![PollItem::from_fd(self.stop.bell(), zmq::POLLIN)];
        let reads = !stopping && self.flow.has_room();
        items.extend(self.sockets.poll_items(reads, self.flow.front().is_some()));
        match zmq::poll(&mut items, rest_ms) {
            Ok(_) | Err(zmq::Error::EINTR) => {
                self.stop.hush();
                Ok(())
            }
            Err(error) => Err(PatternError::Wait { why: error.to_string() }),
        }
    }
}
