//! How the lab's ports are bounded, and what their messages say.

use std::time::Duration;

use bytes::Bytes;
use gate::{Kind, Rules};
use protocol::cbw::{self, BadAsk, WorkerSays};
use protocol::limits::{LAB_ENVELOPE_BYTES, LAB_FRAMES, PAYLOAD_BYTES};

use super::clients::{Asks, error};
use crate::mint::Mint;
use crate::ports::{PeerId, Read, Side, Wire};

/// Connections of one port, and of one address at it.
const CONNECTIONS: usize = 8_192;
const CONNECTIONS_AN_ADDRESS: usize = 4_096;
/// Bytes that came in at one port and that its thread has not taken yet.
const UNREAD_BYTES: usize = 32 << 20;
/// How long a connection may take to say who it is, and to finish a message it has begun.
const HANDSHAKE: Duration = Duration::from_secs(5);
const MESSAGE: Duration = Duration::from_secs(10);

/// What a message says.
#[derive(Clone, Debug)]
pub(crate) enum LabSaid {
    /// A client's, or a worker's: none of the wire's messages.
    Unreadable(Side),
    /// A client's request.
    Asks(Asks),
    /// A worker is there and free.
    Registers { class: Bytes },
    /// A worker has done what it was given.
    Returns { client: Bytes, text: Bytes, class: Bytes },
}

/// Reads the lab's messages.
#[derive(Debug, Default)]
pub(super) struct LabWire {
    mint: Mint,
}

impl Wire for LabWire {
    type Said = LabSaid;
    const NAME: &'static str = "lab";
    const WHOSE: &'static str = "the lab's";

    fn read(&mut self, side: Side, peer: &PeerId, frames: &[Bytes]) -> Read<LabSaid> {
        match side {
            Side::Clients => self.client(peer, frames),
            Side::Workers => Read { said: Some(worker(frames)), answer: None },
        }
    }
}

impl LabWire {
    fn client(&mut self, peer: &PeerId, frames: &[Bytes]) -> Read<LabSaid> {
        let (envelope, why) = match cbw::ask(frames) {
            Ok(ask) => match self.mint.job() {
                Ok(job) => {
                    let said = LabSaid::Asks(Asks { peer: peer.clone(), job, ask });
                    return Read { said: Some(said), answer: None };
                }
                Err(error) => (ask.envelope, error.to_string()),
            },
            Err(BadAsk::Frames { envelope }) => (envelope, "frames".to_owned()),
            Err(BadAsk::NoEnvelope) => {
                return Read { said: Some(LabSaid::Unreadable(Side::Clients)), answer: None };
            }
        };
        Read { said: None, answer: Some(cbw::reply(envelope, error(&why))) }
    }
}

fn worker(frames: &[Bytes]) -> LabSaid {
    match cbw::worker_says(frames) {
        Some(WorkerSays::Registers { class }) => LabSaid::Registers { class },
        Some(WorkerSays::Returns { client, text, class }) => LabSaid::Returns { client, text, class },
        None => LabSaid::Unreadable(Side::Workers),
    }
}

/// Of each port.
pub(super) fn rules() -> Rules {
    Rules {
        kinds: &[Kind::Req, Kind::Dealer, Kind::Router],
        frame_bytes: PAYLOAD_BYTES + LAB_ENVELOPE_BYTES,
        message_bytes: PAYLOAD_BYTES + 2 * LAB_ENVELOPE_BYTES,
        message_frames: LAB_FRAMES,
        connections: CONNECTIONS,
        connections_an_address: CONNECTIONS_AN_ADDRESS,
        unread_bytes: UNREAD_BYTES,
        handshake: HANDSHAKE,
        message: MESSAGE,
        subscriptions: 0,
    }
}
