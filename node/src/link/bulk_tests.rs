use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::limits::{BULK_ANSWER_BYTES, BULK_QUESTION_BYTES};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::tests::{identity, message, nothing_kept};
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers a number with so many bytes; anything else, with who asked.
#[derive(Default)]
struct Parrot {
    asked: AtomicUsize,
    at_once: AtomicUsize,
    /// Closed: answers wait.
    gate: Option<Arc<Semaphore>>,
}

impl Parrot {
    async fn say(self: Arc<Self>, from: NodeId, question: Bytes) -> Result<Bytes, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(self.at_once.fetch_add(1, Ordering::SeqCst), 0, "one question at a time");
        if let Some(gate) = &self.gate {
            let _pass = gate.acquire().await.map_err(|error| error.to_string())?;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let text = String::from_utf8_lossy(&question).into_owned();
        match text.parse::<usize>() {
            Ok(bytes) => Ok(Bytes::from(vec![b'x'; bytes])),
            Err(_) if text == "no" => Err("not kept here".to_owned()),
            Err(_) => Ok(Bytes::from(format!("node {} asked {text:?}", from.0))),
        }
    }
}

struct Keeper(Arc<Parrot>);

impl BulkServe for Keeper {
    fn answer(&self, from: NodeId, question: Bytes) -> BulkAnswer {
        Box::pin(Arc::clone(&self.0).say(from, question))
    }
}

fn link(node: u64, listen: &str, serving: Serving) -> (Link, mpsc::Receiver<LinkTold>) {
    let (tell, told) = mpsc::channel(4096);
    (Link::start(&Handle::current(), listen, identity(node, 1), tell, serving, None).unwrap(), told)
}

fn keeps(parrot: &Arc<Parrot>) -> Serving {
    Serving { bulk: Arc::new(Keeper(Arc::clone(parrot))), ..nothing_kept() }
}

/// Node 1, which asks, and node 2, which knows.
struct Pair {
    asker: Link,
    _asker_told: mpsc::Receiver<LinkTold>,
    keeper: Link,
    keeper_told: mpsc::Receiver<LinkTold>,
    parrot: Arc<Parrot>,
}

fn pair(parrot: Parrot) -> Pair {
    let parrot = Arc::new(parrot);
    let (asker, asker_told) = link(1, "127.0.0.1:0", nothing_kept());
    let (keeper, keeper_told) = link(2, "127.0.0.1:0", keeps(&parrot));
    asker.dial(vec![(NodeId(2), keeper.address().to_string())]);
    Pair { asker, _asker_told: asker_told, keeper, keeper_told, parrot }
}

async fn ask(link: &Link, question: impl Into<Bytes>) -> Result<Bytes, BulkError> {
    timeout(PATIENCE, link.ask_bulk(NodeId(2), question.into())).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_by_whom_it_was_asked_and_so_are_the_next_ones() {
    let pair = pair(Parrot::default());
    assert_eq!(ask(&pair.asker, "why").await.unwrap(), "node 1 asked \"why\"");
    assert_eq!(ask(&pair.asker, "").await.unwrap(), "node 1 asked \"\"");
    let answer = ask(&pair.asker, BULK_ANSWER_BYTES.to_string()).await.unwrap();
    assert!(answer.len() == BULK_ANSWER_BYTES && answer.iter().all(|byte| *byte == b'x'));
    let no = BulkError::Refused { peer: NodeId(2), text: "not kept here".to_owned() };
    assert_eq!(ask(&pair.asker, "no").await, Err(no));
    assert_eq!(ask(&pair.asker, "0").await.unwrap(), "");
    assert_eq!(pair.parrot.asked.load(Ordering::SeqCst), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_askers_of_one_peer_take_turns() {
    let pair = pair(Parrot::default());
    let bulk = pair.asker.bulk();
    let asks = (0..50).map(|n| {
        let bulk = bulk.clone();
        tokio::spawn(async move { bulk.ask(NodeId(2), Bytes::from((n * 1_000).to_string())).await })
    });
    for (n, asked) in asks.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap().len(), n * 1_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_at_the_end_where_it_is_made() {
    let pair = pair(Parrot::default());
    let bytes = BULK_QUESTION_BYTES + 1;
    assert_eq!(ask(&pair.asker, vec![b'q'; bytes]).await, Err(BulkError::TooLarge { bytes }));
    let large = ask(&pair.asker, (BULK_ANSWER_BYTES + 1).to_string()).await;
    assert!(matches!(&large, Err(BulkError::Refused { text, .. }) if text.contains("limit")), "{large:?}");
    assert!(ask(&pair.asker, vec![b'q'; BULK_QUESTION_BYTES]).await.is_ok(), "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_a_dead_peer_and_another_node_are_told_apart() {
    let pair = pair(Parrot::default());
    let (asker, _told) = link(3, "127.0.0.1:0", nothing_kept());
    assert_eq!(ask(&asker, "why").await, Err(BulkError::Unknown(NodeId(2))));
    asker.dial(vec![(NodeId(2), pair.asker.address().to_string())]);
    let error = ask(&asker, "why").await.unwrap_err().to_string();
    assert!(error.contains(&format!("this is node {}", NodeId(1))), "{error}");
    let address = pair.keeper.address().to_string();
    pair.keeper.close().await;
    asker.dial(vec![(NodeId(2), address.clone())]);
    let error = ask(&asker, "why").await.unwrap_err().to_string();
    assert!(error.contains("nobody listens") && error.contains(&address), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_given_up_does_not_give_its_answer_to_the_next() {
    let gate = Arc::new(Semaphore::new(0));
    let pair = pair(Parrot { gate: Some(Arc::clone(&gate)), ..Parrot::default() });
    let given_up = pair.asker.ask_bulk(NodeId(2), Bytes::from_static(b"first"));
    let given_up = tokio::spawn(given_up);
    while pair.parrot.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(ask(&pair.asker, "second").await.unwrap(), "node 1 asked \"second\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_started_again_is_dialled_again() {
    let pair = pair(Parrot::default());
    assert!(ask(&pair.asker, "why").await.is_ok());
    let address = pair.keeper.address().to_string();
    pair.keeper.close().await;
    let (_keeper, _told) = link(2, &address, keeps(&Arc::default()));
    assert_eq!(ask(&pair.asker, "why").await.unwrap(), "node 1 asked \"why\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_while_bulk_waits_and_a_closed_link_asks_no_more() {
    let gate = Arc::new(Semaphore::new(0));
    let mut pair = pair(Parrot { gate: Some(gate), ..Parrot::default() });
    let bulk = pair.asker.bulk();
    let waiting = tokio::spawn(pair.asker.ask_bulk(NodeId(2), Bytes::from_static(b"why")));
    while pair.parrot.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    while !pair.asker.send(NodeId(2), vec![message(7, Vec::new())]) {
        tokio::task::yield_now().await;
    }
    let heard = async {
        loop {
            if let Some(LinkTold::Message { message, .. }) = pair.keeper_told.recv().await {
                return message;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, heard).await.expect("it passes").term(), 7);
    assert!(!waiting.is_finished());
    pair.asker.close().await;
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap(), Err(BulkError::Closed));
    assert_eq!(bulk.ask(NodeId(2), Bytes::new()).await, Err(BulkError::Closed));
}
