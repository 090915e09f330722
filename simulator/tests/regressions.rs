//! Histories that once broke a promise. One line each: seed, nodes, what it had found.

use simulator::{Plan, run};

const ONCE_BROKEN: &[(u64, usize, &str)] = &[
    (10, 4, "acked_survives: a replaced leader said of an acknowledged job that there was none to cancel"),
    (1361, 5, "no_run_while_held: a worker's new start took what was sent to the session of its earlier one"),
    (1478, 5, "no_run_while_held: the same"),
    (96, 3, "acked_survives: the same, early in a history"),
    (13, 4, "no_run_while_held: a paused leader answered the reports of two sessions in the later one"),
];

#[test]
fn what_was_once_broken_stays_whole() {
    for (seed, nodes, found) in ONCE_BROKEN {
        let plan = Plan { nodes: *nodes, ..Plan::of_seed(*seed) };
        let lived = run(&plan, &mut |_| {});
        assert!(lived.is_ok(), "again ({found}): {lived:?}");
    }
}
