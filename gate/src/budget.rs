//! Bytes that have gone to libzmq and were not taken by the program: how many there may be, and who holds them.
//!
//! Without a bound in bytes a ROUTER's queues grow with whatever its peers send while the program is busy, since libzmq
//! counts messages, and those only when they are complete. Three bounds, so that nobody locks out the others:
//! - all together hold at most `unread_bytes`;
//! - one connection at most a quarter of it, so a single sender leaves room for others while the program is slow;
//! - messages that are not complete at most half of it, so slow senders leave room for messages that the program can take.
//!   Whoever waits for this one runs out of the time for a message, and so do those who hold it: it becomes free by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::conn::Conn;
use crate::limits;

/// For whom a connection waits that may not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The program has to take messages.
    Program,
    /// Other peers have to complete theirs.
    Others,
}

#[derive(Debug, Default)]
struct Account {
    held: usize,
    unfinished: usize,
}

#[derive(Debug, Default)]
struct Book {
    held: usize,
    unfinished: usize,
    /// Of what is held, set aside and not settled.
    reserved: usize,
    accounts: HashMap<Conn, Account>,
}

impl Book {
    /// Replaces `gone` of what a connection holds by `bodies`, and says how much of it is unfinished now. Returns how much was.
    fn change(&mut self, conn: Conn, gone: usize, bodies: usize, unfinished: usize) -> usize {
        let Some(account) = self.accounts.get_mut(&conn) else { return 0 };
        let before = std::mem::replace(&mut account.unfinished, unfinished);
        account.held = (account.held + bodies).saturating_sub(gone);
        self.held = (self.held + bodies).saturating_sub(gone);
        self.unfinished = (self.unfinished + unfinished).saturating_sub(before);
        before
    }
}

/// The bytes under way of one gate.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    book: Mutex<Book>,
    news: Notify,
}

