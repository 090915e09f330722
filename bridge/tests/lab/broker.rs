//! The lab's broker in miniature: the same frames, the same two queues a class, the same window and the same fault: a worker
//! that answers after its window ends the broker, as a `TypeError` ends the original.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, Socket};

/// `ansInterval` of the original.
pub(crate) const WINDOW: Duration = Duration::from_millis(2_000);

type Name = Vec<u8>;
type Frames = Vec<Vec<u8>>;

/// What can be seen of it from outside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    stop: AtomicBool,
    /// Requests of clients.
    pub(crate) requests: AtomicUsize,
    /// Jobs sent to workers, repeats included.
    pub(crate) dispatched: AtomicUsize,
    /// Replies sent to clients.
    pub(crate) replies: AtomicUsize,
    /// Windows that ended.
    pub(crate) expired: AtomicUsize,
    /// A late answer ended it.
    pub(crate) died: AtomicBool,
    /// Workers that wait, by class.
    waiting: Mutex<HashMap<String, Vec<Name>>>,
    /// The names clients came under.
    clients: Mutex<Vec<String>>,
}

impl Seen {
    /// How many workers of the class wait.
    pub(crate) fn waiting(&self, class: &str) -> usize {
        self.waiting.lock().unwrap().get(class).map_or(0, Vec::len)
    }

    /// The names clients came under.
    pub(crate) fn clients(&self) -> Vec<String> {
        self.clients.lock().unwrap().clone()
    }

    /// Reads one of the counters.
    pub(crate) fn count(of: &AtomicUsize) -> usize {
        of.load(Ordering::Relaxed)
    }
}

/// A running one; dropped, it is gone with all it knew.
pub(crate) struct Broker {
    clients_port: u16,
    workers_port: u16,
    /// What can be seen of it.
    pub(crate) seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// With free ports.
    pub(crate) fn start(window: Duration) -> Self {
        Self::on(free_port(), free_port(), window)
    }

    /// On these ports: the same broker as before, that has forgotten everything.
    pub(crate) fn on(clients_port: u16, workers_port: u16, window: Duration) -> Self {
        let context = Context::new();
        let (clients, workers) = (bound(&context, clients_port), bound(&context, workers_port));
        let seen = Arc::new(Seen::default());
        let inside = Inside {
            clients,
            workers,
            window,
            seen: Arc::clone(&seen),
            idle: HashMap::new(),
            queued: HashMap::new(),
            busy: HashMap::new(),
        };
        let thread = std::thread::spawn(move || inside.serve(context));
        Self { clients_port, workers_port, seen, thread: Some(thread) }
    }

    /// Both ports, to start it again on them.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.clients_port, self.workers_port)
    }

    /// Where clients connect.
    pub(crate) fn clients(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.clients_port)
    }

    /// Where workers connect.
    pub(crate) fn workers(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.workers_port)
    }

    /// Ends it; its ports are free when this returns.
    pub(crate) fn kill(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port below those that the kernel gives to whoever dials out: a broker that comes back must find it free.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 5_000;
    const COUNT: u32 = 6_900;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let start = std::process::id().wrapping_mul(2_654_435_761);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) as u32;
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

fn bound(context: &Context, port: u16) -> Socket {
    let socket = context.socket(zmq::ROUTER).unwrap();
    socket.set_linger(0).unwrap();
    socket.bind(&format!("tcp://127.0.0.1:{port}")).unwrap();
    socket
}

struct Busy {
    class: String,
    job: Frames,
    until: Option<Instant>,
}

struct Inside {
    clients: Socket,
    workers: Socket,
    window: Duration,
    seen: Arc<Seen>,
    idle: HashMap<String, VecDeque<Name>>,
    /// `[c, '', m]` by class.
    queued: HashMap<String, VecDeque<Frames>>,
    busy: HashMap<Name, Busy>,
}

impl Inside {
    fn serve(mut self, mut context: Context) {
        while !self.seen.stop.load(Ordering::Relaxed) && !self.seen.died.load(Ordering::Relaxed) {
            let mut items = [self.clients.as_poll_item(zmq::POLLIN), self.workers.as_poll_item(zmq::POLLIN)];
            zmq::poll(&mut items, 5).unwrap();
            while let Ok(frames) = self.clients.recv_multipart(DONTWAIT) {
                self.client_says(frames);
            }
            while let Ok(frames) = self.workers.recv_multipart(DONTWAIT) {
                self.worker_says(frames);
            }
            self.look_at_the_clock();
            let waiting =
                self.idle.iter().map(|(class, idle)| (class.clone(), idle.iter().cloned().collect()));
            *self.seen.waiting.lock().unwrap() = waiting.collect();
        }
        let Self { clients, workers, .. } = self;
        drop((clients, workers));
        context.destroy().unwrap();
    }

    /// `[c, '', m, class]`
    fn client_says(&mut self, mut frames: Frames) {
        assert_eq!(frames.len(), 4, "a client's frames: {frames:?}");
        self.seen.requests.fetch_add(1, Ordering::Relaxed);
        self.seen.clients.lock().unwrap().push(String::from_utf8_lossy(&frames[0]).into_owned());
        let class = text(frames.pop().unwrap());
        self.send_request(frames, class);
    }

    /// `[w, '', '', class]` registers, `[w, '', c, '', r, class]` answers.
    fn worker_says(&mut self, mut frames: Frames) {
        let class = text(frames.pop().unwrap());
        let worker = frames[0].clone();
        assert!([3, 5].contains(&frames.len()), "a worker's frames: {frames:?}");
        if frames.len() == 5 {
            let Some(busy) = self.busy.get_mut(&worker) else {
                self.seen.died.store(true, Ordering::Relaxed);
                return;
            };
            busy.until = None;
            self.seen.replies.fetch_add(1, Ordering::Relaxed);
            let _ = self.clients.send_multipart(&frames[2..], 0);
        }
        match self.queued.get_mut(&class).and_then(VecDeque::pop_front) {
            Some(job) => self.send_to_worker(worker, job, class),
            None => self.idle.entry(class).or_default().push_back(worker),
        }
    }

    fn send_request(&mut self, job: Frames, class: String) {
        match self.idle.get_mut(&class).and_then(VecDeque::pop_front) {
            Some(worker) => self.send_to_worker(worker, job, class),
            None => self.queued.entry(class).or_default().push_back(job),
        }
    }

    fn send_to_worker(&mut self, worker: Name, job: Frames, class: String) {
        self.seen.dispatched.fetch_add(1, Ordering::Relaxed);
        let mut message = vec![worker.clone(), Vec::new()];
        message.extend(job.iter().cloned());
        // A worker that is gone gets nothing, and nobody is told.
        let _ = self.workers.send_multipart(&message, 0);
        let until = Some(Instant::now() + self.window);
        self.busy.insert(worker, Busy { class, job, until });
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        let late = self.busy.iter().filter(|(_, busy)| busy.until.is_some_and(|until| now >= until));
        for worker in late.map(|(worker, _)| worker.clone()).collect::<Vec<_>>() {
            self.seen.expired.fetch_add(1, Ordering::Relaxed);
            let busy = self.busy.remove(&worker).unwrap();
            self.send_request(busy.job, busy.class);
        }
    }
}

fn text(frame: Vec<u8>) -> String {
    String::from_utf8(frame).unwrap()
}
