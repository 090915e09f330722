//! What goes wrong between the queue and the cluster.

use super::DiscoverError;
use crate::limits;

/// The bridge cannot be as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmqpSettingsError {
    /// The address of the server cannot be read.
    #[error("url: must be amqp://[USER:PASSWORD@]HOST[:PORT][/VHOST]: {why}")]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// A queue's name is none.
    #[error("{flag}: a queue's name has 1 to {} bytes, this has {bytes}", limits::QUEUE_BYTES)]
    QueueBytes {
        /// Which one.
        flag: &'static str,
        /// How many it has.
        bytes: usize,
    },
    /// The class has a name longer than any may be.
    #[error("class: a name has 1 to {} bytes, this has {bytes}", protocol::limits::CLASS_BYTES)]
    ClassBytes {
        /// How many it has.
        bytes: usize,
    },
    /// None or too many at once.
    #[error("prefetch: 1 to {}, this is {given}", limits::CONCURRENCY)]
    Prefetch {
        /// What was given.
        given: usize,
    },
}

/// Why no message can be taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AmqpError {
    /// Where the server is could not be found out.
    #[error("looking for the server: {0}")]
    Discover(#[from] DiscoverError),
    /// It cannot be reached, or the connection ended.
    #[error("speaking with the server: {why}")]
    Server {
        /// What the other side, or the system, said.
        why: String,
    },
    /// The server refuses the queue as it is asked for: trying again does not help.
    #[error("opening the queue: {0}")]
    Queue(String),
}

impl AmqpError {
    pub(super) fn server(cause: impl ToString) -> Self {
        Self::Server { why: cause.to_string() }
    }
}
