//! The public port: accepts, seats, and starts a relay for each.

use std::io;
use std::net::{SocketAddr, TcpListener as Unserved};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use nix::sys::socket::{Backlog, listen};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use crate::budget::Budget;
use crate::conn::Conn;
use crate::counts::{Counters, Counts};
use crate::error::GateError;
use crate::limits;
use crate::port::Port;
use crate::relay::relay;
use crate::rules::Rules;
use crate::seats::{IN_PROCESS, Seats, process_seats};
use crate::told::{Told, ToldAlready};
use crate::upstream::Upstream;

/// An open gate; dropping it closes it.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    port: Arc<Port>,
    door: Arc<Door>,
    serving: AbortHandle,
}

/// Tells a gate what the program has taken; cheap to clone, for any thread.
#[derive(Clone, Debug)]
pub struct Taker {
    budget: Option<Arc<Budget>>,
}

impl Taker {
    /// The program has received so many bytes of message bodies of that connection.
    pub fn taken(&self, conn: Conn, bytes: usize) {
        if let Some(budget) = &self.budget {
            budget.taken(conn, bytes);
        }
    }
}

/// Reads a gate's figures while another owns it; cheap to clone, for any thread. After the gate has closed they stay.
#[derive(Clone, Debug)]
pub struct Meter {
    port: Arc<Port>,
}

impl Meter {
    /// Figures for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.port.counts()
    }
}

impl Gate {
    /// Binds `address` now and serves it on `handle`: `HOST:PORT`, with `tcp://` before it or not; the host may be `*`, the
    /// port 0 or `*`. libzmq may bind the socket behind it before or after.
    ///
    /// `told` hears what happens to connections. It is called from the tasks that serve them, so it must not block; for one
    /// connection it is called in order, [`Told::Opened`] before any byte of a message can reach libzmq.
    ///
    /// # Errors
    /// [`GateError`], naming the address or the rule.
    pub fn open(
        handle: &Handle,
        address: &str,
        upstream: &Upstream,
        rules: Rules,
        told: impl Fn(Told) + Send + Sync + 'static,
    ) -> Result<Self, GateError> {
        rules.check()?;
        let failed = |cause| GateError::Bind { address: address.to_string(), cause };
        let listener = bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let listener = {
            let _inside = handle.enter();
            TcpListener::from_std(listener).map_err(failed)?
        };
        let seats = process_seats();
        if seats < rules.connections {
            let wanted = rules.connections;
            tracing::info!(%address, wanted, seats, "the limit of open files leaves fewer connections than wanted");
        }
        let port = Arc::new(Port {
            upstream: upstream.clone(),
            seats: Arc::new(Seats::new(rules.connections, rules.connections_an_address, seats, &IN_PROCESS)),
            budget: rules.counts_unread().then(|| Arc::new(Budget::new(rules.unread_bytes))),
            counters: Counters::new(),
            already: ToldAlready::default(),
            told: Box::new(told),
            rules: Arc::new(rules),
        });
        let door = Arc::new(Door { listener: Mutex::new(Some(listener)) });
        let serving = handle.spawn(serve(Arc::clone(&port), Arc::clone(&door))).abort_handle();
        Ok(Self { address: bound, port, door, serving })
    }

    /// Where it is bound, with the number of the port when the system chose it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The program has received so many bytes of message bodies of that connection: they are no longer unread.
    pub fn taken(&self, conn: Conn, bytes: usize) {
        if let Some(budget) = &self.port.budget {
            budget.taken(conn, bytes);
        }
    }

    /// For a thread that receives while another one owns the gate.
    #[must_use]
    pub fn taker(&self) -> Taker {
        Taker { budget: self.port.budget.clone() }
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.port.counts()
    }

    /// For whoever reads the figures while another one owns the gate.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter { port: Arc::clone(&self.port) }
    }

    /// Closes the port and all connections at once, without waiting; whoever was told open is told closed. The address is
    /// free when this returns.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.door.shut();
        self.serving.abort();
    }
}

/// The listening socket, which can be taken away from whoever waits at it.
#[derive(Debug)]
struct Door {
    listener: Mutex<Option<TcpListener>>,
}

impl Door {
    /// The next connection; none when the door was shut.
    async fn accept(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        std::future::poll_fn(|context| {
            let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
            match &*listener {
                Some(listener) => listener.poll_accept(context).map(Some),
                None => Poll::Ready(None),
            }
        })
        .await
    }

    fn shut(&self) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn bind(address: &str) -> io::Result<Unserved> {
    let address = address.strip_prefix("tcp://").unwrap_or(address);
    let (host, port) = address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    // In ZeroMQ's addresses, "any" is a star.
    let host = if host == "*" { "0.0.0.0" } else { host };
    let port = if port == "*" { "0" } else { port };
    let listener = Unserved::bind(format!("{host}:{port}"))?;
    listener.set_nonblocking(true)?;
    listen(&listener, Backlog::new(limits::BACKLOG)?)?;
    Ok(listener)
}

/// Dropping this ends all relays.
async fn serve(port: Arc<Port>, door: Arc<Door>) {
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            accepted = door.accept() => match accepted {
                None => return,
                Some(Ok((peer, address))) => {
                    admit(&port, &mut relays, peer, address);
                    // Whoever came is heard before the next may push it out.
                    tokio::task::yield_now().await;
                }
                // Nobody came, or there is no descriptor for whoever did.
                Some(Err(_)) => tokio::time::sleep(limits::ACCEPT_PAUSE).await,
            },
            _ = relays.join_next(), if !relays.is_empty() => {}
        }
    }
}

fn admit(port: &Arc<Port>, relays: &mut JoinSet<()>, peer: TcpStream, address: SocketAddr) {
    let conn = Conn::next();
    match port.seats.take(conn, address.ip()) {
        Ok(seat) => {
            relays.spawn(relay(Arc::clone(port), seat, peer, address, conn));
        }
        Err(why) => port.refuse(address, why),
    }
}
