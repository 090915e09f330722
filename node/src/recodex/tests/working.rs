//! Workers.

use bytes::Bytes;
use cast::{GuestId, Input};
use protocol::limits::RECODEX_HEADERS;
use protocol::recodex::Order as ClusterOrder;
use protocol::{End, LossCause, Reason};

use super::scene::*;
use crate::ports::Side;
use crate::recodex::orders::Order;
use crate::recodex::workers::REGISTRATIONS;

#[test]
fn a_stranger_is_asked_who_he_is_and_a_registered_worker_is_answered() {
    let mut room = Room::new();
    room.workers.opened(peer("w1"));
    assert_eq!(said(&room.says("w1", &["ping"]).letters), [(peer("w1"), frames(&["intro"]))]);
    let out = room.comes("w1", &[]);
    assert_eq!((welcomed(&out.inputs), out.letters.len()), (Some((GuestId(1), None)), 0));
    let out = room.says("w1", &["ping"]);
    assert_eq!(said(&out.letters), [(peer("w1"), frames(&["pong"]))]);
    assert!(matches!(out.inputs[..], [Input::GuestHeard { guest: GuestId(1) }]), "{:?}", out.inputs);
    let out = room.says("w1", &["nonsense"]);
    assert!(matches!(out.inputs[..], [Input::GuestHeard { .. }]), "any word shows that it is there");
}

#[test]
fn an_evaluation_goes_out_with_its_frames_and_comes_back_once() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    let letter = room.gives_job_1(1);
    assert_eq!((letter.side, &letter.to), (Side::Workers, &peer("w1")));
    assert_eq!(letter.frames, frames(&["eval", "j1", "a", "r"]));
    let done = |out: &crate::recodex::Outbox| {
        out.inputs.iter().any(|input| matches!(input, Input::GuestDone { .. }))
    };
    assert!(!done(&room.says("w1", &["done", "j2", "OK", ""])), "it does not have that");
    assert!(!done(&room.says("w1", &["done", "j1", "PERHAPS", ""])), "nobody knows what that means");
    let out = room.says("w1", &["done", "j1", "FAILED", "bad config"]);
    let [_, Input::GuestDone { guest: GuestId(1), outcome }] = &out.inputs[..] else {
        panic!("{:?}", out.inputs)
    };
    assert_eq!((outcome.end, outcome.error.as_deref()), (End::Failure(Reason::Exit), Some("bad config")));
    assert!(!done(&room.says("w1", &["done", "j1", "FAILED", "bad config"])), "once");
    assert_eq!(room.warnings(), 1, "a connection is complained of once");
}

#[test]
fn the_same_registration_is_nothing_and_another_one_is_told_and_counts_too() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    let out = room.says("w1", &["init", "group1", "env=c", "", "description=again"]);
    assert!(matches!(out.inputs[..], [Input::GuestHeard { .. }]) && out.orders.is_empty(), "{out:?}");
    let out = room.says("w1", &["init", "group1", "env=go"]);
    assert_eq!(welcomed(&out.inputs), Some((GuestId(1), None)), "the same worker");
    let text = "Received two different INIT messages from the same worker (7731 (w one))".to_owned();
    assert_eq!(out.orders, [Order::Cluster(ClusterOrder::Notify { text })]);
    let out = room.says("w1", &["init", "group1", "env=c"]);
    assert!(out.orders.is_empty(), "it was said before");
    for number in 2..2 * REGISTRATIONS {
        let env = format!("env={number}");
        let counts = welcomed(&room.says("w1", &["init", "group1", &env]).inputs).is_some();
        assert_eq!(counts, number < REGISTRATIONS, "{number}");
    }
    let many: Vec<String> = (0..RECODEX_HEADERS).map(|number| format!("env={number}")).collect();
    room.comes("w2", &[]);
    let parts: Vec<&str> = ["init", "group2"].into_iter().chain(many.iter().map(String::as_str)).collect();
    assert!(welcomed(&room.says("w2", &parts).inputs).is_none(), "all together would be too much");
}

#[test]
fn progress_of_what_a_worker_has_goes_to_the_monitor_as_it_came_and_into_the_jobs() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    room.gives_job_1(1);
    assert_eq!(room.workers.progress(&room.book.0).count(), 0);
    assert_eq!(room.says("w1", &["progress", "j1", "STARTED"]).monitored, [frames(&["j1", "STARTED"])]);
    let out = room.says("w1", &["progress", "j1", "TASK", "t1", "COMPLETED"]);
    assert_eq!(out.monitored, [frames(&["j1", "TASK", "t1", "COMPLETED"])]);
    let progress: Vec<_> = room.workers.progress(&room.book.0).collect();
    assert_eq!(
        (progress[0].attempt, progress[0].permille, progress[0].text.as_str()),
        (attempt(1, 1), 200, "t1 COMPLETED")
    );
    assert!(room.says("w1", &["progress", "j2", "STARTED"]).monitored.is_empty(), "not its own");
    let long = "x".repeat(5_000);
    assert!(room.says("w1", &["progress", "j1", &long]).monitored.is_empty(), "bounded");
    room.says("w1", &["done", "j1", "OK", ""]);
    assert_eq!(room.workers.progress(&room.book.0).count(), 0);
}