impl Budget {
    pub(crate) fn new(unread_bytes: usize) -> Self {
        Self { most: unread_bytes, book: Mutex::default(), news: Notify::new() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets aside up to `wanted` bytes, at least one, for what is read next; [`Budget::settle`] must follow at once.
    ///
    /// # Errors
    /// When there is no room, and who has to make some.
    pub(crate) fn reserve(&self, conn: Conn, wanted: usize) -> Result<usize, Behind> {
        let mut book = self.book();
        let own = book.accounts.get(&conn).map_or(0, |account| account.held);
        let room = self.most.saturating_sub(book.held);
        let room = room.min((self.most / limits::CONNECTION_SHARE).saturating_sub(own));
        if room == 0 {
            return Err(Behind::Program);
        }
        // What is set aside may all turn out to be unfinished.
        let unfinished = book.unfinished + book.reserved;
        let room = room.min((self.most / limits::UNFINISHED_SHARE).saturating_sub(unfinished));
        if room == 0 {
            return Err(Behind::Others);
        }
        let granted = room.min(wanted);
        book.held += granted;
        book.reserved += granted;
        book.accounts.entry(conn).or_default().held += granted;
        Ok(granted)
    }

    /// Says what became of `reserved` bytes: so many were of bodies, and so many of all that the connection holds belong to
    /// a message that is not complete.
    pub(crate) fn settle(&self, conn: Conn, reserved: usize, bodies: usize, unfinished: usize) {
        let mut book = self.book();
        book.reserved = book.reserved.saturating_sub(reserved);
        let before = book.change(conn, reserved, bodies, unfinished);
        drop(book);
        // There is more room than while it was set aside, unless all of it became unfinished.
        if reserved > bodies || unfinished < before + reserved {
            self.news.notify_waiters();
        }
    }

    /// The program has received so many bytes of complete messages.
    pub(crate) fn taken(&self, conn: Conn, bytes: usize) {
        let mut book = self.book();
        let Some(account) = book.accounts.get_mut(&conn) else { return };
        let bytes = bytes.min(account.held.saturating_sub(account.unfinished));
        account.held -= bytes;
        book.held = book.held.saturating_sub(bytes);
        drop(book);
        self.news.notify_waiters();
    }

    /// The connection's message that is not complete never will be: libzmq has dropped it.
    pub(crate) fn cut_off(&self, conn: Conn) {
        let mut book = self.book();
        let unfinished = book.accounts.get(&conn).map_or(0, |account| account.unfinished);
        book.change(conn, unfinished, 0, 0);
        drop(book);
        self.news.notify_waiters();
    }

    /// Waits until the program has taken all of an ended connection; gives up when it has taken nothing for `patience`.
    /// Returns the bytes given up.
    pub(crate) async fn drained(&self, conn: Conn, patience: Duration) -> usize {
        let mut left = usize::MAX;
        let mut until = Instant::now() + patience;
        loop {
            let news = self.news();
            tokio::pin!(news);
            // From here on no news is missed.
            news.as_mut().enable();
            let held = self.held_by(conn);
            if held < left {
                (left, until) = (held, Instant::now() + patience);
            }
            if left == 0 || tokio::time::timeout_at(until, news).await.is_err() {
                self.close(conn);
                return left;
            }
        }
    }

    /// Forgets a connection and gives back whatever it holds.
    fn close(&self, conn: Conn) {
        let mut book = self.book();
        let Some(account) = book.accounts.remove(&conn) else { return };
        book.held = book.held.saturating_sub(account.held);
        book.unfinished = book.unfinished.saturating_sub(account.unfinished);
        drop(book);
        self.news.notify_waiters();
    }

    /// Comes when there may be more room than before.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Bytes that all connections hold.
    pub(crate) fn held(&self) -> usize {
        self.book().held
    }

    fn held_by(&self, conn: Conn) -> usize {
        self.book().accounts.get(&conn).map_or(0, |account| account.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole message of so many bytes.
    fn whole(budget: &Budget, conn: Conn, bytes: usize) {
        let granted = budget.reserve(conn, bytes).unwrap();
        assert_eq!(granted, bytes);
        budget.settle(conn, granted, bytes, 0);
    }

    /// The beginning of a message.
    fn part(budget: &Budget, conn: Conn, bytes: usize) {
        let granted = budget.reserve(conn, bytes).unwrap();
        budget.settle(conn, granted, granted, granted);
    }

    #[test]
    fn one_connection_holds_a_quarter_and_all_together_the_whole() {
        let budget = Budget::new(400);
        for number in 0..4 {
            whole(&budget, Conn(number), 100);
            assert_eq!(budget.reserve(Conn(number), 1), Err(Behind::Program), "its quarter is full");
        }
        assert_eq!(budget.reserve(Conn(9), 1), Err(Behind::Program), "all of it is");
        budget.taken(Conn(2), 30);
        assert_eq!(budget.reserve(Conn(9), 50), Ok(30));
    }

    #[test]
    fn slow_senders_leave_half_of_it_to_messages_that_can_be_taken() {
        let budget = Budget::new(400);
        whole(&budget, Conn(1), 50);
        for number in 2..4 {
            part(&budget, Conn(number), 100);
        }
        assert_eq!(budget.reserve(Conn(9), 1), Err(Behind::Others));
        budget.settle(Conn(2), 0, 0, 0);
        assert_eq!(budget.reserve(Conn(9), 80), Ok(80), "one message became complete");
    }

    #[test]
    fn what_two_read_at_once_may_all_be_unfinished_and_still_is_no_more_than_half() {
        let budget = Budget::new(400);
        part(&budget, Conn(1), 90);
        let first = budget.reserve(Conn(2), 80).unwrap();
        let second = budget.reserve(Conn(3), 80).unwrap();
        assert_eq!((first, second), (80, 30));
        assert_eq!(budget.reserve(Conn(4), 80), Err(Behind::Others));
        budget.settle(Conn(2), first, first, first);
        budget.settle(Conn(3), second, second, second);
        assert_eq!(budget.book().unfinished, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_of_every_kind_of_room() {
        let budget = Budget::new(400);
        part(&budget, Conn(1), 100);
        let granted = budget.reserve(Conn(2), 100).unwrap();
        assert_eq!(budget.reserve(Conn(3), 1), Err(Behind::Others));
        let makers: [(&str, &dyn Fn()); 4] = [
            ("a whole message", &|| budget.settle(Conn(2), granted, granted, 0)),
            ("the end of one", &|| budget.settle(Conn(1), 0, 0, 0)),
            ("some taken", &|| budget.taken(Conn(1), 1)),
            ("an end", &|| budget.close(Conn(2))),
        ];
        for (what, make) in makers {
            let news = budget.news();
            tokio::pin!(news);
            news.as_mut().enable();
            make();
            assert!(tokio::time::timeout(Duration::from_secs(1), news).await.is_ok(), "{what}");
        }
    }

    #[test]
    fn bytes_that_were_no_bodies_are_given_back() {
        let budget = Budget::new(400);
        let granted = budget.reserve(Conn(1), 100).unwrap();
        budget.settle(Conn(1), granted, 3, 0);
        assert_eq!(budget.held(), 3);
    }

    #[test]
    fn nobody_takes_more_than_what_is_complete() {
        let budget = Budget::new(400);
        part(&budget, Conn(1), 40);
        budget.taken(Conn(1), 1_000);
        budget.taken(Conn(7), 1_000);
        assert_eq!(budget.held(), 40);
        budget.cut_off(Conn(1));
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_remains_of_a_connection_stay_until_they_are_taken() {
        let budget = std::sync::Arc::new(Budget::new(400));
        whole(&budget, Conn(1), 60);
        part(&budget, Conn(1), 40);
        budget.cut_off(Conn(1));
        let ended = budget.clone();
        let drained = tokio::spawn(async move { ended.drained(Conn(1), Duration::from_secs(60)).await });
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            assert!(!drained.is_finished());
            budget.taken(Conn(1), 10);
        }
        assert_eq!(drained.await.unwrap(), 0);
        assert!(budget.book().accounts.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn remains_that_nobody_takes_are_given_up() {
        let budget = Budget::new(400);
        whole(&budget, Conn(1), 60);
        assert_eq!(budget.drained(Conn(1), Duration::from_secs(60)).await, 60);
        assert_eq!(budget.held(), 0);
    }
}
