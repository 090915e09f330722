//! How ReCodEx's ports are bounded, and what their messages say.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gate::{Kind, Rules};
use protocol::limits::{HEADERS_BYTES, PAYLOAD_BYTES, RECODEX_HEADERS, RECODEX_ID_BYTES};
use protocol::recodex::wire::{self, ClientSays, WorkerSays};

use crate::ports::{PeerId, Read, Side, Wire};

/// Connections of one port. (All workers of a node may come through one address: a proxy's.)
const CONNECTIONS: usize = 8_192;
/// Bytes that came in at one port and that its thread has not taken yet.
const UNREAD_BYTES: usize = 32 << 20;
/// How long a connection may take to say who it is, and to finish a message it has begun.
const HANDSHAKE: Duration = Duration::from_secs(5);
const MESSAGE: Duration = Duration::from_secs(10);
/// Frames of one message: the largest registration, or a job of as many headers with as many frames behind them.
const FRAMES: usize = 2 * RECODEX_HEADERS + 8;
/// What a message may have beyond a job's frames and headers. One that is somewhat too large is read, and rejected in words.
const BEYOND_BYTES: usize = 4 * (RECODEX_ID_BYTES + FRAMES);

/// What a message says.
#[derive(Clone, Debug)]
pub(crate) enum RecodexSaid {
    /// A front end.
    Asks {
        /// What.
        asked: ClientSays,
        /// When it came: its verdict is due some time after that.
        at: Instant,
    },
    /// A worker.
    Says(WorkerSays),
}

/// Reads ReCodEx's messages.
#[derive(Debug)]
pub(super) struct RecodexWire;

impl Wire for RecodexWire {
    type Said = RecodexSaid;
    const NAME: &'static str = "recodex";
    const WHOSE: &'static str = "ReCodEx's";

    fn read(&mut self, side: Side, _peer: &PeerId, frames: &[Bytes]) -> Read<RecodexSaid> {
        match side {
            Side::Clients => {
                let asked = wire::client_says(frames);
                // A front end waits a tenth of a second for this: no loop stands between.
                let is_job = matches!(asked, ClientSays::Eval(_) | ClientSays::BadEval(_));
                let answer = is_job.then(|| wire::word("ack"));
                Read { said: Some(RecodexSaid::Asks { asked, at: Instant::now() }), answer }
            }
            Side::Workers => Read { said: Some(RecodexSaid::Says(wire::worker_says(frames))), answer: None },
        }
    }
}

/// Of each port.
pub(super) fn rules() -> Rules {
    Rules {
        kinds: &[Kind::Req, Kind::Dealer, Kind::Router],
        frame_bytes: PAYLOAD_BYTES + BEYOND_BYTES,
        message_bytes: PAYLOAD_BYTES + HEADERS_BYTES + BEYOND_BYTES,
        message_frames: FRAMES,
        connections: CONNECTIONS,
        connections_an_address: CONNECTIONS,
        unread_bytes: UNREAD_BYTES,
        handshake: HANDSHAKE,
        message: MESSAGE,
        subscriptions: 0,
    }
}
