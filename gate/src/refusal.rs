//! Why a peer is closed, by name.

use std::fmt;

macro_rules! refusals {
    ($($name:ident $word:literal $sentence:literal)+) => {
        /// Why a connection was closed by the gate. Its text is a sentence for people; [`Refusal::as_str`] a word for metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal {
            $(#[doc = $sentence] $name,)+
        }

        impl Refusal {
            /// All of them, in the order in which they are counted.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// A word for metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)+
                }
            }
        }
    };
}

refusals! {
    Connections "connections" "too many connections to this port"
    ConnectionsAnAddress "connections_an_address" "too many connections from this address"
    Descriptors "descriptors" "this process may not open more files"
    PushedOut "pushed_out" "had not introduced itself when others needed its place"
    SlowHandshake "slow_handshake" "did not introduce itself in time"
    Http "http" "speaks HTTP or another text protocol, not ZeroMQ"
    Tls "tls" "speaks TLS, not plain ZeroMQ"
    Version "version" "speaks a ZeroMQ protocol older than 3.0"
    Garbage "garbage" "does not speak ZeroMQ"
    Mechanism "mechanism" "wants a security mechanism other than NULL"
    Ready "ready" "introduced itself with a broken READY command"
    Kind "kind" "is a kind of socket that this port does not serve"
    Flags "flags" "sent a frame with flags that mean nothing"
    Command "command" "sent a command that is broken, unknown or out of place"
    FrameBytes "frame_bytes" "announced a frame that is too large"
    MessageBytes "message_bytes" "sent a message that is too large"
    MessageFrames "message_frames" "sent a message of too many frames"
    SlowMessage "slow_message" "began a message and did not complete it in time"
    Subscription "subscription" "sent something other than subscriptions"
    Subscriptions "subscriptions" "has too many subscriptions"
    Upstream "upstream" "could not be served, because the program behind the port does not listen"
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_word_and_its_own_place() {
        for (place, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, place);
            assert_eq!(Refusal::ALL.iter().filter(|other| other.as_str() == refusal.as_str()).count(), 1);
        }
    }
}
