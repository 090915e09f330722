//! What stands before the port for news: a gate that lets nobody in but subscribers, and knows how many are inside.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gate::{Gate, GateError, Kind, Rules, Told, Upstream};
use tokio::runtime::Handle;

use super::limits::{
    CONNECTIONS, CONNECTIONS_AN_ADDRESS, HANDSHAKE, SUBSCRIPTION, SUBSCRIPTION_BYTES, SUBSCRIPTIONS,
};

/// Name of the private socket behind the gate.
const SOCKET: &str = "news";

/// An open gate before a socket that is still to be bound. Dropping it closes the public port.
#[derive(Debug)]
pub(super) struct Entrance {
    gate: Gate,
    upstream: Upstream,
    inside: Arc<Inside>,
}

impl Entrance {
    /// Opens the public port at `endpoint` (`tcp://HOST:PORT`). The private socket will be in `folder`.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn open(handle: &Handle, folder: &Path, endpoint: &str) -> Result<Self, String> {
        let address = resolved(endpoint)?;
        let upstream = Upstream::in_folder(folder, SOCKET).map_err(|error| error.to_string())?;
        let inside = Arc::new(Inside::default());
        let visited = Arc::clone(&inside);
        let gate = Gate::open(handle, &address.to_string(), &upstream, rules(), move |told| match told {
            Told::Opened { .. } => visited.came(),
            Told::Closed { .. } => visited.went(),
            Told::Refused { address, why } => {
                tracing::warn!(%address, %why, "news: a connection was refused");
            }
        });
        let gate = gate.map_err(|error| match error {
            // The caller names the address.
            GateError::Bind { cause, .. } => cause.to_string(),
            error => error.to_string(),
        })?;
        Ok(Self { gate, upstream, inside })
    }

    /// Where the public port is, with its number when the system chose it.
    pub(super) fn address(&self) -> String {
        format!("tcp://{}", self.gate.address())
    }

    /// Where the private socket belongs.
    pub(super) fn private(&self) -> String {
        self.upstream.endpoint()
    }

    /// The private socket is closed: each connection ends when what had left that socket has gone on to its subscriber. Waits
    /// for that at most so long.
    pub(super) fn emptied(&self, patience: Duration) {
        self.inside.emptied(patience);
    }
}

/// How many subscribers are connected.
#[derive(Debug, Default)]
struct Inside {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Inside {
    fn count(&self) -> MutexGuard<'_, usize> {
        // Nothing that panics happens under this lock.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came(&self) {
        *self.count() += 1;
    }

    fn went(&self) {
        let mut count = self.count();
        *count = count.saturating_sub(1);
        self.fewer.notify_all();
    }

    fn emptied(&self, patience: Duration) {
        let waited = self.fewer.wait_timeout_while(self.count(), patience, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *count > 0 {
            tracing::debug!(subscribers = *count, "news: some were slow and may have missed the last");
        }
    }
}

fn rules() -> Rules {
    Rules {
        kinds: &[Kind::Sub, Kind::Xsub],
        frame_bytes: SUBSCRIPTION_BYTES,
        message_bytes: SUBSCRIPTION_BYTES,
        message_frames: 1,
        connections: CONNECTIONS,
        connections_an_address: CONNECTIONS_AN_ADDRESS,
        // The socket behind says of a subscription what it is, but not whose.
        unread_bytes: usize::MAX,
        handshake: HANDSHAKE,
        message: SUBSCRIPTION,
        subscriptions: SUBSCRIPTIONS,
    }
}

/// The first address of a name, IPv4 before IPv6: what subscribers try when they are given the same name.
fn resolved(endpoint: &str) -> Result<SocketAddr, String> {
    let host_port = endpoint.strip_prefix("tcp://").ok_or("it is not tcp://HOST:PORT")?;
    let addresses = host_port.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| "the name has no address".to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn waiting_ends_with_the_last_one_and_at_the_latest_with_patience() {
        let inside = Arc::new(Inside::default());
        inside.emptied(Duration::MAX);
        inside.came();
        inside.came();
        let start = Instant::now();
        inside.emptied(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20), "two are inside");
        let other = Arc::clone(&inside);
        let leaving = std::thread::spawn(move || {
            other.went();
            other.went();
        });
        inside.emptied(Duration::from_secs(3_600));
        assert_eq!(*inside.count(), 0);
        leaving.join().unwrap();
    }
}
