//! What waits for the ports' thread: letters to peers, and who came and went. An eventfd wakes the thread.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Letter, PeerId, Side};

/// Bytes of letters that may wait; above it new ones are dropped and counted.
const MAIL_BYTES: usize = 256 << 20;
/// What a letter costs beside its bytes, in the bound above.
const LETTER_OVERHEAD_BYTES: usize = 256;

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    /// To a peer.
    Letter(Letter),
    /// To the program that the ports call.
    Outward(Vec<Bytes>),
}

/// Somebody came or went. There are never more than two for each connection the gate lets in.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) side: Side,
    pub(super) peer: PeerId,
    /// The name it gave itself; none: it went.
    pub(super) came: Option<Bytes>,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Inside {
    closing: bool,
    mail: VecDeque<Mail>,
    mail_bytes: usize,
    dropped: u64,
    visits: Vec<Visit>,
}

impl Mailbox {
    pub(super) fn new() -> nix::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { inside: Mutex::default(), wake })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that panics happens under this lock.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when there is something to do.
    pub(super) fn wake_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// The thread has woken up; what is put in from now on wakes it again.
    pub(super) fn awake(&self) {
        // An error means that it was not set.
        let _ = self.wake.read();
    }

    fn ring(&self) {
        // An error means that it is set 2^64 - 2 times already.
        let _ = self.wake.write(1);
    }

    pub(super) fn close(&self) {
        self.inside().closing = true;
        self.ring();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.inside().closing
    }

    pub(super) fn post(&self, mail: Mail) {
        {
            let mut inside = self.inside();
            let bytes = weight_bytes(&mail);
            if inside.mail_bytes + bytes > MAIL_BYTES {
                inside.dropped += 1;
                return;
            }
            inside.mail_bytes += bytes;
            inside.mail.push_back(mail);
            if inside.mail.len() > 1 {
                // Whoever put in the first one has woken the thread, which takes letters until there are none.
                return;
            }
        }
        self.ring();
    }

    /// The next letters, at most so many.
    pub(super) fn mail(&self, most: usize) -> Vec<Mail> {
        let mut inside = self.inside();
        let count = inside.mail.len().min(most);
        let mail: Vec<Mail> = inside.mail.drain(..count).collect();
        inside.mail_bytes -= mail.iter().map(weight_bytes).sum::<usize>();
        mail
    }

    pub(super) fn has_mail(&self) -> bool {
        !self.inside().mail.is_empty()
    }

    /// Letters that found no room so far.
    pub(super) fn dropped(&self) -> u64 {
        self.inside().dropped
    }

    pub(super) fn visit(&self, visit: Visit) {
        self.inside().visits.push(visit);
        self.ring();
    }

    pub(super) fn visits(&self) -> Vec<Visit> {
        std::mem::take(&mut self.inside().visits)
    }
}

fn weight_bytes(mail: &Mail) -> usize {
    let (Mail::Letter(Letter { frames, .. }) | Mail::Outward(frames)) = mail;
    frames.iter().map(Bytes::len).sum::<usize>() + LETTER_OVERHEAD_BYTES
}
