//! A lane's life with time that only these tests move on.

use super::*;

const HALF: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

fn lane() -> (Lane, Instant) {
    let id = BridgeId::of("tcp://a:9999", "tcp://b:9998", &["D".to_string()]);
    (Lane::new(Rules { id, half_delay: HALF, patience: PATIENCE }), Instant::now())
}

/// A lane that waits for the reply to `m`, which `C_x` asked.
fn waiting() -> (Lane, Instant) {
    let (mut lane, start) = lane();
    lane.take(b"C_x".to_vec(), b"m".to_vec(), start).unwrap();
    assert_eq!(lane.tick(start + HALF), None);
    lane.asked();
    (lane, start + HALF)
}

fn own_trail(lane: &Lane) -> Trail {
    Trail::default().with(lane.rules.id)
}

fn answer(lane: &Lane) -> (Vec<u8>, String) {
    let Want::Answer { client, reply } = lane.want() else { panic!("no answer: {lane:?}") };
    (client.to_vec(), String::from_utf8(reply.to_vec()).unwrap())
}

#[test]
fn a_job_is_asked_after_half_the_delay_and_answered_after_the_other_half() {
    let (mut lane, start) = lane();
    assert_eq!((lane.want(), lane.due()), (Want::Job, None));
    lane.take(b"C_x".to_vec(), b"m".to_vec(), start).unwrap();
    lane.tick(start + HALF - Duration::from_millis(1));
    assert_eq!((lane.want(), lane.due()), (Want::Time, Some(start + HALF)));
    lane.tick(start + HALF);
    assert_eq!(lane.want(), Want::Ask { trail: &own_trail(&lane), message: b"m" });
    lane.asked();
    assert_eq!(lane.want(), Want::Reply { trail: &own_trail(&lane) });
    let later = start + Duration::from_secs(1);
    lane.reply(b"Done!".to_vec(), later);
    lane.tick(later + HALF - Duration::from_millis(1));
    assert_eq!(lane.want(), Want::Time);
    lane.tick(later + HALF);
    assert_eq!(answer(&lane), (b"C_x".to_vec(), "Done!".to_string()));
    lane.answered();
    assert!(lane.is_free());
}

#[test]
fn a_request_that_passed_this_bridge_is_refused_as_a_loop() {
    let (mut lane, start) = lane();
    let other = BridgeId::of("x", "y", &[]);
    let trail = own_trail(&lane).with(other);
    let client = format!("WC_h_1~{trail}").into_bytes();
    assert_eq!(lane.take(client.clone(), b"m".to_vec(), start), Err(Refused::Loop(trail)));
    assert_eq!(answer(&lane), (client, "ERROR loop".to_string()));
}

#[test]
fn a_request_that_passed_eight_bridges_goes_no_further() {
    let (mut lane, start) = lane();
    let trail = |hops: usize| {
        (0..hops).fold(Trail::default(), |trail, at| trail.with(BridgeId::of(&at.to_string(), "", &[])))
    };
    let client = format!("J~{}", trail(8)).into_bytes();
    assert_eq!(lane.take(client.clone(), b"m".to_vec(), start), Err(Refused::Hops(trail(8))));
    assert_eq!(answer(&lane), (client, "ERROR hops".to_string()));
    lane.answered();
    lane.take(format!("J~{}", trail(7)).into_bytes(), b"m".to_vec(), start).unwrap();
    lane.tick(start + HALF);
    let Want::Ask { trail: asked, .. } = lane.want() else { panic!("{lane:?}") };
    assert_eq!(*asked, trail(7).with(lane.rules.id));
}

#[test]
fn a_request_whose_connection_ended_is_asked_again_but_not_for_ever() {
    let (mut lane, asked) = waiting();
    let trail = own_trail(&lane);
    for _ in 1..limits::ASKS {
        lane.lost(&trail);
        assert_eq!(lane.want(), Want::Ask { trail: &trail, message: b"m" });
        assert_eq!(lane.due(), Some(asked + PATIENCE), "asking again does not make it more patient");
        lane.asked();
    }
    lane.lost(&trail);
    assert_eq!(answer(&lane).1, "ERROR lost");
}

#[test]
fn the_end_of_another_connection_changes_nothing() {
    let (mut lane, _) = waiting();
    let trail = own_trail(&lane);
    lane.lost(&trail.with(BridgeId::of("x", "y", &[])));
    assert_eq!(lane.want(), Want::Reply { trail: &trail });
}

#[test]
fn patience_ends_whether_it_could_ask_or_not() {
    let (mut lane, asked) = waiting();
    let trail = own_trail(&lane);
    assert_eq!(lane.tick(asked + PATIENCE - Duration::from_millis(1)), None);
    assert_eq!(
        lane.tick(asked + PATIENCE),
        Some(trail),
        "its connection is given up: the reply may come yet"
    );
    assert_eq!(answer(&lane).1, "ERROR patience");

    let (mut lane, start) = super::tests::lane();
    lane.take(b"C_x".to_vec(), b"m".to_vec(), start).unwrap();
    lane.tick(start + HALF);
    assert_eq!(lane.tick(start + HALF + PATIENCE), None, "nothing was asked, so nothing can come");
    assert_eq!(answer(&lane).1, "ERROR patience");
}

#[test]
fn a_reply_that_nobody_waits_for_is_nobodys() {
    let (mut lane, asked) = waiting();
    lane.tick(asked + PATIENCE);
    lane.reply(b"late".to_vec(), asked + PATIENCE);
    assert_eq!(answer(&lane).1, "ERROR patience");
    lane.answered();
    lane.reply(b"later".to_vec(), asked + PATIENCE);
    assert!(lane.is_free());
}

#[test]
fn a_job_is_forgotten_with_the_connection_it_came_by() {
    let (mut lane, _) = waiting();
    let trail = own_trail(&lane);
    assert_eq!(lane.forget(), Some(trail), "its reply may come yet");
    assert!(lane.is_free());
    assert_eq!(lane.forget(), None);
}
