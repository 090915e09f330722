//! Server-sent events.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures_util::StreamExt as _;
use logdb::door::Guarded;
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceExt;

use super::stage::start;

/// One reader: events are read one by one.
struct Reader {
    body: BodyDataStream,
    buffer: String,
}

#[derive(Debug, PartialEq)]
struct Heard {
    kind: String,
    id: String,
    data: Value,
}

impl Reader {
    async fn open(app: &Guarded, query: &str, last_event_id: &str) -> Self {
        let request = Request::get(format!("/api/v1/events{query}")).header("last-event-id", last_event_id);
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), buffer: String::new() }
    }

    /// The next block between blank lines; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let block = block.to_string();
                self.buffer = rest.to_string();
                return Some(block);
            }
            let next =
                timeout(Duration::from_secs(60), self.body.next()).await.expect("an event within a minute");
            self.buffer.push_str(std::str::from_utf8(&next?.unwrap()).unwrap());
        }
    }

    async fn next(&mut self) -> Option<Heard> {
        loop {
            let block = self.block().await?;
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
            if !block.starts_with(':') {
                return Some(Heard {
                    kind: field("event:").to_string(),
                    id: field("id:").to_string(),
                    data: serde_json::from_str(field("data:")).unwrap(),
                });
            }
        }
    }
}

#[tokio::test]
async fn a_reader_gets_leader_and_nodes_at_once_and_jobs_as_they_change() {
    let (app, hand) = start();
    let mut reader = Reader::open(&app, "", "").await;
    let leader = reader.next().await.unwrap();
    assert_eq!(
        (leader.kind.as_str(), leader.id.as_str(), &leader.data["leader"]),
        ("leader", "", &"n1".into())
    );
    for name in ["n1", "n2"] {
        let node = reader.next().await.unwrap();
        assert_eq!((node.kind.as_str(), &node.data["name"]), ("node", &name.into()));
    }
    let id = hand.accept(1, "echo", b"<b>");
    hand.run(id, b"secret output");
    for (rev, state) in [("0.2.0", "queued"), ("0.3.0", "running"), ("0.4.0", "succeeded")] {
        let heard = reader.next().await.unwrap();
        assert_eq!((heard.kind.as_str(), heard.id.as_str()), ("job", rev));
        assert_eq!(heard.data["state"], state);
        assert!(!heard.data.to_string().contains("secret") && heard.data.get("payload_excerpt").is_none());
    }
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing_and_hears_nothing_twice() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"");
    hand.run(id, b"");
    let mut reader = Reader::open(&app, "?kinds=job&since=0.1.0", "0.2.0").await;
    hand.accept(2, "echo", b"");
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(reader.next().await.unwrap().id);
    }
    assert_eq!(ids, ["0.4.0", "0.5.0"], "what was missed of one job comes as one, under its newest revision");
}

#[tokio::test]
async fn only_the_wanted_job_is_told() {
    let (app, hand) = start();
    let wanted = hand.accept(1, "echo", b"");
    let mut reader = Reader::open(&app, &format!("?kinds=job&job={wanted}&since=0.1.0"), "").await;
    hand.accept(2, "echo", b"");
    hand.assign(wanted);
    let revs = [reader.next().await.unwrap().id, reader.next().await.unwrap().id];
    assert_eq!(revs, ["0.2.0", "0.4.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_not_known_here_is_a_reset() {
    let (app, _hand) = start();
    let mut reader = Reader::open(&app, "?kinds=job&since=0.99.0", "").await;
    let heard = reader.next().await.unwrap();
    assert_eq!((heard.kind.as_str(), &heard.data["rev"]), ("reset", &"0.1.2".into()));
}

#[tokio::test(start_paused = true)]
async fn after_a_recovery_by_hand_a_reader_of_the_epoch_before_gets_a_reset() {
    let (app, hand) = start();
    hand.accept(1, "echo", b"");
    let former = protocol::ClusterId(1);
    hand.apply(vec![protocol::Command::Recover { epoch: 1, node: protocol::NodeId(1), former }]);
    // One that the lost majority may have given to something else, and one that is known here.
    for since in ["0.99.0", "0.2.0"] {
        let mut reader = Reader::open(&app, &format!("?kinds=job&since={since}"), "").await;
        let heard = reader.next().await.unwrap();
        assert_eq!((heard.kind.as_str(), heard.id.as_str()), ("reset", "1.3.0"), "after {since}");
    }
    let mut reader = Reader::open(&app, "?kinds=job&since=1.3.0", "").await;
    hand.accept(2, "echo", b"");
    assert_eq!(reader.next().await.unwrap().id, "1.4.0");
}

#[tokio::test]
async fn a_slow_reader_gets_a_reset_instead_of_a_hole() {
    let (app, hand) = start();
    let mut reader = Reader::open(&app, "?kinds=job", "").await;
    for id in 1..=1_000 {
        hand.accept(id, "echo", b"");
    }
    let mut last = String::new();
    loop {
        let heard = reader.next().await.unwrap();
        last = match heard.kind.as_str() {
            "reset" => {
                assert_eq!(heard.data["rev"], "0.1001.0");
                break;
            }
            _ => heard.id,
        };
    }
    assert_ne!(last, "0.1001.0");
    hand.accept(2_000, "echo", b"");
    assert_eq!(reader.next().await.unwrap().id, "0.1002.0");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_carries_comments_and_ends_when_the_node_is_stopped() {
    let (app, hand) = start();
    let mut reader = Reader::open(&app, "?kinds=job", "").await;
    assert!(reader.block().await.unwrap().starts_with(':'));
    hand.front.valve.turn(true);
    while let Some(block) = reader.block().await {
        assert!(block.starts_with(':'), "{block}");
    }
}
