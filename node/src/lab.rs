//! The lab's ports: programs written for a client-broker-worker lab, unmodified. Clients ask at 9998, workers attach at 9999,
//! at any node, whoever leads.
//!
//! ```text
//!   client ══ROUTER══▶ port ─ Asks ──────▶ clients ─ Submit ─▶ the leader … the job ends ─ reply ─▶ client
//!   worker ══ROUTER══▶ port ─ Registers ─▶ workers ─ Attach ─▶ worker's mind ─ Hand ─▶ worker
//!                             Returns ───▶         ─ Returned ▶
//! ```
//! A request is a job like any other: on a majority's disks before it is given to anybody. Its node holds the request until
//! the job has ended, over as many promotions as it takes, so a client gets one reply. What is asked and what is attached here
//! ends with this start.
//!
//! **Decides:** nothing about jobs; who is behind a routing id, which frames say what, what a stranger may name.

mod clients;
mod known;
mod scribe;
mod wire;
mod workers;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cast::{AttachedId, Cast, Input};
use master::Ledger;
use protocol::{AttemptRef, Dispatch, Job, JobId, Request};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::clients::Clients;
use self::wire::{LabSaid, LabWire, rules};
use self::workers::Workers;
use crate::ask::Told;
use crate::ports::{self, Door, Opening, PortError, Ports, Side};
use crate::settings::Settings;

/// What came in at the lab's ports.
pub(crate) type LabTold = ports::Told<LabSaid>;

/// What came to the lab's ports and was let go, over all starts of this process; for metrics.
#[derive(Clone, Debug, Default)]
pub struct LabCounts(Arc<AtomicU64>);

impl LabCounts {
    /// Messages that were none of the wire's.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The lines of the lab's broker, in its own words.
#[derive(Clone, Debug)]
pub(crate) struct Lines(logdb::Log);

impl Lines {
    pub(crate) fn say(&self, job: Option<JobId>, prefix: &str, id: &[u8], class: &str) {
        let id = String::from_utf8_lossy(id);
        self.0.record(logdb::Level::Info, "lab", job, format!("{prefix} {id} (class \"{class}\")"));
    }

    pub(crate) fn warn(&self, text: &str) {
        self.0.record(logdb::Level::Warn, "lab", None, text);
    }
}

/// Both ports of one start.
pub(crate) struct Lab {
    ports: Ports,
    clients: Clients,
    workers: Workers,
    counts: LabCounts,
}

impl Lab {
    /// Opens the ports. What comes in goes to `inbox`.
    pub(crate) fn open(
        handle: &Handle,
        settings: &Settings,
        data: &Path,
        log: &logdb::Log,
        counts: LabCounts,
        inbox: mpsc::Sender<Vec<LabTold>>,
    ) -> Result<Self, PortError> {
        let lines = Lines(log.clone());
        let door = |name: &'static str, port: u16| {
            let address = format!("{}:{port}", settings.listen_host);
            Door { name, address }
        };
        let opening = Opening {
            data,
            clients: door("clients", settings.clients_port),
            workers: door("workers", settings.workers_port),
            rules,
            outward: None,
        };
        let ports = Ports::open(handle, opening, LabWire::default(), inbox)?;
        // As the lab's broker says it: once, with no name and no class.
        lines.say(None, "CONNECTED", b"", "");
        let workers = Workers::open(data, lines.clone());
        let clients = Clients::new(lines, settings.lab.allow.clone());
        Ok(Self { ports, clients, workers, counts })
    }

