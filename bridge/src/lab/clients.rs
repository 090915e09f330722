//! A lane's connections to the second broker: one under the usual name, a few for requests that came over other bridges.

use std::time::Instant;

use zmq::{PollEvents, PollItem};

use super::link::{Link, Slot};
use super::trail::Trail;
use super::turn::Around;
use crate::limits;

/// A name is set before a socket connects, so another trail is another socket.
pub(super) struct Clients {
    lane: usize,
    /// The trail of requests that came over no other bridge.
    usual: Trail,
    home: Slot,
    /// The one used last stands last.
    others: Vec<(Trail, Slot)>,
}

impl Clients {
    pub(super) fn new(lane: usize, usual: Trail, around: &Around<'_>) -> Self {
        Self { lane, usual, home: Slot::new(around.now), others: Vec::new() }
    }

    /// Whether the second broker is there.
    pub(super) fn is_up(&self) -> bool {
        self.home.is_up()
    }

    /// Keeps the usual connection; gives the trails of those that ended.
    pub(super) fn look(&mut self, around: &Around<'_>) -> Vec<Trail> {
        let mut ended = Vec::new();
        if self.home.look(around.now) {
            ended.push(self.usual.clone());
        }
        for (trail, slot) in &mut self.others {
            if slot.look(around.now) {
                ended.push(trail.clone());
            }
        }
        fill(&mut self.home, self.lane, &self.usual, around);
        ended
    }

    /// The connection under the name with this trail, made where there is none.
    pub(super) fn link(&mut self, trail: &Trail, around: &Around<'_>) -> Option<&Link> {
        if *trail == self.usual {
            return self.home.link();
        }
        let slot = match self.others.iter().position(|(other, _)| other == trail) {
            Some(at) => self.others.remove(at).1,
            None => {
                if self.others.len() >= limits::TRAILS {
                    self.others.remove(0);
                }
                Slot::new(around.now)
            }
        };
        self.others.push((trail.clone(), slot));
        let (_, slot) = self.others.last_mut()?;
        fill(slot, self.lane, trail, around);
        slot.link()
    }

    /// Throws the connection with this trail away: what may still come by it is for nobody.
    pub(super) fn renew(&mut self, trail: &Trail, around: &Around<'_>) {
        if *trail == self.usual {
            self.home.close(around.now);
        }
        self.others.retain(|(other, _)| other != trail);
    }

    /// When a connection is to be made anew. Those beside the usual one are made when a request wants them.
    pub(super) fn due(&self, around: &Around<'_>) -> Option<Instant> {
        let others = self.others.iter().filter_map(|(_, slot)| slot.due()).filter(|at| *at > around.now);
        others.chain(self.home.due()).min()
    }

    /// For a poll: what is awaited from the one with this trail.
    pub(super) fn poll_items<'a>(
        &'a self,
        awaited: Option<(&'a Trail, PollEvents)>,
    ) -> impl Iterator<Item = PollItem<'a>> {
        let all = self.others.iter().map(|(trail, slot)| (trail, slot)).chain([(&self.usual, &self.home)]);
        all.flat_map(move |(trail, slot)| {
            let events = awaited.filter(|(of, _)| *of == trail).map_or(PollEvents::empty(), |(_, e)| e);
            slot.poll_items(events)
        })
    }
}

fn fill(slot: &mut Slot, lane: usize, trail: &Trail, around: &Around<'_>) {
    let open = || {
        let name = around.names.client(lane, trail);
        // A request that has not left when its link is thrown away is asked again by another.
        Link::open(around.context, around.clients_url, &name, 0, around.now)
    };
    if let Err(error) = slot.fill(around.now, open) {
        (around.say)(&format!("connecting to {}: {error}", around.clients_url));
    }
}
