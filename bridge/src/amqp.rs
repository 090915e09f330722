//! Between a queue of an AMQP 0-9-1 server (RabbitMQ) and the cluster: each message becomes a job, and is acknowledged when
//! that has ended.
//!
//! ```text
//!   queue ──delivery──▶ Session ──▶ carry ──HTTP──▶ job on any node … its end
//!                        ▲  │         ├─ succeeded ─▶ (reply_to) ─▶ acknowledged
//!        slots of nodes ─┘  │         └─ failed ────▶ dead letter ─▶ acknowledged, or rejected
//!        (how many at once) └─ cut off: all that was not acknowledged comes again, to the same jobs
//! ```
//! A message with a `message-id` becomes one job however often it is delivered: the id is the job's key. One without becomes
//! a job at each delivery.

mod carry;
mod discover;
mod error;
mod room;
mod session;
mod settings;

use std::time::{Duration, Instant};

use crate::api::Api;
use crate::errand::{Errands, Say};
use crate::limits;
use crate::stop::Stop;
use carry::Carrier;
use session::{End, Session};

pub use discover::{Discover, DiscoverError};
pub use error::{AmqpError, AmqpSettingsError};
pub use settings::AmqpSettings;

use std::sync::Arc;

/// Between two complaints about a server that cannot be reached.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Serves until it is told to stop; then finishes what is under way, within ten seconds. Gives how many messages went back
/// to the queue without an end of their jobs. Needs a tokio runtime with time and I/O.
///
/// # Errors
/// [`AmqpError`], for what asking again does not mend; a server or a cluster that cannot be reached is none, however long.
pub async fn run(settings: &AmqpSettings, api: Api, stop: &Stop, say: Say) -> Result<usize, AmqpError> {
    let errands = Arc::new(Errands::new(api, Say::clone(&say)));
    let (watcher, room) = room::watch(Arc::clone(&errands), settings);
    let carrier = Arc::new(Carrier::new(settings, errands));
    let mut pause = Duration::from_millis(limits::AMQP_PAUSE_MS);
    let mut complained: Option<Instant> = None;
    let left = loop {
        let opened = tokio::select! {
            () = stop.told(1) => break 0,
            opened = Session::open(settings, &room) => opened,
        };
        let why = match opened {
            Ok(session) => {
                say(&format!("takes messages from {} for class {}", settings.queue, settings.class));
                (pause, complained) = (Duration::from_millis(limits::AMQP_PAUSE_MS), None);
                match session.serve(&carrier, room.clone(), stop).await {
                    End::Told { left } => break left,
                    End::Broken(why) => why,
                }
            }
            Err(AmqpError::Queue(why)) => return Err(AmqpError::Queue(why)),
            Err(why) => why,
        };
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            say(&format!("goes on trying: {why}"));
            complained = Some(Instant::now());
        }
        tokio::select! {
            () = stop.told(1) => break 0,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_millis(limits::AMQP_PAUSE_LAST_MS));
    };
    watcher.abort();
    Ok(left)
}