    /// Something came in. `ticket` gives a new ticket for each request.
    pub(crate) fn told(
        &mut self,
        told: LabTold,
        closed: &BTreeSet<String>,
        mut ticket: impl FnMut() -> u64,
        inputs: &mut Vec<Input>,
    ) -> Option<JobId> {
        match told {
            LabTold::Opened { side: Side::Clients, peer, identity } => self.clients.opened(peer, identity),
            LabTold::Opened { side: Side::Workers, peer, identity } => {
                self.workers.opened(peer, identity, inputs)
            }
            LabTold::Closed { side: Side::Clients, peer } => self.clients.closed(&peer),
            LabTold::Closed { side: Side::Workers, peer } => self.workers.closed(&peer, inputs),
            LabTold::Undelivered { side: Side::Workers, peer } => self.workers.undelivered(&peer, inputs),
            LabTold::Undelivered { side: Side::Clients, .. } => {}
            LabTold::Said { peer, said } => match said {
                LabSaid::Unreadable(side) => {
                    self.counts.0.fetch_add(1, Ordering::Relaxed);
                    match side {
                        Side::Clients => self.clients.unreadable(&peer),
                        Side::Workers => self.workers.unreadable(&peer),
                    }
                }
                LabSaid::Asks(asks) => {
                    let job = asks.job;
                    match self.clients.asks(asks, closed) {
                        Ok(request) => {
                            let ticket = ticket();
                            self.clients.asked(ticket, job);
                            inputs.push(Input::Ask { ticket, request });
                            return Some(job);
                        }
                        Err(letter) => self.ports.post(letter),
                    }
                }
                LabSaid::Registers { class } => self.workers.registers(&peer, class, closed, inputs),
                LabSaid::Returns { client, text, class } => {
                    self.workers.returns(&peer, &client, text, class, closed, inputs);
                }
            },
        }
        None
    }

    /// The leader decided a request, or nobody did. True: the ticket was one of these.
    pub(crate) fn answered(&mut self, ticket: u64, told: &Told) -> bool {
        let (mine, letter) = self.clients.answered(ticket, told);
        letter.into_iter().for_each(|letter| self.ports.post(letter));
        mine
    }

    /// A job changed: its client hears its end.
    pub(crate) fn changed(&mut self, job: &Job) {
        if job.state.is_terminal() {
            self.workers.ended(job.id);
        }
        let letter = self.clients.changed(job);
        letter.into_iter().for_each(|letter| self.ports.post(letter));
    }

    /// The ledger went on in one step: ends of jobs in between are heard now.
    pub(crate) fn look_again(&mut self, ledger: &Ledger) {
        for id in self.clients.open_jobs().chain(self.workers.held_jobs()).collect::<BTreeSet<_>>() {
            if let Some(job) = ledger.job(id) {
                self.changed(&job);
            }
        }
    }

    /// Whether there are requests that nobody could decide.
    pub(crate) fn has_undecided(&self) -> bool {
        self.clients.has_undecided()
    }

    /// Requests that nobody could decide are asked again, each under a new ticket.
    pub(crate) fn ask_again(&mut self, mut ticket: impl FnMut() -> u64) -> Vec<(u64, Request)> {
        let again = self.clients.take_undecided();
        let asked = again.into_iter().map(|(job, request)| {
            let ticket = ticket();
            self.clients.asked(ticket, job);
            (ticket, request)
        });
        asked.collect()
    }

    /// The worker's mind gives an attempt to an attached worker.
    pub(crate) fn hand(&mut self, worker: AttachedId, dispatch: &Dispatch) {
        let client = self.clients.name_for(dispatch);
        if let Some(letter) = self.workers.hand(worker, dispatch, client) {
            self.ports.post(letter);
        }
    }

    /// An attached worker's window is over.
    pub(crate) fn late(&mut self, worker: AttachedId, attempt: AttemptRef) {
        self.workers.late(worker, attempt);
    }

    /// One worker more than may be attached.
    pub(crate) fn too_many(&mut self, worker: AttachedId) {
        self.workers.too_many(worker);
    }

    /// Closes the ports at once.
    pub(crate) fn close(self) {
        self.ports.close();
    }
}

/// Classes that some node runs and that its operator did not open to strangers. Nobody names them at these ports.
pub(crate) fn closed_classes(cast: &Cast) -> Arc<BTreeSet<String>> {
    let offers = || cast.roster().iter().map(|line| &line.offer);
    let mut closed: BTreeSet<String> = ["sh", "python"].map(String::from).into();
    closed.extend(
        offers().flat_map(|offer| offer.classes.iter().filter(|class| !offer.is_open(class)).cloned()),
    );
    let open: BTreeSet<&String> =
        offers().flat_map(|offer| offer.classes.iter().filter(|class| offer.is_open(class))).collect();
    closed.retain(|class| !open.contains(class));
    Arc::new(closed)
}

#[cfg(test)]
mod tests;
