//! What a bridge to a queue is asked to do.

use lapin::uri::{AMQPScheme, AMQPUri};

use super::{AmqpSettingsError, Discover};
use crate::limits;

/// What the bridge does.
#[derive(Clone, Debug)]
pub struct AmqpSettings {
    pub(super) url: AMQPUri,
    pub(super) queue: String,
    pub(super) class: String,
    /// Messages under way at once, at most; the slots of the nodes that serve the class bound them, too.
    pub(super) prefetch: usize,
    /// Where messages go whose jobs failed for good; none: they are rejected.
    pub(super) dead: Option<String>,
    /// Whether the output goes to whom a message names for its reply.
    pub(super) replies: bool,
    /// Asks where the server is, before each connection.
    pub(super) discover: Option<Discover>,
}

impl AmqpSettings {
    /// Messages of `queue` at the server of `url` become jobs of `class`.
    ///
    /// # Errors
    /// [`AmqpSettingsError`], naming the flag and the limit.
    pub fn new(url: &str, queue: &str, class: &str, prefetch: usize) -> Result<Self, AmqpSettingsError> {
        let url: AMQPUri = url.parse().map_err(|why| AmqpSettingsError::Url { why })?;
        if url.scheme == AMQPScheme::AMQPS {
            return Err(AmqpSettingsError::Url { why: "TLS is not spoken here".to_string() });
        }
        check_queue("queue", queue)?;
        if class.is_empty() || class.len() > protocol::limits::CLASS_BYTES {
            return Err(AmqpSettingsError::ClassBytes { bytes: class.len() });
        }
        if !(1..=limits::CONCURRENCY).contains(&prefetch) {
            return Err(AmqpSettingsError::Prefetch { given: prefetch });
        }
        let (queue, class) = (queue.to_string(), class.to_string());
        Ok(Self { url, queue, class, prefetch, dead: None, replies: false, discover: None })
    }

    /// Messages whose jobs failed for good go to this queue.
    ///
    /// # Errors
    /// [`AmqpSettingsError`] when no queue can be called so.
    pub fn burying(self, dead: Option<&str>) -> Result<Self, AmqpSettingsError> {
        dead.map_or(Ok(()), |dead| check_queue("dead", dead))?;
        Ok(Self { dead: dead.map(ToString::to_string), ..self })
    }

    /// The output of a job goes to whom its message names for the reply.
    #[must_use]
    pub fn replying(self, replies: bool) -> Self {
        Self { replies, ..self }
    }

    /// Where the server is, is asked there before each connection.
    #[must_use]
    pub fn discovering(self, discover: Option<Discover>) -> Self {
        Self { discover, ..self }
    }
}

fn check_queue(flag: &'static str, name: &str) -> Result<(), AmqpSettingsError> {
    match name.len() {
        1..=limits::QUEUE_BYTES => Ok(()),
        bytes => Err(AmqpSettingsError::QueueBytes { flag, bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named_with_its_limit() {
        let made = |url: &str, queue: &str, class: &str, prefetch: usize| {
            let settings = AmqpSettings::new(url, queue, class, prefetch);
            settings.map(|settings| settings.url).map_err(|error| error.to_string())
        };
        let url = made("amqp://localhost", "q", "C", 1).unwrap();
        assert_eq!(
            (url.authority.host.as_str(), url.authority.port, url.vhost.as_str()),
            ("localhost", 5_672, "/")
        );
        for (given, part) in [
            (made("http://localhost", "q", "C", 1), "url: must be amqp://"),
            (made("amqps://localhost", "q", "C", 1), "TLS is not spoken here"),
            (made("amqp://a", "", "C", 1), "queue: a queue's name has 1 to 255 bytes, this has 0"),
            (made("amqp://a", &"q".repeat(256), "C", 1), "this has 256"),
            (made("amqp://a", "q", "", 1), "class: a name has 1 to 200 bytes"),
            (made("amqp://a", "q", "C", 0), "prefetch: 1 to 1024, this is 0"),
        ] {
            let error = given.unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let settings = AmqpSettings::new("amqp://a", "q", "C", 1).unwrap();
        assert!(settings.clone().burying(Some("")).unwrap_err().to_string().starts_with("dead: "));
        assert_eq!(settings.burying(Some("d")).unwrap().dead.as_deref(), Some("d"));
    }
}
