//! What a view takes, keeps and gives away.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::said::{Message, Speaker, body};
use super::super::topics::message;
use super::*;

fn speaker(node: &str, id: &str, boot: u64) -> Speaker {
    Speaker { node: node.into(), id: id.into(), boot }
}

fn role(speaker: &Speaker, number: u64, role: &str) -> (String, String) {
    let at = format!("2026-01-01T00:00:{number:02}.000Z");
    (info(Kind::State, &speaker.node), body(speaker, number, &at, &json!({ "role": role })).unwrap())
}

fn word(speaker: &Speaker, number: u64, name: &str, value: &str) -> (String, String) {
    let value = RawValue::from_string(value.to_string()).unwrap();
    let what = Message { kind: "k", name, value: &value };
    (message("k", name), body(speaker, number, "2026-01-01T00:00:00.000Z", &what).unwrap())
}

struct Scene {
    views: Views,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self { views: Views::default(), now: Instant::now() }
    }

    fn hear(&mut self, (topic, body): &(String, String)) -> Took {
        self.views.hear(topic, body, self.now)
    }

    fn shown(&self, node: &str, kind: &str) -> Option<Value> {
        let one = self.views.one(node, kind, self.now)?;
        Some(serde_json::from_str(one.value()).unwrap())
    }

    fn role(&self, node: &str) -> Option<Value> {
        self.shown(node, "state").map(|state| state["role"].clone())
    }
}

#[test]
fn the_higher_number_wins_and_a_repetition_keeps_its_age() {
    let (mut scene, n) = (Scene::new(), speaker("n", "a", 1));
    assert_eq!(scene.hear(&role(&n, 2, "leader")), Took::New);
    scene.now += Duration::from_secs(7);
    assert_eq!(scene.hear(&role(&n, 2, "leader")), Took::Old);
    assert_eq!(scene.hear(&role(&n, 1, "worker")), Took::Old);
    assert_eq!(scene.role("n"), Some("leader".into()));
    assert_eq!(scene.views.one("n", "state", scene.now).unwrap().age, Duration::from_secs(7));
    assert_eq!(scene.hear(&role(&n, 3, "worker")), Took::New);
    assert_eq!(scene.role("n"), Some("worker".into()));
}

#[test]
fn a_later_start_empties_the_entry_and_an_earlier_one_is_not_heard() {
    let mut scene = Scene::new();
    let (first, second) = (speaker("n", "a", 1), speaker("n", "a", 2));
    scene.hear(&role(&first, 9, "leader"));
    scene.hear(&word(&first, 1, "x", "1"));
    assert_eq!(scene.hear(&word(&second, 1, "y", "2")), Took::New);
    assert_eq!((scene.role("n"), scene.shown("n", "msg/k/x")), (None, None), "what is withheld now is gone");
    assert_eq!(scene.hear(&role(&first, 10, "leader")), Took::Old);
    assert_eq!(scene.shown("n", "msg/k/y"), Some(2.into()));
}

#[test]
fn another_node_of_the_same_name_takes_its_place_by_the_clock_or_by_silence() {
    let mut scene = Scene::new();
    let (old, new) = (speaker("n", "a", 5), speaker("n", "b", 1));
    scene.hear(&role(&old, 30, "leader"));
    assert_eq!(scene.hear(&role(&new, 20, "worker")), Took::Old);
    assert_eq!(scene.hear(&role(&new, 31, "worker")), Took::New);
    assert_eq!(scene.hear(&role(&old, 30, "leader")), Took::Old);
    scene.now += STALE + Duration::from_secs(1);
    assert_eq!(
        scene.hear(&role(&old, 30, "leader")),
        Took::New,
        "after a minute of silence anything is news"
    );
}

#[test]
fn only_wanted_nodes_are_heard_and_one_that_left_is_forgotten() {
    let mut scene = Scene::new();
    let want = |list: &[(&str, &str, u64)]| {
        let wanted = |(name, id, boot): &(&str, &str, u64)| {
            ((*name).to_string(), Wanted { id: (*id).to_string(), boot: *boot })
        };
        list.iter().map(wanted).collect()
    };
    scene.views.want(want(&[("n", "a", 1), ("m", "b", 1)]));
    for (name, id) in [("n", "a"), ("m", "b")] {
        assert_eq!(scene.hear(&role(&speaker(name, id, 1), 1, "worker")), Took::New);
    }
    assert_eq!(scene.hear(&role(&speaker("x", "c", 1), 1, "worker")), Took::Refused);
    assert_eq!(scene.hear(&role(&speaker("n", "c", 1), 5, "worker")), Took::Refused, "an id is no guess");
    scene.views.want(want(&[("n", "a", 2)]));
    assert_eq!(scene.role("m"), None, "it left");
    assert_eq!(scene.role("n"), None, "it began anew and has said nothing yet");
    assert_eq!(scene.hear(&role(&speaker("n", "a", 1), 9, "leader")), Took::Refused);
    assert_eq!(scene.hear(&role(&speaker("n", "a", 2), 1, "worker")), Took::New);
}

