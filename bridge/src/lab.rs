//! Between two brokers that speak the lab's frames: the lab's `worcli`, for any classes and many requests at once.
//!
//! ```text
//!   client ──▶ broker 1 ──job──▶ lane: worker ─ delay/2 ─▶ client ──request──▶ broker 2 ──▶ its workers
//!   client ◀── broker 1 ◀─answer─ lane: worker ◀─ delay/2 ─ client ◀──reply─── broker 2
//! ```
//! A class has several lanes; each has one request under way, as a broker expects it of a REQ. Either side may be a node of
//! a cluster or the lab's own broker.
//!
//! What it decides where the lab is silent:
//! - The second broker's connection ends before the reply: no reply can come any more, so it is asked again, three times in
//!   all, then `ERROR lost`. So a request may run twice there. The other choice, an error at once, would make each restart
//!   of a broker an error of all that was under way.
//! - The second broker is silent for longer than the patience: `ERROR patience`, and it is *not* asked again. It may only be
//!   slow, and asking a slow one again makes it slower.
//! - The first broker's connection ends: the job is forgotten. Its broker offers it again by its own rule, and one that was
//!   started anew knows nothing of it.
//! - A request comes by that has passed this bridge before: `ERROR loop` ([`BridgeId`] is how it knows).

mod clients;
mod frames;
mod lane;
mod line;
mod link;
mod names;
mod trail;
mod turn;

use std::time::Duration;

use crate::address::{Address, AddressError};
use crate::limits;
use crate::stop::Stop;

pub use trail::BridgeId;

/// What a bridge joins, and how.
#[derive(Clone, Debug)]
pub struct LabSettings {
    workers: Address,
    clients: Address,
    delay: Duration,
    patience: Duration,
    classes: Vec<String>,
    lanes: usize,
    host: String,
}

/// A bridge cannot be as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabSettingsError {
    /// An address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A broker's address is one to bind.
    #[error("address {address}: a broker binds and a bridge connects to it: name its host")]
    Binds {
        /// Which.
        address: String,
    },
    /// No class is named, or too many are.
    #[error("classes: 1 to {} can be named, these are {count}", limits::CLASSES)]
    Classes {
        /// How many.
        count: usize,
    },
    /// A class has a name longer than any may be.
    #[error("class {class:?}: a name has at most {} bytes", protocol::limits::CLASS_BYTES)]
    ClassBytes {
        /// Which, its beginning.
        class: String,
    },
    /// There are none or too many lanes.
    #[error("lanes: 1 to {} in all, these are {lanes} for each of {classes} classes", limits::LANES)]
    Lanes {
        /// For each class.
        lanes: usize,
        /// Classes.
        classes: usize,
    },
    /// The delay is longer than any may be.
    #[error("delay: at most {} ms, this is {delay_ms} ms", limits::DELAY_MS)]
    Delay {
        /// What was asked for.
        delay_ms: u128,
    },
    /// Without patience every request would fail.
    #[error("patience: must be longer than 0")]
    Patience,
}

/// Why a bridge ended that was not asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabError {
    /// The system gave not what a start needs.
    #[error("starting the bridge: {why}")]
    Start {
        /// Why not.
        why: String,
    },
    /// ZeroMQ failed in a way that does not pass.
    #[error("waiting for the brokers: {why}")]
    Socket {
        /// How.
        why: String,
    },
}

