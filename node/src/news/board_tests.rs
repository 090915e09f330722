//! What a node tells and says, and what its view shows of that.

use serde_json::{Value, json};

use super::super::kinds::share_all;
use super::*;

fn board(share: Share) -> (Board, Arc<Queue>) {
    let queue = Arc::new(Queue::new().unwrap());
    let board = Board::default();
    let speaker = Speaker { node: "n1".into(), id: "0a".into(), boot: 2 };
    board.open(Voice::new(speaker, share, Arc::clone(&queue)));
    (board, queue)
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_string()).unwrap()
}

fn page(board: &Board) -> Value {
    serde_json::from_str(&board.page()).unwrap()
}

#[test]
fn what_is_told_is_published_and_is_in_the_own_view() {
    let (board, queue) = board(share_all());
    assert!(board.tell(Kind::State, &json!({"role": "worker"})));
    board.say("weather", "hall", &raw("21.50"), None).unwrap();
    let sent = queue.take(9);
    let topics: Vec<&str> = sent.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["info/state/n1", "msg/weather/hall"]);
    let body: Value = serde_json::from_str(&sent[1].1).unwrap();
    let same = ["node", "id", "boot", "number", "kind", "name", "value"].map(|field| body[field].clone());
    assert_eq!(Value::from(same.to_vec()), json!(["n1", "0a", 2, 1, "weather", "hall", 21.5]));
    let page = page(&board);
    assert_eq!(
        (&page["n1"]["state"]["role"], &page["n1"]["msg/weather/hall"]),
        (&json!("worker"), &json!(21.5))
    );
    assert_eq!(board.one("n1", "msg/weather/hall").unwrap().value(), "21.50", "as it was said");
    assert!(board.one("n1", "common").is_none() && board.one("n2", "state").is_none());
}

#[test]
fn a_withheld_kind_is_neither_published_nor_in_the_own_view() {
    let (board, queue) = board([Kind::State].into());
    assert!(!board.tell(Kind::Static, &json!({"kernel": "Linux"})));
    assert!(board.tell(Kind::State, &json!({"role": "worker"})));
    assert_eq!(queue.take(9).len(), 1);
    assert_eq!(page(&board)["n1"].as_object().unwrap().keys().collect::<Vec<_>>(), ["state"]);
    assert_eq!(board.again(true).len(), 1);
}

#[test]
fn messages_are_numbered_without_holes_and_a_repeated_key_is_one_message() {
    let (board, queue) = board(share_all());
    board.tell(Kind::State, &json!({"role": "worker"}));
    let say = |value: &str, key: Option<&str>| board.say("k", "n", &raw(value), key.map(String::from));
    assert_eq!(say("1", None).unwrap().number, 1);
    let first = say("2", Some("key"));
    assert_eq!(say("2", Some("key")), first);
    assert_eq!(say("3", Some("key")), Err(Unsaid::KeyReused));
    assert_eq!(say("3", None).unwrap().number, 3);
    assert_eq!(queue.take(9).len(), 4);
    for k in 0..=KEYS {
        say("4", Some(&k.to_string())).unwrap();
    }
    assert!(board.inside().keys.known.len() <= KEYS && board.inside().keys.order.len() <= KEYS);
}

#[test]
fn a_message_without_room_is_refused_and_is_in_no_view() {
    let (board, queue) = board(share_all());
    while queue.put("x".into(), "x".into()).is_ok() {}
    assert_eq!(board.say("k", "n", &raw("1"), None), Err(Unsaid::Full));
    assert!(!board.tell(Kind::State, &json!({"role": "worker"})));
    assert_eq!(page(&board), json!({}));
    queue.take(1);
    assert_eq!(board.say("k", "n", &raw("1"), None).unwrap().number, 1);
    assert_eq!(board.dropped(), 3);
}

#[test]
fn a_stopped_node_says_and_knows_nothing_and_begins_anew() {
    let (board, queue) = board(share_all());
    board.tell_last(Kind::State, &json!({"stopped": true}));
    assert!(!board.tell(Kind::State, &json!({"stopped": false})), "that was its last word");
    assert_eq!(page(&board)["n1"]["state"]["stopped"], true);
    queue.count_dropped(5);
    board.close();
    assert_eq!((page(&board), board.dropped()), (json!({}), 5));
    assert_eq!(board.say("k", "n", &raw("1"), None), Err(Unsaid::NoVoice));
}

#[test]
fn a_value_over_its_bound_is_not_told() {
    let (board, queue) = board(share_all());
    assert!(!board.tell(Kind::Static, &json!({"classes": "c".repeat(VALUE_BYTES)})));
    assert_eq!((queue.take(9).len(), board.dropped()), (0, 1));
}
