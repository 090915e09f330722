//! The port as a subscriber sees it.

use super::super::topics;
use super::*;

/// Only a fault reaches this.
const PATIENCE_MS: i32 = 30_000;

fn again(messages: bool) -> Vec<Post> {
    let mut all = vec![("info/state/n".to_string(), Arc::from("{}"))];
    all.extend(messages.then(|| ("again/msg/k/n".to_string(), Arc::from("1"))));
    all
}

fn port() -> (Publisher, Arc<Queue>) {
    let queue = Arc::new(Queue::new().unwrap());
    (Publisher::start("tcp://127.0.0.1:0", Arc::clone(&queue), again).unwrap(), queue)
}

fn subscriber(context: &Context, port: &Publisher, prefix: &str) -> Socket {
    let socket = context.socket(zmq::SUB).unwrap();
    socket.set_rcvtimeo(PATIENCE_MS).unwrap();
    socket.set_subscribe(prefix.as_bytes()).unwrap();
    socket.connect(port.address()).unwrap();
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
    let (port, queue) = port();
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
    let (port, queue) = port();
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
    let (port, queue) = port();
    let context = Context::new();
    let heard = subscriber(&context, &port, "");
    next(&heard);
    queue.put("leader".into(), "last".into()).unwrap();
    let address = port.address().to_string();
    drop(port);
    assert_eq!(next(&heard).1, "last");
    Publisher::start(&address, Arc::new(Queue::new().unwrap()), again).unwrap();
}

#[test]
fn a_body_too_large_is_dropped_and_the_next_one_is_heard() {
    let (port, queue) = port();
    let context = Context::new();
    let heard = subscriber(&context, &port, "");
    next(&heard);
    queue.put("job/x".into(), "x".repeat(BODY_BYTES + 1).into()).unwrap();
    queue.put("job/x".into(), "fits".into()).unwrap();
    assert_eq!((next(&heard).1.as_str(), queue.dropped()), ("fits", 1));
}

#[test]
fn a_port_that_cannot_be_had_is_named() {
    let (port, _queue) = port();
    let error = Publisher::start(port.address(), Arc::new(Queue::new().unwrap()), again).unwrap_err();
    assert!(error.to_string().contains(port.address()), "{error}");
    let error = Publisher::start("tcp://127.0.0.1", Arc::new(Queue::new().unwrap()), again).unwrap_err();
    assert!(error.to_string().contains("tcp://127.0.0.1"), "{error}");
}