#[test]
fn messages_are_bounded_in_number_and_bytes_and_the_oldest_goes() {
    let (mut scene, n) = (Scene::new(), speaker("n", "a", 1));
    for number in 1..=MESSAGES_A_NODE as u64 + 2 {
        assert_eq!(scene.hear(&word(&n, number, &format!("x{number}"), "0")), Took::New);
    }
    assert_eq!((scene.shown("n", "msg/k/x1"), scene.shown("n", "msg/k/x2")), (None, None));
    assert_eq!(scene.shown("n", "msg/k/x3"), Some(0.into()));
    let large = format!("\"{}\"", "y".repeat(60 << 10));
    for number in 2_000..2_000 + 2 * MESSAGES_A_NODE as u64 {
        // One number for all: whoever lies about it gains no room.
        scene.hear(&word(&n, 5_000, &format!("y{number}"), &large));
    }
    let bytes: usize = scene.views.nodes["n"].messages.values().map(|heard| heard.body.len()).sum();
    assert!(bytes <= MESSAGES_BYTES / SHARERS_LEAST, "{bytes}");
    assert_eq!(scene.views.nodes["n"].message_bytes, bytes);
    assert_eq!(scene.views.nodes["n"].order.len(), scene.views.nodes["n"].messages.len());
}

#[test]
fn nodes_are_bounded_and_the_most_silent_gives_way() {
    let mut scene = Scene::new();
    for k in 0..=MEMBERS {
        scene.now += Duration::from_millis(1);
        assert_eq!(scene.hear(&role(&speaker(&format!("n{k}"), "a", 1), 1, "worker")), Took::New);
    }
    assert_eq!(scene.views.nodes.len(), MEMBERS);
    assert_eq!((scene.role("n0"), scene.role("n1")), (None, Some("worker".into())));
}

#[test]
fn what_has_not_the_form_or_is_too_large_is_refused() {
    let (mut scene, n) = (Scene::new(), speaker("n", "a", 1));
    let (topic, good) = role(&n, 1, "worker");
    for (topic, body) in [
        (topic.as_str(), ""),
        (&topic, "{}"),
        (&topic, "\u{0}\u{1}"),
        (&topic, "[[[["),
        ("info/state/other", &good),
        ("info/mood/n", &good),
        ("msg/k/n", &good),
        ("", &good),
    ] {
        assert_eq!(scene.views.hear(topic, body, scene.now), Took::Refused, "{topic} {body}");
    }
    let large = body(&n, 1, "x", &json!({"role": "r".repeat(VALUE_BYTES)})).unwrap();
    assert_eq!(scene.views.hear(&topic, &large, scene.now), Took::Refused);
    let bad = body(&speaker("a b", "a", 1), 1, "x", &json!({})).unwrap();
    assert_eq!(scene.views.hear("info/state/a b", &bad, scene.now), Took::Refused);
    let bad = body(&speaker("a b", "a", 1), 1, "x", &json!({"value": 1})).unwrap();
    assert_eq!(scene.views.hear("msg/k/n", &bad, scene.now), Took::Refused);
    assert!(scene.views.nodes.is_empty());
    assert_eq!(scene.views.hear("job/echo", "anything", scene.now), Took::Event);
}

#[test]
fn whoever_comes_late_is_told_the_four_kinds_and_by_wish_the_messages() {
    let (mut scene, n) = (Scene::new(), speaker("n", "a", 1));
    scene.hear(&role(&n, 1, "worker"));
    scene.hear(&word(&n, 1, "x", "1"));
    scene.hear(&role(&speaker("m", "b", 1), 1, "worker"));
    let topics = |scene: &Scene, of, messages| {
        let again = scene.views.again(of, messages, scene.now);
        again.into_iter().map(|(topic, _)| topic).collect::<Vec<_>>()
    };
    assert_eq!(topics(&scene, Some("n"), false), ["info/state/n"]);
    assert_eq!(topics(&scene, None, true), ["info/state/m", "info/state/n", "again/msg/k/x"]);
    scene.now += STALE + Duration::from_secs(1);
    assert_eq!(topics(&scene, None, false), [""; 0], "the silent are not made to seem alive");
    assert_eq!(topics(&scene, Some("n"), false), ["info/state/n"], "a node knows itself");
}
