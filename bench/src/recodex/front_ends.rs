//! What front ends ask: one DEALER at each node, its evaluations one behind the other.

use std::time::Instant;

use zmq::{Context, DONTWAIT, Socket};

use super::{GROUP, dealer, failed};
use crate::lab::BenchError;
use crate::limits::{PATIENCE, TURN_MESSAGES};

/// How long to wait for an answer before something else is looked at.
const TURN_MS: i64 = 1;

/// An answer.
pub(super) enum Said {
    Accepted,
    Rejected(String),
    /// Names and numbers.
    Counts(Vec<(String, u64)>),
    /// `ack`, and what means nothing.
    Nothing,
}

pub(super) struct FrontEnds {
    sockets: Vec<Socket>,
}

impl FrontEnds {
    pub(super) fn new(context: &Context, urls: &[String]) -> Result<Self, BenchError> {
        let sockets = urls.iter().map(|url| dealer(context, url)).collect::<Result<Vec<_>, _>>()?;
        if sockets.is_empty() {
            return Err(BenchError::new("asking for evaluations", "there is no address for front ends"));
        }
        Ok(Self { sockets })
    }

    /// The nodes take turns.
    pub(super) fn ask(&self, number: usize, id: &str) -> Result<(), BenchError> {
        let group = format!("hwgroup={GROUP}");
        let (from, to) = (format!("http://f/{id}.zip"), format!("http://f/{id}/result"));
        let frames = ["eval", id, &group, "", &from, &to];
        let socket = &self.sockets[number % self.sockets.len()];
        socket.send_multipart(frames, 0).map_err(failed)
    }

    pub(super) fn hear(&self) -> Result<Vec<Said>, BenchError> {
        let mut items: Vec<_> = self.sockets.iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
        zmq::poll(&mut items, TURN_MS).map_err(failed)?;
        let mut all = Vec::new();
        for socket in &self.sockets {
            for _ in 0..TURN_MESSAGES {
                let Ok(frames) = socket.recv_multipart(DONTWAIT) else { break };
                all.push(said(&frames));
            }
        }
        Ok(all)
    }

    /// A number of `get-runtime-stats` at the first node.
    pub(super) fn counts(&mut self, name: &str) -> Result<u64, BenchError> {
        let asked = Instant::now();
        self.sockets[0].send("get-runtime-stats", 0).map_err(failed)?;
        while asked.elapsed() < PATIENCE {
            for said in self.hear()? {
                match said {
                    Said::Counts(pairs) => {
                        return Ok(pairs
                            .iter()
                            .find(|(known, _)| known == name)
                            .map_or(0, |(_, count)| *count));
                    }
                    Said::Rejected(why) => return Err(BenchError::new("asking for counts", why)),
                    Said::Accepted | Said::Nothing => {}
                }
            }
        }
        Err(BenchError::new("asking for counts", format!("no answer for {PATIENCE:?}")))
    }
}

fn said(frames: &[Vec<u8>]) -> Said {
    let text = |frame: &Vec<u8>| String::from_utf8_lossy(frame).into_owned();
    match frames {
        [word] if word == b"accept" => Said::Accepted,
        [word, why] if word == b"reject" => Said::Rejected(text(why)),
        [word, _, ..] if word == b"evaluated-jobs" => {
            let pairs = frames.chunks_exact(2);
            Said::Counts(pairs.map(|pair| (text(&pair[0]), text(&pair[1]).parse().unwrap_or(0))).collect())
        }
        _ => Said::Nothing,
    }
}
