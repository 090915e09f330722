use std::time::Duration;

use consensus::{Entry, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Listener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::frame::{ALIVE, KEEPALIVE, SILENCE, put};
use super::greeting::{self, Us};
use super::hello::{Hello, Purpose, Reply};
use super::line::Line;
use super::queue::QUEUE_BYTES;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
/// What "at once" means on a busy machine; far below the silence.
const AT_ONCE: Duration = Duration::from_millis(500);

pub(super) fn identity(node: u64, boot: u64) -> LinkIdentity {
    LinkIdentity {
        cluster: ClusterId(1),
        node: NodeId(node),
        boot: Boot(boot),
        name: format!("node-{node}"),
        http: format!("n{node}:8080"),
        link: format!("n{node}:9991"),
        broker: format!("n{node}:9990"),
        news: format!("n{node}:9997"),
    }
}

/// Knows no bulk and needs no keys.
pub(super) fn nothing_kept() -> Serving {
    let elsewhere = tokio::runtime::Handle::current();
    Serving { bulk: Arc::new(crate::bulk::Shelves::default()), keys: Arc::new(NoKeys), elsewhere }
}

pub(super) struct NoKeys;

impl SessionKeys for NoKeys {
    fn given(&self, _key: SessionKey) {}
    fn taken(&self, _key: SessionKey) {}
    fn ended(&self, _tag: u64) {}
}

pub(super) struct Side {
    pub(super) link: Link,
    pub(super) told: mpsc::Receiver<LinkTold>,
}

impl Side {
    /// With a key, or without.
    pub(super) fn keyed(node: u64, key: Option<&ClusterKey>, serving: Serving) -> Side {
        let (tell, told) = mpsc::channel(4096);
        let (listen, identity) = ("127.0.0.1:0", identity(node, 1));
        let link = Link::start(&Handle::current(), listen, identity, tell, serving, key.cloned()).unwrap();
        Side { link, told }
    }

    fn of(identity: LinkIdentity, listen: &str) -> Side {
        let (tell, told) = mpsc::channel(4096);
        let link = Link::start(&Handle::current(), listen, identity, tell, nothing_kept(), None).unwrap();
        Side { link, told }
    }

    fn new(node: u64) -> Side {
        Self::of(identity(node, 1), "127.0.0.1:0")
    }

    pub(super) fn target(&self) -> String {
        self.link.address().to_string()
    }

    async fn next(&mut self) -> LinkTold {
        timeout(PATIENCE, self.told.recv()).await.expect("something is told").expect("the link lives")
    }

    /// The next thing told that `pick` takes; others are passed over.
    pub(super) async fn until<T>(&mut self, pick: impl Fn(LinkTold) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.next().await) {
                return found;
            }
        }
    }

    pub(super) async fn up(&mut self, node: u64) {
        self.until(|told| (told == LinkTold::Up { peer: NodeId(node) }).then_some(())).await;
    }

    async fn closed(&mut self) -> (NodeId, bool) {
        self.until(|told| match told {
            LinkTold::Closed { peer, refused } => Some((peer, refused)),
            _ => None,
        })
        .await
    }

    pub(super) async fn refused(&mut self) -> String {
        self.until(|told| match told {
            LinkTold::Refused { text, .. } => Some(text),
            _ => None,
        })
        .await
    }

    pub(super) async fn message(&mut self) -> Message {
        self.until(|told| match told {
            LinkTold::Message { message, .. } => Some(message),
            _ => None,
        })
        .await
    }
}

/// A message of ours, by its bytes: its fields belong to `consensus`.
pub(super) fn message(term: u64, data: Vec<u8>) -> Message {
    let entry = Entry { term, index: 2, kind: Kind::Normal, data: data.into() };
    let fields =
        (0_u32, (1_u64, 2_u64, term), (1_u64, 1_u64, 0_u64, 0_u64), false, 0_u64, Vec::<u8>::new(), [entry]);
    let (kind, who, numbers, reject, hint, context, [entry]) = fields;
    let bytes =
        protocol::native::encode(&(kind, who, numbers, reject, hint, context, vec![entry], None::<()>));
    protocol::native::decode(&bytes).expect("the fields of a message, in order")
}

async fn pair() -> (Side, Side) {
    let (mut one, two) = (Side::new(1), Side::new(2));
    one.link.dial(vec![(NodeId(2), two.target())]);
    one.up(2).await;
    (one, two)
}

