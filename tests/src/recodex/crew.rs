//! Workers that work by themselves, many on one thread: they ping, register anew when they are told to or nobody answers, take
//! a job at a time, and hold it until their time is over or the test says so.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zmq::Socket;

use super::worker::{PING, init};
use super::{Frames, dealer, send, text};
use crate::wait::eventually;

/// Pings without an answer after which the real one connects anew (`max-broker-liveness`).
const MAX_BROKER_LIVENESS: u32 = 4;
/// How long the thread waits for a message before it looks at its clocks.
const TURN_MS: i64 = 5;
/// Messages that one worker takes in one turn.
const TURN_MESSAGES: usize = 64;

/// A worker to be.
#[derive(Clone, Debug)]
pub struct Hand {
    /// Where it connects; when nobody answers there, the next of them.
    pub urls: Vec<String>,
    /// Its hardware group.
    pub group: String,
    /// Its other headers.
    pub headers: Vec<String>,
    /// How long it takes for a job; none: until it is told.
    pub work: Option<Duration>,
}

impl Hand {
    /// One of this group that holds what it is given.
    #[must_use]
    pub fn of(group: &str, url: &str) -> Self {
        let headers = vec!["env=c".to_string(), "threads=8".to_string()];
        Self { urls: vec![url.to_string()], group: group.to_string(), headers, work: None }
    }

    /// It takes so long.
    #[must_use]
    pub fn taking(mut self, ms: u64) -> Self {
        self.work = Some(Duration::from_millis(ms));
        self
    }

    fn init(&self, current_job: Option<&str>) -> Frames {
        let headers: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        init(&self.group, &headers, current_job)
    }
}

/// What happened to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was given a job.
    Began,
    /// It was given a job while it had one: the real one would do it afterwards.
    Piled,
    /// It sent `done`.
    Ended,
    /// It said who it is, also of itself.
    Registered,
}

/// A line of the book.
#[derive(Clone, Debug)]
pub struct Noted {
    /// When.
    pub at: Instant,
    /// Who: its number.
    pub worker: usize,
    /// What.
    pub what: What,
    /// The job; empty: none.
    pub id: String,
}

enum Order {
    Join(Hand),
    Gone(usize),
    Silent(usize, bool),
    Move(usize, String),
    Finish(usize, &'static str, String),
    Release,
    End,
}

type Book = Arc<Mutex<Vec<Noted>>>;

/// The workers; gone when dropped.
#[derive(Debug)]
pub struct Crew {
    orders: Sender<Order>,
    book: Book,
    count: usize,
    thread: Option<JoinHandle<()>>,
}

impl Default for Crew {
    fn default() -> Self {
        Self::new()
    }
}

impl Crew {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let (orders, taken) = channel();
        let book = Book::default();
        let mut room = Room { members: Vec::new(), orders: taken, book: Arc::clone(&book) };
        let run = move || while room.turn() {};
        Self { orders, book, count: 0, thread: Some(std::thread::spawn(run)) }
    }

    fn tell(&self, order: Order) {
        self.orders.send(order).expect("the crew's thread runs until it is told to end");
    }

    /// One more; its number.
    pub fn join(&mut self, hand: Hand) -> usize {
        self.tell(Order::Join(hand));
        self.count += 1;
        self.count - 1
    }

    /// It dies: its connection ends.
    pub fn dies(&self, worker: usize) {
        self.tell(Order::Gone(worker));
    }

    /// It stands still with its connection open, or wakes up again.
    pub fn stands_still(&self, worker: usize, does: bool) {
        self.tell(Order::Silent(worker, does));
    }

    /// It connects anew, elsewhere or at the same node, and takes its job along.
    pub fn moves(&self, worker: usize, url: &str) {
        self.tell(Order::Move(worker, url.to_string()));
    }

    /// It is through with the job it has.
    pub fn finishes(&self, worker: usize, status: &'static str, message: &str) {
        self.tell(Order::Finish(worker, status, message.to_string()));
    }

    /// All are through with what they have, and from now on at once with what they are given.
    pub fn releases(&self) {
        self.tell(Order::Release);
    }

    /// What happened so far.
    ///
    /// # Panics
    /// When its thread panicked.
    #[must_use]
    pub fn noted(&self) -> Vec<Noted> {
        self.book.lock().expect("no thread panicked inside").clone()
    }

    /// Who was given this job, in order; with repetitions.
    #[must_use]
    pub fn runs(&self, id: &str) -> Vec<usize> {
        let given = |noted: &Noted| noted.id == id && matches!(noted.what, What::Began | What::Piled);
        self.noted().into_iter().filter(given).map(|noted| noted.worker).collect()
    }

    /// Waits until this job was given for the `nth` time; the line about it.
    pub async fn begins(&self, id: &str, nth: usize) -> Noted {
        self.happens(What::Began, id, nth).await
    }

    /// Waits until this happened with the job for the `nth` time (from 1).
    pub async fn happens(&self, what: What, id: &str, nth: usize) -> Noted {
        let named = format!("{what:?} of {id:?} for time {nth}");
        let fits = |noted: &Noted| noted.id == id && noted.what == what;
        eventually(&named, async || self.noted().into_iter().filter(fits).nth(nth - 1)).await
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            // A panic of its is on standard error already.
            let _ = thread.join();
        }
    }
}

