//! Who is the one peer of a PAIR, and whether he has left. ZeroMQ serves the first that comes and ignores the others, but
//! keeps to itself which connection is whose; it is made out from the order of events.

use crate::monitor::Event;

/// What is known of the connections.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Accepted; whether they speak ZeroMQ is not known yet.
    knocking: Vec<u32>,
    /// The peer's connection. Two that came at the same moment cannot be told apart: then both stand here, and the end of
    /// either counts as his, because an answer lost is better than an answer to a stranger.
    peer: Vec<u32>,
    has_peer: bool,
    /// The next end is of one that never was a peer.
    has_failed: bool,
}

impl Peers {
    /// True: the peer has left.
    pub(super) fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Accepted(number) => {
                self.knocking.retain(|other| *other != number);
                self.knocking.push(number);
                // The number was free again: its connection ended without a word.
                self.has_peer && self.peer == [number]
            }
            Event::Up => {
                if !self.has_peer {
                    self.has_peer = true;
                    self.peer = std::mem::take(&mut self.knocking);
                } else if self.knocking.len() == 1 {
                    // Too late: it is served nothing.
                    self.knocking.clear();
                }
                false
            }
            Event::Failed => {
                self.has_failed = true;
                false
            }
            Event::Ended(number) => self.ended(number),
        }
    }

    fn ended(&mut self, number: u32) -> bool {
        self.knocking.retain(|other| *other != number);
        if std::mem::take(&mut self.has_failed) {
            if self.peer.len() > 1 {
                self.peer.retain(|other| *other != number);
            }
            return false;
        }
        // One that we dialled ourselves was never accepted and has no number.
        self.has_peer && (self.peer.is_empty() || self.peer.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::Event::{Accepted, Ended, Failed, Up};
    use super::*;

    /// Whether the peer has left, after each event.
    fn heard(events: &[Event]) -> Vec<bool> {
        let mut peers = Peers::default();
        events.iter().map(|event| peers.hear(*event)).collect()
    }

    fn left_at(events: &[Event]) -> Option<usize> {
        heard(events).iter().position(|left| *left)
    }

    #[test]
    fn the_first_that_speaks_is_the_peer_and_his_end_is_noticed() {
        assert_eq!(left_at(&[Accepted(5), Up, Ended(5)]), Some(2));
        assert_eq!(left_at(&[Up, Ended(7)]), Some(1), "one we dialled");
        assert_eq!(left_at(&[Accepted(5), Up, Accepted(5)]), Some(2), "his number is given to another");
    }

    #[test]
    fn whatever_others_do_he_stays() {
        let second = [Accepted(5), Up, Accepted(6), Up, Ended(6), Accepted(6), Up, Ended(6)];
        assert_eq!(left_at(&second), None);
        assert_eq!(left_at(&[&second[..], &[Ended(5)]].concat()), Some(8));
        let scanner = [Accepted(4), Failed, Ended(4), Accepted(5), Up, Accepted(6), Failed, Ended(6)];
        assert_eq!(left_at(&scanner), None);
        let silent = [Accepted(4), Accepted(5), Up, Failed, Ended(4)];
        assert_eq!(left_at(&silent), None, "one that never spoke was not him");
        assert_eq!(left_at(&[&silent[..], &[Ended(5)]].concat()), Some(5));
    }

    #[test]
    fn of_two_that_came_at_once_the_end_of_either_counts() {
        assert_eq!(left_at(&[Accepted(4), Accepted(5), Up, Up, Ended(4)]), Some(4));
        assert_eq!(left_at(&[Accepted(4), Accepted(5), Up, Up, Ended(5)]), Some(4));
    }
}
