//! One worker that a test speaks through, word by word.

use std::time::{Duration, Instant};

use zmq::Socket;

use super::{Frames, dealer, next, send};

/// The real one's `broker-ping-interval`.
pub(super) const PING: Duration = Duration::from_secs(1);

/// It says what it is told to. Only [`Worker::hears`] pings by itself.
pub struct Worker {
    socket: Socket,
    pinged: Option<Instant>,
}

impl Worker {
    /// Connects to a node and says nothing yet.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { socket: dealer(url), pinged: None }
    }

    /// Registers as the real one does: group and headers, the empty frame, a description, the job it is at work at.
    #[must_use]
    pub fn registered(url: &str, group: &str, headers: &[&str], current_job: Option<&str>) -> Self {
        let mut worker = Self::new(url);
        worker.say(&init(group, headers, current_job));
        worker.pinged = Some(Instant::now());
        worker
    }

    /// Says something.
    pub fn say<T: AsRef<[u8]>>(&self, frames: &[T]) {
        send(&self.socket, frames);
    }

    /// From now on [`Self::hears`] pings each second, or no more.
    pub fn pings(&mut self, does: bool) {
        self.pinged = does.then(Instant::now);
    }

    /// Pings when it is time to.
    pub fn keep_alive(&mut self) {
        if self.pinged.is_some_and(|at| at.elapsed() >= PING) {
            self.say(&["ping"]);
            self.pinged = Some(Instant::now());
        }
    }

    /// What is said to it next, whatever it is.
    #[must_use]
    pub fn hears_anything(&self, within: Duration) -> Option<Frames> {
        next(&self.socket, within)
    }

    /// What is said to it next beside `pong`; it pings meanwhile.
    #[must_use]
    pub fn hears(&mut self, within: Duration) -> Option<Frames> {
        let deadline = Instant::now() + within;
        loop {
            self.keep_alive();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.hears_anything(left.min(PING / 4)) {
                Some(frames) if frames == ["pong"] => {}
                Some(frames) => return Some(frames),
                None if left.is_zero() => return None,
                None => {}
            }
        }
    }

    /// The job it is given within that time.
    ///
    /// # Panics
    /// When it is given none, or is told something else.
    #[must_use]
    pub fn takes(&mut self, within: Duration) -> String {
        let said = self.hears(within).unwrap_or_else(|| panic!("no job within {within:?}"));
        assert!(said.len() == 4 && said[0] == "eval", "{said:?} is no job");
        said[1].clone()
    }

    /// It is through with a job.
    pub fn done(&self, id: &str, status: &str, message: &str) {
        self.say(&["done", id, status, message]);
    }
}

/// The frames of a registration.
pub(super) fn init(group: &str, headers: &[&str], current_job: Option<&str>) -> Frames {
    let mut frames = vec!["init".to_string(), group.to_string()];
    frames.extend(headers.iter().map(ToString::to_string));
    frames.extend([String::new(), format!("description=worker of {group}")]);
    frames.extend(current_job.map(|id| format!("current_job={id}")));
    frames
}
