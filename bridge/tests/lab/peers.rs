//! The lab's clients and workers, and a bridge to drive.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bridge::Stop;
use bridge::lab::{self, LabSettings};
use zmq::{Context, Socket};

/// What comes within a second on a calm machine may take this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn req(name: &str, url: &str) -> Socket {
    let socket = Context::new().socket(zmq::REQ).unwrap();
    socket.set_identity(name.as_bytes()).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
    socket.connect(url).unwrap();
    socket
}

/// The lab's client: one request at a time.
pub(crate) struct Client {
    socket: Socket,
    class: String,
}

impl Client {
    pub(crate) fn new(name: &str, url: &str, class: &str) -> Self {
        Self { socket: req(name, url), class: class.to_string() }
    }

    /// Asks and waits for the reply.
    pub(crate) fn ask(&self, message: &str) -> String {
        self.send(message);
        self.reply()
    }

    pub(crate) fn send(&self, message: &str) {
        self.socket.send_multipart([message.as_bytes(), self.class.as_bytes()], 0).unwrap();
    }

    pub(crate) fn reply(&self) -> String {
        let frames = self.socket.recv_multipart(0).expect("a reply comes");
        assert_eq!(frames.len(), 1, "a reply is one frame: {frames:?}");
        String::from_utf8(frames.into_iter().next().unwrap()).unwrap()
    }

    /// Whether nothing comes for so long.
    pub(crate) fn hears_nothing_for(&self, time: Duration) -> bool {
        self.socket.poll(zmq::POLLIN, i64::try_from(time.as_millis()).unwrap()).unwrap() == 0
    }
}

/// The lab's worker, on a thread: answers `Done! m` after its time.
pub(crate) struct Worker {
    stop: Arc<AtomicBool>,
    jobs: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(name: &str, url: &str, class: &str, takes: Duration) -> Self {
        let (stop, jobs) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&jobs));
        let (socket, class) = (req(name, url), class.to_string());
        let thread = std::thread::spawn(move || {
            socket.send_multipart([b"", class.as_bytes()], 0).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                if socket.poll(zmq::POLLIN, 10).unwrap() == 0 {
                    continue;
                }
                let frames = socket.recv_multipart(0).unwrap();
                let [client, empty, message] = &frames[..] else { panic!("a job's frames: {frames:?}") };
                assert!(empty.is_empty());
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(takes);
                let reply = [b"Done! ", &message[..]].concat();
                socket.send_multipart([&client[..], b"", &reply, class.as_bytes()], 0).unwrap();
            }
        });
        Self { stop, jobs, thread: Some(thread) }
    }

    /// Jobs it was given.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A bridge on a thread; dropped, it is told to end, and has to.
pub(crate) struct Bridge {
    stop: Stop,
    said: Arc<Mutex<Vec<String>>>,
    /// Where the system tells of its thread.
    stat: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// Settings with no delay.
pub(crate) fn settings(workers: &str, clients: &str, classes: &[&str], lanes: usize) -> LabSettings {
    let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
    LabSettings::new(workers, clients, &classes, lanes, "testhost").unwrap()
}

impl Bridge {
    pub(crate) fn start(settings: LabSettings) -> Self {
        let stop = Stop::new().unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (told, hears) = (stop.clone(), Arc::clone(&said));
        let (number, numbered) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            number.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            let say = |line: &str| hears.lock().unwrap().push(line.to_string());
            lab::run(&settings, &told, &say).unwrap();
        });
        let stat = Path::new("/proc").join(numbered.recv().unwrap()).join("stat");
        Self { stop, said, stat, thread: Some(thread) }
    }

    /// Processor time its thread has used, in hundredths of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(&self.stat).unwrap();
        // After the name in parentheses: the state is the first, user and system time are the 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// Tells it to end.
    pub(crate) fn tell(&self) {
        self.stop.tell();
    }

    /// Waits for its end.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the bridge said:\n{}", self.said());
        }
        self.tell();
        self.tell();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the bridge ended by a panic");
        }
    }
}