#[test]
fn a_free_worker_is_forgotten_with_its_connection_and_a_busy_one_comes_back_with_what_it_has() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    assert!(matches!(room.closes("w1").inputs[..], [Input::GuestLeft { guest: GuestId(1) }]));
    room.comes("w2", &[]);
    room.gives_job_1(2);
    assert!(matches!(room.closes("w2").inputs[..], [Input::GuestLeft { guest: GuestId(2) }]));
    let out = room.comes("w3", &["current_job=j1"]);
    assert_eq!(welcomed(&out.inputs), Some((GuestId(3), Some("j1"))));
    room.workers.gone(GuestId(2), Some(attempt(1, 1)));
    assert_eq!(room.warnings(), 0, "nobody is lost");
    room.says("w3", &["progress", "j1", "ENDED"]);
    let attempts: Vec<_> = room.workers.progress(&room.book.0).map(|progress| progress.attempt).collect();
    assert_eq!(attempts, [attempt(1, 1)], "the ledger knows which it is");
    let out = room.says("w3", &["done", "j1", "OK", ""]);
    assert!(matches!(out.inputs[..], [_, Input::GuestDone { guest: GuestId(3), .. }]), "{:?}", out.inputs);
}

#[test]
fn the_last_words_of_a_connection_count_when_they_are_read_after_its_end() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    room.gives_job_1(1);
    room.closes("w1");
    let out = room.says("w1", &["done", "j1", "OK", ""]);
    let [Input::GuestDone { guest: GuestId(1), .. }, Input::GuestLeft { guest: GuestId(1) }] =
        &out.inputs[..]
    else {
        panic!("{:?}", out.inputs);
    };
    assert!(room.says("w1", &["init", "group1"]).inputs.is_empty(), "nobody is there to be registered");
}

#[test]
fn a_worker_that_was_given_up_brings_what_it_had_late_and_once() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    room.gives_job_1(1);
    room.workers.gone(GuestId(1), Some(attempt(1, 1)));
    assert_eq!(said(&room.says("w1", &["ping"]).letters), [(peer("w1"), frames(&["intro"]))]);
    let out = room.says("w1", &["done", "j1", "OK", ""]);
    let [Input::LateDone { attempt: late, .. }] = &out.inputs[..] else { panic!("{:?}", out.inputs) };
    assert_eq!(*late, attempt(1, 1));
    assert!(room.says("w1", &["done", "j1", "OK", ""]).inputs.is_empty());
}

#[test]
fn a_worker_that_was_given_up_and_is_still_at_work_says_so_and_then_brings_it_as_a_guest() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    room.gives_job_1(1);
    room.workers.gone(GuestId(1), Some(attempt(1, 1)));
    room.book.lose(1, 1, LossCause::Left);
    let second = room.book.assign(1, 2, HERE, BOOT);
    room.comes("w2", &[]);
    room.workers.hand(GuestId(2), &second);
    let out = room.says("w1", &["init", "group1", "env=c", "", "description=w one", "current_job=j1"]);
    assert_eq!(welcomed(&out.inputs), Some((GuestId(3), Some("j1"))));
    for (name, guest) in [("w2", 2), ("w1", 3)] {
        let out = room.says(name, &["done", "j1", "OK", ""]);
        let [_, Input::GuestDone { guest: GuestId(done), .. }] = &out.inputs[..] else { panic!("{out:?}") };
        assert_eq!(*done, guest);
    }
}

#[test]
fn a_worker_of_a_half_open_connection_has_to_register_there_again() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    room.gives_job_1(1);
    room.comes("w2", &["current_job=j1"]);
    room.workers.gone(GuestId(1), Some(attempt(1, 1)));
    assert_eq!(said(&room.says("w1", &["ping"]).letters), [(peer("w1"), frames(&["intro"]))]);
    assert_eq!(room.warnings(), 0, "it is here, by another connection");
}

#[test]
fn a_worker_at_work_at_what_nobody_knows_is_done_with_that_like_any_other() {
    let mut room = Room::new();
    let out = room.comes("w1", &["current_job=j9"]);
    assert_eq!(welcomed(&out.inputs), Some((GuestId(1), Some("j9"))));
    room.says("w1", &["progress", "j9", "ENDED"]);
    assert_eq!(room.workers.progress(&room.book.0).count(), 0, "of no job");
    let out = room.says("w1", &["done", "j9", "OK", ""]);
    assert!(matches!(out.inputs[..], [_, Input::GuestDone { guest: GuestId(1), .. }]), "{out:?}");
}

#[test]
fn one_that_is_too_many_is_no_guest_and_one_too_many_kinds_leaves_it_as_it_was() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    room.workers.too_many(GuestId(1));
    assert_eq!(said(&room.says("w1", &["ping"]).letters), [(peer("w1"), frames(&["intro"]))]);
    room.comes("w2", &[]);
    room.says("w2", &["init", "group1", "env=go"]);
    room.workers.too_many(GuestId(2));
    assert_eq!(said(&room.says("w2", &["ping"]).letters), [(peer("w2"), frames(&["pong"]))]);
}

#[test]
fn what_could_not_be_delivered_leaves_a_guest_that_counts_as_silent() {
    let mut room = Room::new();
    room.comes("w1", &[]);
    room.gives_job_1(1);
    let mut out = crate::recodex::Outbox::default();
    room.workers.undelivered(&peer("w1"), &mut out);
    assert!(matches!(out.inputs[..], [Input::GuestLeft { guest: GuestId(1) }]), "{out:?}");
    assert!(room.says("w1", &["ping"]).inputs.is_empty(), "it never had it, whatever it says");
    room.workers.gone(GuestId(1), Some(attempt(1, 1)));
    assert!(room.says("w1", &["done", "j1", "OK", ""]).inputs.is_empty());
    assert_eq!(room.says("w1", &["progress", "j1", "STARTED"]).monitored, Vec::<Vec<Bytes>>::new());
}
