//! The port as a subscriber sees it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::super::limits::{SUBSCRIPTION_BYTES, SUBSCRIPTIONS};
use super::super::topics;
use super::*;

/// Only a fault reaches this.
const PATIENCE_MS: i32 = 30_000;

fn again(messages: bool) -> Vec<Post> {
    let mut all = vec![("info/state/n".to_string(), Arc::from("{}"))];
    all.extend(messages.then(|| ("again/msg/k/n".to_string(), Arc::from("1"))));
    all
}

/// Where gates are served and sockets lie.
struct Place {
    runtime: Runtime,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { runtime, folder: tempfile::tempdir().unwrap() }
    }

    fn start(&self, endpoint: &str) -> Result<(Publisher, Arc<Queue>), NewsError> {
        let queue = Arc::new(Queue::new().unwrap());
        let (handle, folder) = (self.runtime.handle(), self.folder.path());
        Ok((Publisher::start(handle, folder, endpoint, Arc::clone(&queue), again)?, queue))
    }
}

fn port(place: &Place) -> (Publisher, Arc<Queue>) {
    place.start("tcp://127.0.0.1:0").unwrap()
}

fn subscriber(context: &Context, port: &Publisher, prefix: &str) -> Socket {
    let socket = context.socket(zmq::SUB).unwrap();
    socket.set_rcvtimeo(PATIENCE_MS).unwrap();
    socket.set_subscribe(prefix.as_bytes()).unwrap();
    socket.connect(&port.address()).unwrap();
    socket
}

fn next(socket: &Socket) -> (String, String) {
    let frames = socket.recv_multipart(0).unwrap();
    let text = |at: usize| String::from_utf8(frames[at].clone()).unwrap();
    assert_eq!(frames.len(), 2);
    (text(0), text(1))
}

#[test]
fn whoever_subscribes_hears_what_is_known_and_then_everything_in_order() {
    let place = Place::new();
    let (port, queue) = port(&place);
    let context = Context::new();
    let first = subscriber(&context, &port, "");
    assert_eq!(next(&first).0, "info/state/n");
    assert!(queue.jobs_wanted());
    for k in 0..300 {
        queue.put(topics::job("echo"), k.to_string().into()).unwrap();
    }
    for k in 0..300 {
        assert_eq!(next(&first), ("job/echo".to_string(), k.to_string()));
    }
    let second = subscriber(&context, &port, "info/");
    assert_eq!((next(&second).0, next(&first).0), ("info/state/n".into(), "info/state/n".into()));
    let third = subscriber(&context, &port, "again/");
    assert_eq!(next(&third), ("again/msg/k/n".into(), "1".into()));
}

#[test]
fn jobs_are_wanted_only_while_somebody_listens_to_them() {
    let place = Place::new();
    let (port, queue) = port(&place);
    let context = Context::new();
    let watch = subscriber(&context, &port, "info/");
    next(&watch);
    assert!(!queue.jobs_wanted());
    let jobs = subscriber(&context, &port, "job/echo");
    next(&watch);
    assert!(queue.jobs_wanted());
    drop(jobs);
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(PATIENCE_MS as u64);
    while queue.jobs_wanted() {
        assert!(std::time::Instant::now() < deadline, "the last one has gone");
        std::thread::yield_now();
    }
}

#[test]
fn the_last_word_leaves_before_the_port_closes_and_the_port_is_free_then() {
    let place = Place::new();
    let (port, queue) = port(&place);
    let context = Context::new();
    let heard = subscriber(&context, &port, "");
    next(&heard);
    queue.put("leader".into(), "last".into()).unwrap();
    let address = port.address();
    drop(port);
    assert_eq!(next(&heard).1, "last");
    place.start(&address).unwrap();
}

#[test]
fn a_body_too_large_is_dropped_and_the_next_one_is_heard() {
    let place = Place::new();
    let (port, queue) = port(&place);
    let context = Context::new();
    let heard = subscriber(&context, &port, "");
    next(&heard);
    queue.put("job/x".into(), "x".repeat(BODY_BYTES + 1).into()).unwrap();
    queue.put("job/x".into(), "fits".into()).unwrap();
    assert_eq!((next(&heard).1.as_str(), queue.dropped()), ("fits", 1));
}

#[test]
fn a_port_that_cannot_be_had_is_named() {
    let place = Place::new();
    let (port, _queue) = port(&place);
    let other = Place::new();
    let error = other.start(&port.address()).unwrap_err();
    assert!(error.to_string().contains(&port.address()), "{error}");
    for endpoint in ["tcp://127.0.0.1", "127.0.0.1:0"] {
        let error = other.start(endpoint).unwrap_err();
        assert!(error.to_string().contains(endpoint), "{error}");
    }
}

#[test]
fn the_last_of_many_things_reaches_every_subscriber_before_the_port_closes() {
    let place = Place::new();
    let (port, queue) = port(&place);
    let context = Context::new();
    let heard: Vec<Socket> = (0..20).map(|_| subscriber(&context, &port, "")).collect();
    for socket in &heard {
        // Each that comes makes the others hear it again.
        next(socket);
    }
    for k in 0..200 {
        queue.put("job/x".into(), k.to_string().into()).unwrap();
    }
    queue.put("leader".into(), "last".into()).unwrap();
    drop(port);
    for socket in &heard {
        while next(socket).0 != "leader" {}
    }
}

#[test]
fn whoever_is_no_subscriber_or_asks_for_too_much_is_closed_and_the_others_hear_on() {
    let place = Place::new();
    let (port, queue) = port(&place);
    let context = Context::new();
    let heard = subscriber(&context, &port, "");
    next(&heard);
    let address = port.address();
    let mut browser = TcpStream::connect(address.trim_start_matches("tcp://")).unwrap();
    browser.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS as u64))).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = Vec::new();
    // A reset is an end too; running into the timeout is none.
    let kind = browser.read_to_end(&mut said).map_or_else(|error| Some(error.kind()), |_| None);
    assert!(matches!(kind, None | Some(std::io::ErrorKind::ConnectionReset)), "{kind:?}");
    let ended = |kind, name: &str, ask: &dyn Fn(&Socket)| {
        let socket = context.socket(kind).unwrap();
        // Else a subscriber itself forgets what it has no room for.
        socket.set_sndhwm(0).unwrap();
        let events = format!("inproc://{name}");
        socket.monitor(&events, i32::from(zmq::SocketEvent::DISCONNECTED.to_raw())).unwrap();
        let monitor = context.socket(zmq::PAIR).unwrap();
        monitor.set_rcvtimeo(PATIENCE_MS).unwrap();
        monitor.connect(&events).unwrap();
        socket.connect(&address).unwrap();
        ask(&socket);
        monitor.recv_multipart(0).unwrap();
    };
    ended(zmq::DEALER, "kind", &|_| {});
    ended(zmq::SUB, "long", &|sub| sub.set_subscribe(&[b'x'; SUBSCRIPTION_BYTES + 1]).unwrap());
    ended(zmq::SUB, "many", &|sub| {
        for k in 0..=SUBSCRIPTIONS {
            sub.set_subscribe(format!("x{k}").as_bytes()).unwrap();
        }
    });
    queue.put("leader".into(), "still".into()).unwrap();
    while next(&heard) != ("leader".to_string(), "still".to_string()) {}
}
