//! The front end's calls: a DEALER each, which waits for `ack`, then for the verdict.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use zmq::Socket;

use super::{Frames, dealer, next, send};

/// The real one waits 100 ms for `ack`; a machine that builds something else beside needs more.
const ACK: Duration = Duration::from_secs(1);
/// How long a test listens for a verdict. What the real one waits is in [`Verdict::took`] to be compared.
const LISTEN: Duration = Duration::from_secs(10);

/// What became of an `eval`.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// None: accepted. Else why it was rejected.
    pub rejected: Option<String>,
    /// From the `eval` until here.
    pub took: Duration,
}

/// What the broker counted, by name.
pub type Stats = BTreeMap<String, u64>;

/// One call.
pub struct FrontEnd {
    socket: Socket,
}

impl FrontEnd {
    /// Connects to a node.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { socket: dealer(url) }
    }

    /// Says something.
    pub fn say<T: AsRef<[u8]>>(&self, frames: &[T]) {
        send(&self.socket, frames);
    }

    /// The next answer, if one comes within that time.
    #[must_use]
    pub fn hears(&self, within: Duration) -> Option<Frames> {
        next(&self.socket, within)
    }

    /// Asks for an evaluation: its id, its headers, and two addresses made of the id.
    pub fn asks(&self, id: &str, headers: &[&str]) {
        let addresses = [format!("http://f/{id}.zip"), format!("http://f/{id}/result")];
        let mut frames = vec!["eval", id];
        frames.extend(headers);
        frames.extend(["", &addresses[0], &addresses[1]]);
        self.say(&frames);
    }

    /// What is answered to [`Self::asks`].
    ///
    /// # Panics
    /// When there is no `ack`, no verdict, or something else.
    #[must_use]
    pub fn verdict(&self, id: &str, asked: Instant) -> Verdict {
        let ack = self.hears(ACK);
        assert_eq!(ack.as_deref(), Some(&["ack".to_string()][..]), "{id}: ack within {ACK:?}");
        let said = self.hears(LISTEN).unwrap_or_else(|| panic!("{id}: no verdict within {LISTEN:?}"));
        let took = asked.elapsed();
        let words: Vec<&str> = said.iter().map(String::as_str).collect();
        match words[..] {
            ["accept"] => Verdict { rejected: None, took },
            ["reject", why] => Verdict { rejected: Some(why.to_string()), took },
            _ => panic!("{id}: {said:?} is no verdict"),
        }
    }

    /// Asks at this node and says what came of it.
    pub fn eval(url: &str, id: &str, headers: &[&str]) -> Verdict {
        let call = Self::new(url);
        let asked = Instant::now();
        call.asks(id, headers);
        call.verdict(id, asked)
    }

    /// As [`Self::eval`], where it has to be accepted.
    ///
    /// # Panics
    /// When it is rejected.
    pub fn accepted(url: &str, id: &str, headers: &[&str]) -> Verdict {
        let verdict = Self::eval(url, id, headers);
        assert_eq!(verdict.rejected, None, "{id} at {url}");
        verdict
    }

    /// `freeze` or `unfreeze`.
    ///
    /// # Panics
    /// When it is not acknowledged.
    pub fn freeze(url: &str, frozen: bool) {
        let call = Self::new(url);
        call.say(&[if frozen { "freeze" } else { "unfreeze" }]);
        assert_eq!(call.hears(LISTEN).as_deref(), Some(&["ack".to_string()][..]), "freeze at {url}");
    }

    /// `get-runtime-stats`.
    ///
    /// # Panics
    /// When the answer is no pairs of names and numbers.
    #[must_use]
    pub fn stats(url: &str) -> Stats {
        let call = Self::new(url);
        call.say(&["get-runtime-stats"]);
        let said = call.hears(LISTEN).unwrap_or_else(|| panic!("no stats of {url} within {LISTEN:?}"));
        let number = |text: &String| text.parse().unwrap_or_else(|_| panic!("{text} in {said:?}"));
        said.chunks(2).map(|pair| (pair[0].clone(), number(&pair[1]))).collect()
    }
}
