//! The thread that owns the sockets of the ports.

use std::sync::Arc;

use bytes::Bytes;
use gate::{Conn, Taker};
use tokio::sync::mpsc;
use zmq::{Context, DONTWAIT, PollItem, SNDMORE, Socket};

use super::mailbox::{Mail, Mailbox, Visit};
use super::{Letter, PeerId, Side, Told, Wire};

/// Messages taken from one socket in a turn, and letters sent in one.
const TURN_MESSAGES: usize = 256;
/// A full inbox is tried again after this.
const INBOX_RETRY_MS: i64 = 5;

/// What the thread owns.
pub(super) struct Turn<W: Wire> {
    context: Context,
    /// Clients', workers'.
    sockets: Vec<Socket>,
    takers: Vec<Taker>,
    /// The one that calls; nothing is read from it.
    outward: Option<Socket>,
    mailbox: Arc<Mailbox>,
    inbox: mpsc::Sender<Vec<Told<W::Said>>>,
    /// What the inbox had no room for; nothing is read until it has.
    backlog: Vec<Told<W::Said>>,
    wire: W,
}

impl<W: Wire> Turn<W> {
    pub(super) fn new(
        (context, sockets): (Context, Vec<Socket>),
        takers: Vec<Taker>,
        outward: Option<Socket>,
        mailbox: Arc<Mailbox>,
        inbox: mpsc::Sender<Vec<Told<W::Said>>>,
        wire: W,
    ) -> Self {
        Self { context, sockets, takers, outward, mailbox, inbox, backlog: Vec::new(), wire }
    }

    pub(super) fn run(mut self) {
        while self.wait() && !self.mailbox.is_closing() {
            let mut undelivered = self.send();
            if self.offer() {
                let mut said = self.receive(Side::Clients);
                said.extend(self.receive(Side::Workers));
                // Whoever said something came before: its coming is in here. Whoever went has said what is in there.
                let (came, went): (Vec<Visit>, Vec<Visit>) =
                    self.mailbox.visits().into_iter().partition(|visit| visit.came.is_some());
                self.backlog.extend(came.into_iter().map(told));
                self.backlog.append(&mut said);
                self.backlog.extend(went.into_iter().map(told));
            }
            self.backlog.append(&mut undelivered);
            self.offer();
        }
        let Self { mut context, sockets, outward, .. } = self;
        if let Some(outward) = outward {
            // Its context ends with it, and nobody waits for that. (Without a thread it ends here.)
            let _ = std::thread::Builder::new().spawn(move || drop(outward));
        }
        drop(sockets);
        // Returns when the last socket is really closed.
        if let Err(error) = context.destroy() {
            tracing::warn!(%error, "{}: closing the ports' context", W::NAME);
        }
    }

    /// Sleeps until there is something to do. False: polling itself fails, which ends the ports.
    fn wait(&self) -> bool {
        let reads = if self.backlog.is_empty() { zmq::POLLIN } else { zmq::PollEvents::empty() };
        let mut items = vec![PollItem::from_fd(self.mailbox.wake_fd(), zmq::POLLIN)];
        items.extend(self.sockets.iter().map(|socket| socket.as_poll_item(reads)));
        let timeout_ms = match (self.backlog.is_empty(), self.mailbox.has_mail()) {
            (_, true) => 0,
            (false, _) => INBOX_RETRY_MS,
            (true, _) => -1,
        };
        match zmq::poll(&mut items, timeout_ms) {
            Ok(_) => self.mailbox.awake(),
            Err(zmq::Error::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "{}: waiting for the ports' sockets failed, they end", W::NAME);
                return false;
            }
        }
        true
    }

    /// Hands over what waits. False: the inbox is full.
    fn offer(&mut self) -> bool {
        if self.backlog.is_empty() {
            return true;
        }
        match self.inbox.try_send(std::mem::take(&mut self.backlog)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(batch) | mpsc::error::TrySendError::Closed(batch)) => {
                self.backlog = batch;
                false
            }
        }
    }

    /// Sends letters; says which found nobody. A peer that takes nothing loses its letter: there is no end to how long it might not.
    fn send(&self) -> Vec<Told<W::Said>> {
        let mut undelivered = Vec::new();
        for mail in self.mailbox.mail(TURN_MESSAGES) {
            match mail {
                Mail::Letter(Letter { side, to, frames }) => {
                    let mut parts = vec![&to.0];
                    parts.extend(&frames);
                    if let Err(error) = send(self.socket(side), &parts) {
                        tracing::debug!(%error, ?side, "{}: a letter found nobody", W::NAME);
                        undelivered.push(Told::Undelivered { side, peer: to });
                    }
                }
                Mail::Outward(frames) => {
                    let parts: Vec<&Bytes> = frames.iter().collect();
                    if let Some(Err(error)) = self.outward.as_ref().map(|socket| send(socket, &parts)) {
                        tracing::debug!(%error, "{}: a message outward was lost", W::NAME);
                    }
                }
            }
        }
        undelivered
    }

    fn receive(&mut self, side: Side) -> Vec<Told<W::Said>> {
        (0..TURN_MESSAGES).map_while(|_| self.message(side)).flatten().collect()
    }

    /// The next message, when one waits; inside, what it says, when that is for the stage.
    fn message(&mut self, side: Side) -> Option<Option<Told<W::Said>>> {
        let mut parts = self.socket(side).recv_multipart(DONTWAIT).ok()?.into_iter().map(Bytes::from);
        let peer = PeerId(parts.next()?);
        let frames: Vec<Bytes> = parts.collect();
        if let Some(conn) = Conn::from_routing_id(&peer.0) {
            self.takers[side as usize].taken(conn, frames.iter().map(Bytes::len).sum());
        }
        let read = self.wire.read(side, &peer, &frames);
        if let Some(frames) = read.answer {
            self.mailbox.post(Mail::Letter(Letter { side, to: peer.clone(), frames }));
        }
        Some(read.said.map(|said| Told::Said { peer, said }))
    }

    fn socket(&self, side: Side) -> &Socket {
        &self.sockets[side as usize]
    }
}

fn send(socket: &Socket, parts: &[&Bytes]) -> zmq::Result<()> {
    let last = parts.len().saturating_sub(1);
    parts.iter().enumerate().try_for_each(|(place, part)| {
        let more = if place < last { SNDMORE } else { 0 };
        socket.send(&part[..], DONTWAIT | more)
    })
}

fn told<S>(visit: Visit) -> Told<S> {
    let Visit { side, peer, came } = visit;
    match came {
        Some(identity) => Told::Opened { side, peer, identity },
        None => Told::Closed { side, peer },
    }
}
