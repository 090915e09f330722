//! A gate with a socket of libzmq behind it, a record of what it told, and peers of both kinds.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate::{Conn, Gate, Kind, Refusal, Rules, Taker, Told, Upstream};
use tokio::runtime::Runtime;

/// How long something may take that happens at once on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Rules under which nothing an ordinary peer does is refused.
pub(crate) fn easy() -> Rules {
    Rules {
        kinds: &[Kind::Req, Kind::Dealer],
        frame_bytes: 64 << 10,
        message_bytes: 256 << 10,
        message_frames: 64,
        connections: 4_000,
        connections_an_address: 4_000,
        unread_bytes: 64 << 20,
        handshake: Duration::from_secs(20),
        message: Duration::from_secs(20),
        subscriptions: 16,
    }
}

/// What a gate told, in order.
#[derive(Clone, Default)]
pub(crate) struct Record {
    told: Arc<(Mutex<Vec<Told>>, Condvar)>,
}

impl Record {
    fn add(&self, what: Told) {
        self.told.0.lock().unwrap().push(what);
        self.told.1.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<Told> {
        self.told.0.lock().unwrap().clone()
    }

    /// Waits until the `nth` (from 1) of those that `want` picks was told.
    pub(crate) fn wait<T>(&self, what: &str, nth: usize, want: impl Fn(&Told) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut told = self.told.0.lock().unwrap();
        loop {
            if let Some(found) = told.iter().filter_map(&want).nth(nth - 1) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never told: {what}; but {told:?}");
            told = self.told.1.wait_timeout(told, left).unwrap().0;
        }
    }

    /// The `nth` connection that was opened, with the name it gave itself.
    pub(crate) fn opened(&self, nth: usize) -> (Conn, Vec<u8>) {
        self.wait("opened", nth, |told| match told {
            Told::Opened { conn, identity, .. } => Some((*conn, identity.to_vec())),
            _ => None,
        })
    }

    pub(crate) fn closed(&self, conn: Conn) {
        self.wait("closed", 1, |told| (*told == Told::Closed { conn }).then_some(()));
    }

    pub(crate) fn refused(&self, why: Refusal) {
        self.wait(why.as_str(), 1, |told| {
            matches!(told, Told::Refused { why: said, .. } if *said == why).then_some(())
        });
    }
}

/// A gate, and what is behind it.
pub(crate) struct Bench {
    pub(crate) gate: Option<Gate>,
    pub(crate) record: Record,
    pub(crate) context: zmq::Context,
    pub(crate) upstream: Upstream,
    pub(crate) rules: Rules,
    runtime: Option<Runtime>,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(rules: Rules) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::in_folder(&folder.path().join("f".repeat(150)), "port.sock").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut bench = Self {
            gate: None,
            record: Record::default(),
            context: zmq::Context::new(),
            upstream,
            rules,
            runtime: Some(runtime),
            _folder: folder,
        };
        bench.open("127.0.0.1:0");
        bench
    }

    pub(crate) fn open(&mut self, address: &str) {
        let record = self.record.clone();
        let handle = self.runtime.as_ref().unwrap().handle();
        let told = move |what| record.add(what);
        self.gate = Some(Gate::open(handle, address, &self.upstream, self.rules.clone(), told).unwrap());
    }

    pub(crate) fn gate(&self) -> &Gate {
        self.gate.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gate().address()
    }

    /// The socket behind the gate, which is not read yet. Nothing but the gate bounds it.
    pub(crate) fn behind(&self, kind: zmq::SocketType) -> zmq::Socket {
        let socket = self.context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
        socket.set_rcvhwm(0).unwrap();
        socket.bind(&self.upstream.endpoint()).unwrap();
        socket
    }

    /// A peer that is connected through the gate.
    pub(crate) fn peer(&self, kind: zmq::SocketType, identity: &str) -> zmq::Socket {
        let socket = self.context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
        if !identity.is_empty() {
            socket.set_identity(identity.as_bytes()).unwrap();
        }
        socket.connect(&format!("tcp://{}", self.address())).unwrap();
        socket
    }

    /// A ROUTER behind the gate that answers everything with what was asked.
    pub(crate) fn echo(&self) -> Echo {
        Echo::start(self.behind(zmq::ROUTER), self.gate().taker())
    }

    /// How many were refused for that reason.
    pub(crate) fn refused(&self, why: Refusal) -> u64 {
        let counts = self.gate().counts();
        counts.refused.iter().find(|(other, _)| *other == why).unwrap().1
    }