impl LabSettings {
    /// Of the first broker's port for workers and the second's for clients. `host` is this host's name, which becomes part of
    /// the names the brokers see; `lanes` is how many requests each class has under way at most.
    ///
    /// # Errors
    /// [`LabSettingsError`], naming what cannot be and its limit.
    pub fn new(
        workers_url: &str,
        clients_url: &str,
        classes: &[String],
        lanes: usize,
        host: &str,
    ) -> Result<Self, LabSettingsError> {
        let mut distinct: Vec<String> = Vec::new();
        for class in classes {
            if class.len() > protocol::limits::CLASS_BYTES {
                return Err(LabSettingsError::ClassBytes { class: class.chars().take(50).collect() });
            }
            if !distinct.contains(class) {
                distinct.push(class.clone());
            }
        }
        let count = distinct.len();
        if !(1..=limits::CLASSES).contains(&count) {
            return Err(LabSettingsError::Classes { count });
        }
        if lanes == 0 || lanes.saturating_mul(count) > limits::LANES {
            return Err(LabSettingsError::Lanes { lanes, classes: count });
        }
        Ok(Self {
            workers: broker(workers_url)?,
            clients: broker(clients_url)?,
            delay: Duration::ZERO,
            patience: Duration::from_secs(60),
            classes: distinct,
            lanes,
            host: host.to_string(),
        })
    }

    /// With a delay for each request, half of it on the way there and half on the way back.
    ///
    /// # Errors
    /// [`LabSettingsError::Delay`].
    pub fn delayed(self, delay: Duration) -> Result<Self, LabSettingsError> {
        if delay > Duration::from_millis(limits::DELAY_MS) {
            return Err(LabSettingsError::Delay { delay_ms: delay.as_millis() });
        }
        Ok(Self { delay, ..self })
    }

    /// Gives a request up when the second broker has not replied for so long.
    ///
    /// # Errors
    /// [`LabSettingsError::Patience`].
    pub fn patient(self, patience: Duration) -> Result<Self, LabSettingsError> {
        if patience.is_zero() {
            return Err(LabSettingsError::Patience);
        }
        Ok(Self { patience, ..self })
    }

    /// By what trails know this bridge: its two addresses and its classes, nothing else.
    #[must_use]
    pub fn id(&self) -> BridgeId {
        BridgeId::of(self.workers.url(), self.clients.url(), &self.classes)
    }
}

fn broker(url: &str) -> Result<Address, LabSettingsError> {
    let address = Address::read(url)?;
    if address.binds() { Err(LabSettingsError::Binds { address: url.to_string() }) } else { Ok(address) }
}

/// Serves, on this thread, until it is told to stop; then finishes what is under way within ten seconds. `say` hears what an
/// operator may want to know, a line each.
///
/// # Errors
/// [`LabError`]; a broker that is away is none, however long it stays away.
pub fn run(settings: &LabSettings, stop: &Stop, say: &dyn Fn(&str)) -> Result<(), LabError> {
    let (classes, lanes) = (settings.classes.len(), settings.lanes);
    say(&format!(
        "bridge {} from {} to {}: {classes} classes, {lanes} lanes each",
        settings.id(),
        settings.workers,
        settings.clients
    ));
    turn::serve(settings, stop, say)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(classes: &[&str], lanes: usize) -> Result<LabSettings, String> {
        let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
        LabSettings::new("tcp://a:9999", "tcp://b:9998", &classes, lanes, "h").map_err(|e| e.to_string())
    }

    #[test]
    fn what_cannot_be_is_named_with_its_limit() {
        let long = "x".repeat(201);
        let many: Vec<String> = (0..65).map(|at| at.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (classes, lanes, part) in [
            (&[][..], 4, "classes: 1 to 64 can be named, these are 0"),
            (&many[..], 1, "these are 65"),
            (&[long.as_str()][..], 4, "at most 200 bytes"),
            (&["D"][..], 0, "lanes: 1 to 64 in all"),
            (&["A", "B"][..], 33, "these are 33 for each of 2 classes"),
        ] {
            let message = settings(classes, lanes).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        let one = settings(&["D"], 4).unwrap();
        assert!(one.clone().delayed(Duration::from_secs(3_601)).is_err());
        assert!(one.patient(Duration::ZERO).is_err());
        let star = LabSettings::new("tcp://*:9999", "tcp://b:9998", &["D".to_string()], 4, "h");
        assert!(star.unwrap_err().to_string().contains("tcp://*:9999"));
    }

    #[test]
    fn a_class_named_twice_is_one() {
        assert_eq!(settings(&["A", "", "A"], 4).unwrap().classes, ["A", ""]);
    }
}
