//! What comes from a peer: waited for, bounded, read and understood.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::budget::Behind;
use crate::conn::Conn;
use crate::limits;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::stream::is_passing;
use crate::zmtp::{Introduction, Parser};

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// One of the two sides has closed it.
    Gone,
    /// The gate closes it.
    Refused(Refusal),
}

/// The reading half of a peer's connection.
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    peer: &'a TcpStream,
    conn: Conn,
    port: Arc<Port>,
    parser: Parser,
    /// When the introduction must be complete.
    introduced_by: Instant,
    /// When what has begun and is not complete began, and after how many complete ones.
    begun: Option<(Instant, u64)>,
    /// Bytes that libzmq has of a message that is not complete.
    unfinished: usize,
    /// Changes of subscriptions at the beginning of the present span of time.
    span: (Instant, u64),
}

impl<'a> Intake<'a> {
    pub(crate) fn new(peer: &'a TcpStream, conn: Conn, port: Arc<Port>, introduced_by: Instant) -> Self {
        let parser = Parser::new(conn, Arc::clone(&port.rules));
        let span = (Instant::now(), 0);
        Self { peer, conn, port, parser, introduced_by, begun: None, unfinished: 0, span }
    }

    /// Whether the peer has begun to speak ZeroMQ.
    pub(crate) fn speaks(&self) -> bool {
        self.parser.speaks()
    }

    /// Whether the greeting is complete.
    pub(crate) fn greeted(&self) -> bool {
        self.parser.greeted()
    }

    /// The introduction, once, and where in the last `out` it ends.
    pub(crate) fn introduction(&mut self) -> Option<(Introduction, usize)> {
        self.parser.introduction()
    }

    /// Reads something, and appends to `out` what of it may go to libzmq.
    ///
    /// # Errors
    /// Why nothing more will come. What was read together with the reason is dropped.
    pub(crate) async fn next(&mut self, out: &mut Vec<u8>) -> Result<(), Ended> {
        loop {
            self.calm().await;
            let readable = self.peer.readable();
            match self.until() {
                Some((until, late)) => timeout_at(until, readable).await.map_err(|_| Ended::Refused(late))?,
                None => readable.await,
            }
            .map_err(|_| Ended::Gone)?;
            let (most, reserved) = self.room().await?;
            let mut buffer = vec![0; most];
            let understood = match self.peer.try_read(&mut buffer) {
                Ok(0) => Err(Ended::Gone),
                Ok(read) => self.understand(buffer.get(..read).unwrap_or_default(), out).map(|()| true),
                Err(error) if is_passing(&error) => Ok(false),
                Err(_) => Err(Ended::Gone),
            };
            self.settle(reserved, understood.is_ok());
            if understood? {
                return Ok(());
            }
        }
    }

    /// The program has kept this peer waiting: that time does not count against it.
    pub(crate) fn waited_since(&mut self, start: Instant) {
        if let Some((begun, _)) = &mut self.begun {
            *begun += start.elapsed();
        }
    }

    /// Until when something must come, and what the peer is when nothing does.
    fn until(&self) -> Option<(Instant, Refusal)> {
        if !self.parser.introduced() {
            return Some((self.introduced_by, Refusal::SlowHandshake));
        }
        self.begun.map(|(begun, _)| (begun + self.port.rules.message, Refusal::SlowMessage))
    }

    /// Waits until something may be read. Returns how much, and how much of that is set aside for bodies.
    async fn room(&mut self) -> Result<(usize, usize), Ended> {
        let port = Arc::clone(&self.port);
        let Some(budget) = &port.budget else { return Ok((limits::READ_BYTES, 0)) };
        loop {
            let news = budget.news();
            tokio::pin!(news);
            // From here on no news is missed.
            news.as_mut().enable();
            let behind = match budget.reserve(self.conn, limits::READ_BYTES) {
                Ok(granted) => return Ok((granted, granted)),
                Err(behind) => behind,
            };
            let free = self.parser.bytes_without_bodies();
            if free > 0 {
                return Ok((free, 0));
            }
            let start = Instant::now();
            match (behind, self.until()) {
                (Behind::Others, Some((until, late))) => {
                    timeout_at(until, news).await.map_err(|_| Ended::Refused(late))?;
                }
                (Behind::Others, None) => news.await,
                (Behind::Program, _) => {
                    news.await;
                    self.waited_since(start);
                }
            }
        }
    }

    fn understand(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Ended> {
        self.parser.feed(bytes, out).map_err(Ended::Refused)?;
        let turns = self.parser.turns();
        if self.parser.resting() {
            self.begun = None;
        } else if self.begun.is_none_or(|(_, before)| before != turns) {
            self.begun = Some((Instant::now(), turns));
        }
        Ok(())
    }

    /// Says what became of the bytes set aside; nothing, when what was read does not go on.
    fn settle(&mut self, reserved: usize, goes_on: bool) {
        let bodies = if goes_on { self.parser.bodies() } else { 0 };
        if goes_on {
            self.unfinished = self.parser.unfinished();
        }
        self.port.counters.passed(bodies);
        if let Some(budget) = &self.port.budget {
            budget.settle(self.conn, reserved, bodies, self.unfinished);
        }
    }

    /// Lets time pass after many changes of subscriptions.
    async fn calm(&mut self) {
        let (start, before) = self.span;
        let end = start + limits::SUBSCRIPTION_SPAN;
        if self.parser.changes() - before >= limits::SUBSCRIPTION_CHANGES {
            tokio::time::sleep_until(end).await;
        }
        if Instant::now() >= end {
            self.span = (Instant::now(), self.parser.changes());
        }
    }
}