    /// Waits until the gate's figures are as wanted.
    pub(crate) fn wait_counts(&self, what: &str, want: impl Fn(&gate::Counts) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let counts = self.gate().counts();
            if want(&counts) {
                return;
            }
            assert!(Instant::now() < until, "never came: {what}; {counts:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.gate.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Answers until it is dropped.
pub(crate) struct Echo {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(router: zmq::Socket, taker: Taker) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if router.poll(zmq::POLLIN, 10).unwrap() == 0 {
                    continue;
                }
                let message = router.recv_multipart(0).unwrap();
                take(&taker, &message);
                router.send_multipart(&message, 0).unwrap();
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().unwrap().join();
        assert!(thread.is_ok() || std::thread::panicking());
    }
}

/// Says that a message of a ROUTER was received.
pub(crate) fn take(taker: &Taker, message: &[Vec<u8>]) -> Conn {
    let conn = Conn::from_routing_id(&message[0]).expect("a routing id of the gate");
    taker.taken(conn, message[1..].iter().map(Vec::len).sum());
    conn
}

/// One request and its answer.
pub(crate) fn ask(peer: &zmq::Socket, what: &str) {
    peer.send(what, 0).unwrap();
    assert_eq!(peer.recv_string(0).expect("an answer").unwrap(), what);
}

/// A peer made of bytes.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

pub(crate) const GREETING: [u8; 64] = {
    let mut bytes = [0; 64];
    (bytes[0], bytes[9], bytes[10], bytes[11]) = (0xff, 0x7f, 3, 1);
    (bytes[12], bytes[13], bytes[14], bytes[15]) = (b'N', b'U', b'L', b'L');
    bytes
};

pub(crate) fn ready(kind: &str) -> Vec<u8> {
    let length = u8::try_from(kind.len()).unwrap();
    let body = [b"\x05READY\x0bSocket-Type\0\0\0", &[length][..], kind.as_bytes()].concat();
    frame(4, &body)
}

pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut head = vec![flags | 2];
    head.extend_from_slice(&u64::try_from(body.len()).unwrap().to_be_bytes());
    head.extend_from_slice(body);
    head
}

impl Raw {
    /// Connected, and silent.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connected and introduced.
    pub(crate) fn introduced(address: SocketAddr, kind: &str) -> Self {
        let mut raw = Self::connect(address);
        raw.say(&[&GREETING[..], &ready(kind)].concat());
        raw
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Says as much as the other side takes until it does not for `pause`; returns how many bytes that were.
    pub(crate) fn say_while_taken(&mut self, bytes: &[u8], pause: Duration) -> usize {
        self.stream.set_write_timeout(Some(pause)).unwrap();
        let mut said = 0;
        while said < bytes.len() {
            match self.stream.write(&bytes[said..]) {
                Ok(0) | Err(_) => break,
                Ok(written) => said += written,
            }
        }
        said
    }

    /// Waits until the system has handed over all that was said.
    pub(crate) fn handed_over(&self) {
        let port = |address: SocketAddr| format!(":{:04X}", address.port());
        let ends = [port(self.stream.local_addr().unwrap()), port(self.stream.peer_addr().unwrap())];
        let until = Instant::now() + PATIENCE;
        loop {
            // Number, own address, other address, state, bytes to send and to read.
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let own = rows.filter(|row| row[1].ends_with(&ends[0]) && row[2].ends_with(&ends[1]));
            let waiting: Vec<String> = own.map(|row| row[4].split(':').next().unwrap().to_string()).collect();
            if waiting == ["00000000"] {
                return;
            }
            assert!(Instant::now() < until, "never handed over: {waiting:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Reads until the other side closes, and returns what it said.
    pub(crate) fn closed(mut self) -> Vec<u8> {
        let mut said = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return said,
                Ok(read) => said.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return said,
                Err(error) => panic!("it was not closed: {error}"),
            }
        }
    }

    /// Reads so many frames' bodies from libzmq, whose flags and lengths are short.
    pub(crate) fn hear(&mut self, frames: usize) -> VecDeque<Vec<u8>> {
        let mut bodies = VecDeque::new();
        for _ in 0..frames {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            let mut body = vec![0; usize::from(head[1])];
            self.stream.read_exact(&mut body).unwrap();
            bodies.push_back(body);
        }
        bodies
    }
}