struct Member {
    hand: Hand,
    socket: Option<Socket>,
    is_silent: bool,
    job: Option<(String, Instant)>,
    piled: VecDeque<String>,
    pinged: Instant,
    unanswered: u32,
    /// How it came to where it is: the place in its addresses.
    at: usize,
}

struct Room {
    members: Vec<Member>,
    orders: Receiver<Order>,
    book: Book,
}

impl Room {
    fn note(&self, worker: usize, what: What, id: &str) {
        let noted = Noted { at: Instant::now(), worker, what, id: id.to_string() };
        self.book.lock().expect("no thread panicked inside").push(noted);
    }

    /// Whether there is a next one.
    fn turn(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            if !self.obey(order) {
                return false;
            }
        }
        let awake = self.members.iter().filter(|member| !member.is_silent);
        let mut items: Vec<_> = awake
            .filter_map(|member| member.socket.as_ref())
            .map(|socket| socket.as_poll_item(zmq::POLLIN))
            .collect();
        if items.is_empty() {
            // Nothing can be heard: the next order is all there is to wait for.
            std::thread::park_timeout(Duration::from_millis(TURN_MS.unsigned_abs()));
        } else {
            zmq::poll(&mut items, TURN_MS).expect("sockets can be asked");
        }
        drop(items);
        for worker in 0..self.members.len() {
            if !self.members[worker].is_silent {
                self.listen(worker);
                self.look_at_clocks(worker);
            }
        }
        true
    }

    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Join(hand) => {
                self.members.push(Member {
                    hand,
                    socket: None,
                    is_silent: false,
                    job: None,
                    piled: VecDeque::new(),
                    pinged: Instant::now(),
                    unanswered: 0,
                    at: 0,
                });
                self.connect(self.members.len() - 1);
            }
            Order::Gone(worker) => self.members[worker].socket = None,
            Order::Silent(worker, is_silent) => self.members[worker].is_silent = is_silent,
            Order::Move(worker, url) => {
                let member = &mut self.members[worker];
                member.hand.urls.insert(0, url);
                member.at = 0;
                self.connect(worker);
            }
            Order::Finish(worker, status, message) => self.finish(worker, status, &message),
            Order::Release => {
                for worker in 0..self.members.len() {
                    self.members[worker].hand.work = Some(Duration::ZERO);
                }
            }
            Order::End => return false,
        }
        true
    }

    /// A new connection, and so a new name that it knows nothing of.
    fn connect(&mut self, worker: usize) {
        let member = &mut self.members[worker];
        member.socket = Some(dealer(&member.hand.urls[member.at]));
        member.unanswered = 0;
        self.register(worker);
    }

    fn register(&mut self, worker: usize) {
        let member = &mut self.members[worker];
        member.pinged = Instant::now();
        let Some(socket) = &member.socket else { return };
        let job = member.job.as_ref().map(|(id, _)| id.clone());
        send(socket, &member.hand.init(job.as_deref()));
        self.note(worker, What::Registered, job.as_deref().unwrap_or_default());
    }

    fn listen(&mut self, worker: usize) {
        for _ in 0..TURN_MESSAGES {
            let Some(socket) = &self.members[worker].socket else { return };
            let Ok(frames) = socket.recv_multipart(zmq::DONTWAIT) else { return };
            self.members[worker].unanswered = 0;
            let frames = text(frames);
            match frames.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["intro"] => self.register(worker),
                ["eval", id, _, _] => self.begin(worker, id),
                // The real one drops anything else.
                _ => {}
            }
        }
    }

    fn begin(&mut self, worker: usize, id: &str) {
        let member = &mut self.members[worker];
        if member.job.is_some() {
            member.piled.push_back(id.to_string());
            self.note(worker, What::Piled, id);
        } else {
            member.job = Some((id.to_string(), Instant::now()));
            self.note(worker, What::Began, id);
        }
    }

    fn finish(&mut self, worker: usize, status: &str, message: &str) {
        let member = &mut self.members[worker];
        let Some((id, _)) = member.job.take() else { return };
        if let Some(socket) = &member.socket {
            send(socket, &["done", &id, status, message]);
        }
        member.job = member.piled.pop_front().map(|next| (next, Instant::now()));
        self.note(worker, What::Ended, &id);
    }

    fn look_at_clocks(&mut self, worker: usize) {
        let member = &mut self.members[worker];
        let Some(socket) = &member.socket else { return };
        if member.pinged.elapsed() >= PING {
            if member.unanswered >= MAX_BROKER_LIVENESS {
                member.at = (member.at + 1) % member.hand.urls.len();
                return self.connect(worker);
            }
            member.pinged = Instant::now();
            member.unanswered += 1;
            send(socket, &["ping"]);
        }
        let is_over =
            |(_, since): &(String, Instant)| member.hand.work.is_some_and(|work| since.elapsed() >= work);
        if member.job.as_ref().is_some_and(is_over) {
            self.finish(worker, "OK", "");
        }
    }
}