/// A peer played by hand: answers the hello as node 2.
async fn welcome(listener: &Listener) -> Line {
    let (stream, _) = listener.accept().await.unwrap();
    let mut line = greeting::accept(stream, Us { name: "node-2", key: None }, HELLO_BYTES).await.unwrap();
    let hello: Hello = line.frames.next().await.unwrap();
    let mut out = Vec::new();
    put(&mut out, &Reply::Welcome(Hello::new(&identity(2, 1), hello.purpose, hello.node, 1, hello.session)));
    line.out.send(&out).await.unwrap();
    line
}

/// A peer played by hand: says a hello and gives the reply.
async fn greet(side: &Side, hello: &Hello) -> (Line, Result<Reply, frame::End>) {
    let stream = TcpStream::connect(side.link.address()).await.unwrap();
    let mut line = greeting::dial(stream, Us { name: "node-2", key: None }, HELLO_BYTES).await.unwrap();
    let mut out = Vec::new();
    put(&mut out, hello);
    line.out.send(&out).await.unwrap();
    let reply = line.frames.next().await;
    (line, reply)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_whole_and_in_order_and_the_hello_tells_addresses() {
    let (one, mut two) = pair().await;
    let LinkTold::Address { peer, boot, name, link, .. } = two.next().await else {
        panic!("first the address")
    };
    assert_eq!((peer, boot, name.as_str(), link.as_str()), (NodeId(1), Boot(1), "node-1", "n1:9991"));
    for batch in 0..50 {
        let messages = (0..20).map(|n| message(batch * 20 + n, vec![7; 10_000])).collect();
        assert!(one.link.send(NodeId(2), messages));
    }
    for term in 0..1000 {
        assert_eq!(two.message().await, message(term, vec![7; 10_000]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_goes_is_noticed_at_once_on_both_directions() {
    let (mut one, mut two) = pair().await;
    two.link.dial(vec![(NodeId(1), one.target())]);
    two.up(1).await;
    let gone = Instant::now();
    two.link.close().await;
    assert_eq!(one.closed().await, (NodeId(2), true));
    assert_eq!(one.closed().await, (NodeId(2), true));
    assert!(gone.elapsed() < AT_ONCE, "{:?}", gone.elapsed());
    assert!(!one.link.send(NodeId(2), vec![message(1, Vec::new())]), "there is no session any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_connection_stays_open() {
    let (mut one, mut two) = pair().await;
    sleep(SILENCE + SILENCE / 2).await;
    assert!(one.link.send(NodeId(2), vec![message(9, Vec::new())]));
    assert_eq!(two.message().await.term(), 9);
    assert!(one.told.try_iter_closed().is_none());
}

trait Closings {
    fn try_iter_closed(&mut self) -> Option<LinkTold>;
}

impl Closings for mpsc::Receiver<LinkTold> {
    fn try_iter_closed(&mut self) -> Option<LinkTold> {
        std::iter::from_fn(|| self.try_recv().ok()).find(|told| matches!(told, LinkTold::Closed { .. }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_closes_and_is_no_sign_of_death_but_a_refused_redial_is() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let mut one = Side::new(1);
    one.link.dial(vec![(NodeId(2), listener.local_addr().unwrap().to_string())]);
    let silent = welcome(&listener).await;
    one.up(2).await;
    let since = Instant::now();
    assert_eq!(one.closed().await, (NodeId(2), false));
    assert!(since.elapsed() >= SILENCE / 2 && since.elapsed() < 5 * SILENCE, "{:?}", since.elapsed());
    drop((silent, listener));
    assert_eq!(one.closed().await, (NodeId(2), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_closes_the_connection() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let mut one = Side::new(1);
    one.link.dial(vec![(NodeId(2), listener.local_addr().unwrap().to_string())]);
    let Line { frames: _unread, mut out } = welcome(&listener).await;
    one.up(2).await;
    // It says that it lives, and reads nothing.
    let living = tokio::spawn(async move {
        while out.send(&ALIVE).await.is_ok() {
            sleep(KEEPALIVE).await;
        }
    });
    let large = message(1, vec![0; 4 << 20]);
    let most = usize::try_from(2 * QUEUE_BYTES / large.bytes()).unwrap();
    let taken = (0..most).take_while(|_| one.link.send(NodeId(2), vec![large.clone()])).count();
    assert!((8..most).contains(&taken), "{taken} messages were taken");
    assert_eq!(one.closed().await, (NodeId(2), false));
    living.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_at_each_attempt_and_a_peer_may_come_late() {
    // A port that is free now; whoever listens there later is found without another word.
    let port = Listener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut one = Side::new(1);
    one.link.dial(vec![(NodeId(2), format!("localhost:{port}"))]);
    sleep(Duration::from_millis(200)).await;
    let _two = Side::of(identity(2, 1), &format!("127.0.0.1:{port}"));
    one.up(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_back_is_dialled_again_and_its_new_boot_told() {
    let (mut one, two) = pair().await;
    let target = two.target();
    two.link.close().await;
    assert_eq!(one.closed().await, (NodeId(2), true));
    let mut back = Side::of(identity(2, 2), &target);
    let boot = one
        .until(|told| match told {
            LinkTold::Address { boot, .. } => Some(boot),
            _ => None,
        })
        .await;
    assert_eq!(boot, Boot(2));
    one.up(2).await;
    assert!(one.link.send(NodeId(2), vec![message(4, Vec::new())]));
    assert_eq!(back.message().await.term(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_and_another_node_are_refused_by_name() {
    let mut one = Side::new(1);
    let stranger = Side::of(LinkIdentity { cluster: ClusterId(2), ..identity(2, 1) }, "127.0.0.1:0");
    one.link.dial(vec![(NodeId(2), stranger.target())]);
    let text = one.refused().await;
    assert!(text.contains("another cluster"), "{text}");

    let three = Side::new(3);
    one.link.dial(vec![(NodeId(2), three.target())]);
    let text = one.refused().await;
    assert!(text.contains(&NodeId(2).to_string()) && text.contains(&NodeId(3).to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_live_node_is_refused_and_a_redial_of_the_same_process_is_not() {
    let side = Side::new(1);
    let hello =
        |boot, instance| Hello::new(&identity(2, boot), Purpose::Messages, NodeId(1), instance, instance);
    let (_live, reply) = greet(&side, &hello(3, 10)).await;
    assert!(matches!(reply, Ok(Reply::Welcome(_))));
    for copy in [hello(3, 11), hello(2, 12)] {
        let (_, reply) = greet(&side, &copy).await;
        assert!(matches!(&reply, Ok(Reply::Refused(text)) if text.contains("copy")), "{reply:?}");
    }
    let (_redialled, reply) = greet(&side, &hello(3, 10)).await;
    assert!(matches!(reply, Ok(Reply::Welcome(_))));
    let (_later, reply) = greet(&side, &hello(4, 13)).await;
    assert!(matches!(reply, Ok(Reply::Welcome(_))));
    let (_, reply) = greet(&side, &Hello::new(&identity(1, 9), Purpose::Messages, NodeId(1), 1, 1)).await;
    assert!(matches!(&reply, Ok(Reply::Refused(text)) if text.contains("two nodes")), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_closed_and_disturbs_nobody() {
    let (one, mut two) = pair().await;
    for garbage in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), &[0xff; 100], &[0, 0, 0, 3, 1, 2, 3]] {
        let mut stream = TcpStream::connect(two.link.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let end = timeout(PATIENCE, stream.read(&mut [0; 8])).await;
        assert!(matches!(end.expect("it is closed"), Ok(0) | Err(_)));
    }
    assert!(one.link.send(NodeId(2), vec![message(5, Vec::new())]));
    assert_eq!(two.message().await.term(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_and_a_closed_link_leaves_its_port() {
    let (tell, _told) = mpsc::channel(8);
    let (one, _two) = pair().await;
    let target = one.target();
    let error = Link::start(&Handle::current(), &target, identity(9, 1), tell.clone(), nothing_kept(), None)
        .unwrap_err();
    assert!(error.to_string().contains(&target), "{error}");
    one.link.close().await;
    Link::start(&Handle::current(), &target, identity(1, 2), tell, nothing_kept(), None)
        .expect("the port is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_not_wanted_any_more_is_let_go() {
    let (one, mut two) = pair().await;
    one.link.dial(Vec::new());
    assert_eq!(two.closed().await, (NodeId(1), true));
    assert!(!one.link.send(NodeId(2), Vec::new()));
}
