//! Histories that once broke a promise. One line each: seed, nodes, what it had found.

use simulator::{Plan, run};

const ONCE_BROKEN: &[(u64, usize, &str)] = &[
    (10, 4, "acked_survives: a replaced leader said of an acknowledged job that there was none to cancel"),
    (1361, 5, "no_run_while_held: a worker's new start took what was sent to the session of its earlier one"),
    (1478, 5, "no_run_while_held: the same"),
    (96, 3, "acked_survives: the same, early in a history"),
    (13, 4, "no_run_while_held: a paused leader answered the reports of two sessions in the later one"),
    (
        1,
        4,
        "key_is_one_job: a key made another job, rightly: its first one was forgotten (a fault of the check)",
    ),
    (14, 5, "no_repeat_in_calm: a foreign worker's job was longer than its window (a fault of the check)"),
    (
        292,
        4,
        "no_run_while_held: a leader in doubt kept answers of an ended session and gave them in the next",
    ),
    (342, 3, "no_run_while_held: the same"),
    (486, 3, "no_run_while_held: the same"),
    (
        423,
        3,
        "no_repeat_in_calm: a foreign worker's job of a burst was longer than its window (a fault of the check)",
    ),
    (276, 3, "no_repeat_in_calm: the same"),
    (39, 3, "acked_survives: a fetched archive had forgotten more than its ledger (a fault of the check)"),
    (1112, 5, "acked_survives: a log whose first kept entries were replaced was taken for damaged"),
    (979, 4, "acked_survives: a segment made anew lost what was safe in it (a fault of the pretended disk)"),
    (
        2179,
        4,
        "never_over_capacity: a leader counted ends from before its pause with later ones (a fault of the check)",
    ),
    (7169, 5, "never_over_capacity: the same"),
    (
        2604,
        3,
        "acked_survives: a failed sync was trusted after a soft stop (a fault of the pretended process)",
    ),
    (5113, 4, "acked_survives: the same"),
    (50, 5, "acked_survives: a voter lost its disk after its answer was counted (a fault of the check)"),
    (680, 5, "no_run_while_held: a node said again that it gave back what another's worker had by then"),
    (1180, 4, "no_run_while_held: the same"),
    (1640, 5, "no_run_while_held: the same"),
    (
        1310,
        5,
        "no_run_while_held: an attempt was taken from a node's earlier start while its worker came to another",
    ),
    (
        1094,
        5,
        "queue_moves: a late join of an earlier disk put out the node that had taken its name, for ever",
    ),
    (
        9070,
        4,
        "told_once: a client had cancelled an evaluation, told of as failed, before its front end took it back",
    ),
];

#[test]
fn what_was_once_broken_stays_whole() {
    for (seed, nodes, found) in ONCE_BROKEN {
        let plan = Plan { nodes: *nodes, ..Plan::of_seed(*seed) };
        let lived = run(&plan, &mut |_| {});
        assert!(lived.is_ok(), "again ({found}): {lived:?}");
    }
}
