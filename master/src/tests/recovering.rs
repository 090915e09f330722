//! A recovery by hand: the epoch rises, and every revision after it is above every one before.

use super::scene::*;
use crate::{BadSnapshot, Ledger, Restoring};
use alloc::string::ToString;
use alloc::vec::Vec;
use protocol::{ClusterId, Command, NodeId, Rev, What};

fn recover(epoch: u32, node: NodeId) -> Command {
    Command::Recover { epoch, node, former: ClusterId(u128::from(epoch) * 100) }
}

#[test]
fn revisions_after_a_recovery_are_above_all_before() {
    let mut book = Book::new();
    book.submit(7, spec("echo"));
    let before = book.ledger.rev();
    assert_eq!((before.epoch, book.ledger.epoch()), (0, 0));

    let index = book.ledger.applied() + 1;
    let name = "bert".to_string();
    assert_eq!(facts(&book.one(recover(1, BERT))), [What::Recovered { epoch: 1, node: BERT, name }]);
    assert_eq!((book.ledger.rev(), book.ledger.epoch()), (Rev { epoch: 1, index, n: 0 }, 1));
    assert!(book.ledger.facts_after(0).last().is_some_and(|fact| fact.rev == book.ledger.rev()));

    book.assign(7, 1, BERT);
    assert_eq!(book.job(7).rev, Rev { epoch: 1, index: index + 1, n: 0 });
    // What the lost entries behind the old end were called is no moment of this ledger.
    assert!(book.job(7).rev > Rev { epoch: 0, index: index + 1_000, n: 5 });
    book.one(Command::Cancel { job: protocol::JobId(99) });
    assert_eq!(book.ledger.rev().epoch, 1, "also where an entry brought nothing about");
}

#[test]
fn a_recovery_that_is_not_the_next_one_does_nothing() {
    let mut book = Book::new();
    for wrong in [0, 2] {
        assert!(is_void(&book.one(recover(wrong, ANNA))), "epoch {wrong} after 0");
    }
    let gone = NodeId(77);
    let name = gone.to_string();
    assert_eq!(facts(&book.one(recover(1, gone))), [What::Recovered { epoch: 1, node: gone, name }]);
    assert!(is_void(&book.one(recover(1, ANNA))), "once");
    assert!(!is_void(&book.one(recover(2, ANNA))));
    assert_eq!(book.ledger.former(), [ClusterId(100), ClusterId(200)]);
}

#[test]
fn a_snapshot_knows_the_epoch_and_one_of_the_first_form_has_none() {
    let mut book = Book::new();
    let pieces = |ledger: &Ledger| ledger.pieces().collect::<Vec<_>>();
    // The variant of the head, then the form.
    assert_eq!(pieces(&book.ledger)[0][..2], [0, 4]);
    assert_eq!(through_snapshot(&book.ledger, Ledger::new()).epoch(), 0);

    book.one(recover(1, ANNA));
    let whole = pieces(&book.ledger);
    assert_eq!(whole[0][..2], [0, 4]);
    let back = through_snapshot(&book.ledger, Ledger::new());
    assert_eq!((back.epoch(), back.former(), back.rev()), (1, book.ledger.former(), book.ledger.rev()));
    assert_eq!(pieces(&back), whole);

    let restored = |pieces: &[Vec<u8>]| {
        let mut restoring = Restoring::new(Ledger::new());
        pieces.iter().try_for_each(|piece| restoring.take(piece))?;
        restoring.finish().map(|ledger| ledger.epoch())
    };
    assert_eq!(restored(&whole), Ok(1));
    let mut without = whole.clone();
    without.remove(1);
    assert!(
        matches!(restored(&without), Err(BadSnapshot::Contradicts(_))),
        "the epoch is never forgotten in silence"
    );
    let mut twice = whole.clone();
    twice.insert(1, whole[1].clone());
    assert!(restored(&twice).is_err());
    let mut disguised = whole;
    disguised[0][1] = 1;
    assert!(restored(&disguised).is_err());
}
