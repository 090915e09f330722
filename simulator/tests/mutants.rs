//! Every purposely broken rule is found, by the promise that it breaks.
#![cfg(feature = "mutants")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use simulator::{INVARIANTS, Mutant, Plan, Violation, run};

/// A broken rule that lives through so many histories is not found.
const SEEDS: u64 = 600;

/// Which promises each of them may break first. (Several where one broken rule harms in several ways.)
const MEANT: &[(Mutant, &[&str])] = &[
    (Mutant::AckBeforeMajority, &["acked_survives"]),
    (Mutant::MessagesBeforeSync, &["acked_survives", "one_leader_a_term", "same_ledger"]),
    (Mutant::VotesTwice, &["one_leader_a_term"]),
    (Mutant::LeadBeforeOwnEntry, &["acked_survives", "no_repeat_in_calm", "never_over_capacity"]),
    // What was torn may be an entry's own bytes: then its node must stop, before anybody misses the entry.
    (Mutant::TornTailTaken, &["acked_survives", "same_ledger"]),
    (Mutant::FailedSyncTrusted, &["acked_survives"]),
    (Mutant::ReadWithoutIndex, &["acked_survives"]),
    (Mutant::OwnWallTime, &["same_ledger"]),
    (Mutant::EarlierSessionHeard, &["no_run_while_held", "no_repeat_in_calm"]),
    (Mutant::SecondResult, &["one_result", "terminal_is_final"]),
    (Mutant::CancelsEnded, &["terminal_is_final", "result_is_of_its_payload"]),
    (Mutant::LateFailureCounts, &["no_run_while_held"]),
    (Mutant::SameAttemptNumber, &["no_run_while_held"]),
    (Mutant::KeyPerGateway, &["key_is_one_job"]),
    (Mutant::SkipsFacts, &["logs_complete"]),
    (Mutant::OnceMore, &["at_most_once"]),
    (Mutant::TellsTwice, &["told_once"]),
    (Mutant::RedispatchWhileHeld, &["no_run_while_held", "no_repeat_in_calm"]),
    (Mutant::SlotFreedByJobsEnd, &["never_over_capacity"]),
    (Mutant::OverCapacity, &["never_over_capacity"]),
    (Mutant::ForgetsRestarts, &["queue_moves"]),
    (Mutant::IgnoresShares, &["shares_hold"]),
    (Mutant::EndsWithLead, &["no_repeat_in_calm"]),
    (Mutant::SwapsResults, &["result_is_of_its_payload"]),
    (Mutant::FloorTooHigh, &["acked_survives"]),
];

/// The first history that finds it.
fn find(mutant: Mutant) -> Option<Violation> {
    let live = |seed| run(&Plan { mutant: Some(mutant), ..Plan::of_seed(seed) }, &mut |_| {});
    (1..=SEEDS).find_map(|seed| live(seed).err())
}

/// A line of the table.
fn line(mutant: Mutant, found: Option<&Violation>) -> String {
    let rule = format!("{mutant:?}");
    match found {
        Some(Violation { invariant, seed, step, .. }) => {
            format!("{rule:<22} {invariant:<26} {seed:>5} {step:>8}")
        }
        None => format!("{rule:<22} nothing"),
    }
}

#[test]
fn each_broken_rule_is_found_by_the_promise_meant_for_it() {
    let next = AtomicUsize::new(0);
    let search = || {
        let mut found = Vec::new();
        while let Some((place, (mutant, _))) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|place| Some((place, MEANT.get(place)?)))
        {
            let violation = find(*mutant);
            println!("{}", line(*mutant, violation.as_ref()));
            found.push((place, violation));
        }
        found
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut found: Vec<(usize, Option<Violation>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(search)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no history panics")).collect()
    });
    found.sort_by_key(|(place, _)| *place);
    println!("\n{:<22} {:<26} {:>5} {:>8}", "broken rule", "found by", "seed", "step");
    let mut wrong = Vec::new();
    for (place, violation) in found {
        let (mutant, promises) = MEANT[place];
        println!("{}", line(mutant, violation.as_ref()));
        let Some(violation) = violation else {
            wrong.push(format!("{mutant:?} lived through {SEEDS} histories"));
            continue;
        };
        if !promises.contains(&violation.invariant) {
            wrong.push(format!("{mutant:?} broke another promise: {violation}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_of_them_has_its_line_here() {
    let listed: BTreeSet<Mutant> = MEANT.iter().map(|(mutant, _)| *mutant).collect();
    assert_eq!(listed, BTreeSet::from(Mutant::ALL));
}

#[test]
fn each_promise_has_a_broken_rule_that_it_finds() {
    let tried: BTreeSet<&str> = MEANT.iter().flat_map(|(_, promises)| promises.iter().copied()).collect();
    assert_eq!(tried, BTreeSet::from(INVARIANTS));
}
