//! Any commands in any order: two ledgers agree, everything fits together after each, and what has ended stays.

use super::scene::*;
use crate::{Bounds, Ledger};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use proptest::prelude::*;
use protocol::{
    Answer, Boot, Change, Command, Entry, Job, JobId, JobSpec, LossCause, More, NodeId, Origin, Reason,
};

const BOUNDS: Bounds = Bounds {
    open_jobs: 6,
    live_bytes: 20_000,
    ended_jobs: 2,
    ended_bytes: 1_500,
    ended_keys: 2,
    facts: 300,
    answers: 4,
    attempts: 5,
};

fn node() -> impl Strategy<Value = NodeId> {
    (1_u64..=4).prop_map(NodeId)
}

fn command() -> impl Strategy<Value = Command> {
    let job = || (1_u128..=8).prop_map(JobId);
    let submit = (job(), node(), 1_u64..=2, 0_u64..12, 0_u64..6, 0_u8..4, 0_u32..4).prop_map(
        |(job, gateway, boot, number, floor, key, tries)| Command::Submit {
            job,
            spec: Arc::new(JobSpec {
                max_attempts: tries,
                max_lost: tries,
                retry_base_ms: 20,
                more: More { at_most_once: tries == 1, ..More::default() },
                ..spec("echo")
            }),
            key: (key > 0).then(|| std::format!("key {key}")),
            fingerprint: [key / 2; 32],
            origin: Origin { gateway, boot: Boot(boot), number, floor },
        },
    );
    let assign = (job(), 1_u32..=4, node(), 1_u64..=2)
        .prop_map(|(job, attempt, node, boot)| Command::Assign { job, attempt, node, boot: Boot(boot) });
    let finish = (job(), 0_u32..=4, node(), any::<bool>(), any::<bool>()).prop_map(
        |(job, attempt, node, well, by_rule)| {
            let outcome = if well { success("well") } else { failure() };
            match by_rule {
                true => Command::FinishByRule { job, attempt, node, outcome },
                false => Command::Finish { job, attempt, node, outcome },
            }
        },
    );
    let requeue = (job(), 1_u32..=4, any::<bool>()).prop_map(|(job, attempt, silent)| {
        let cause = if silent { LossCause::Silent } else { LossCause::Restarted };
        Command::Requeue { job, attempt, cause }
    });
    let change = prop_oneof![
        6 => (node(), 1_u64..=2).prop_map(|(id, boot)| Change::Member(member(id, boot))),
        1 => node().prop_map(Change::Leave),
        2 => Just(Change::Open),
        2 => (node(), any::<bool>()).prop_map(|(node, draining)| Change::Drain { node, draining }),
    ];
    prop_oneof![
        6 => submit,
        8 => assign,
        6 => finish,
        3 => requeue,
        1 => job().prop_map(|job| Command::Cancel { job }),
        1 => job().prop_map(|job| Command::Expire { job, reason: Reason::Expired }),
        3 => job().prop_map(|job| Command::Release { job }),
        1 => (0_u64..6, 1_u64..4).prop_map(|(after, more)| Command::Forget { after, upto: after + more }),
        3 => change.prop_map(Command::Configure),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (prop::collection::vec(command(), 1..6), 0_u64..5_000).prop_map(|(commands, at_ms)| Entry {
        clock_ms: at_ms,
        wall_ms: at_ms * 2,
        term: at_ms / 100,
        commands,
    });
    let open = Command::Configure(Change::Open);
    let founding = (1..=3).map(|id| Command::Configure(Change::Member(member(NodeId(id), 1))));
    let first = Entry { clock_ms: 0, wall_ms: 0, term: 1, commands: founding.chain(Some(open)).collect() };
    prop::collection::vec(entry, 1..60)
        .prop_map(move |rest| Some(first.clone()).into_iter().chain(rest).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn same_ledger_terminal_is_final_and_acked_survives(entries in entries()) {
        let (mut one, mut two) = (Ledger::with_bounds(BOUNDS), Ledger::with_bounds(BOUNDS));
        let mut ended: BTreeMap<JobId, Job> = BTreeMap::new();
        let mut acked: Vec<JobId> = Vec::new();
        let mut history: BTreeMap<u64, JobId> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            // The second one is cloned all the time, as a node does for its readers.
            let before = two.clone();
            let (seen, told) = (before.digest(), before.counts());
            let effects = one.apply(index as u64 + 1, entry);
            prop_assert_eq!(&effects, &two.apply(index as u64 + 1, entry), "same_ledger");
            prop_assert_eq!(one.digest(), two.digest(), "same_ledger");
            prop_assert_eq!((before.digest(), before.counts()), (seen, told), "a clone stays as it was");
            before.check();
            one.check();
            if index % 5 == 4 {
                // And again and again it starts anew from a snapshot of itself.
                prop_assert!(one.pieces().eq(two.pieces()), "equal ledgers give equal snapshots");
                two = through_snapshot(&two, Ledger::with_bounds(BOUNDS));
            }
            for effect in effects {
                if let crate::Effect::Decided { answer: Answer::Accepted { job, .. }, .. } = effect {
                    acked.push(job);
                }
            }
            for (id, job) in &ended {
                let Some(now) = one.job(*id) else { continue };
                // An id that nobody remembers any more may be used again, and is another job.
                if now.order == job.order {
                    let (now, then) = ((now.state, &now.result, now.ending), (job.state, &job.result, job.ending));
                    prop_assert_eq!(now, then, "terminal_is_final");
                }
            }
            let finals: Vec<Arc<Job>> = one.newest(None).filter(|job| job.state.is_terminal()).collect();
            ended.extend(finals.iter().map(|job| (job.id, Job::clone(job))));
            history.extend(finals.iter().filter_map(|job| Some((job.ending?.number, job.id))));
            prop_assert!(acked.iter().all(|id| one.job(*id).is_some() || ended.contains_key(id)), "acked_survives");
            prop_assert!((1..=one.last_end()).eq(history.keys().copied()), "history is numbered without holes");
        }
        prop_assert!(one.open_jobs() <= BOUNDS.open_jobs);
    }
}

#[test]
fn another_entry_gives_another_digest() {
    let (mut one, mut two) = (Book::new(), Book::new());
    assert_eq!(one.ledger.digest(), two.ledger.digest());
    one.submit(1, spec("echo"));
    two.submit(1, spec("sleep"));
    assert_ne!(one.ledger.digest(), two.ledger.digest());
}
