//! Every purposely broken rule is found, by the promise that it breaks.
#![cfg(feature = "mutants")]

use simulator::{Mutant, Plan, run};

/// A broken rule that lives through so many histories is not found.
const SEEDS: u64 = 60;

/// The first seed that finds it must name one of `promises`.
fn is_found(mutant: Mutant, promises: &[&str]) {
    let live = |seed| run(&Plan { mutant: Some(mutant), ..Plan::of_seed(seed) }, &mut |_| {});
    let found = (1..=SEEDS).find_map(|seed| live(seed).err());
    eprintln!("{mutant:?}: {found:?}");
    let named = found.as_ref().map(|violation| violation.invariant);
    assert!(named.is_some(), "{mutant:?} lived through {SEEDS} histories");
    assert!(
        named.is_some_and(|name| promises.contains(&name)),
        "{mutant:?} broke another promise: {found:?}"
    );
}

#[test]
fn acknowledging_before_a_majority_has_it_is_found() {
    is_found(Mutant::AckBeforeMajority, &["acked_survives"]);
}

#[test]
fn promising_before_the_sync_is_found() {
    is_found(Mutant::MessagesBeforeSync, &["acked_survives", "one_leader_a_term", "same_ledger"]);
}

#[test]
fn accepting_a_second_result_is_found() {
    is_found(Mutant::SecondResult, &["one_result", "terminal_is_final"]);
}

#[test]
fn giving_away_what_a_living_worker_holds_is_found() {
    is_found(Mutant::RedispatchWhileHeld, &["no_run_while_held", "no_repeat_in_calm"]);
}

#[test]
fn acting_as_leader_before_the_own_entry_is_found() {
    is_found(Mutant::LeadBeforeOwnEntry, &["acked_survives", "no_repeat_in_calm"]);
}

#[test]
fn each_of_them_has_a_test_here() {
    assert_eq!(Mutant::ALL.len(), 5);
}
