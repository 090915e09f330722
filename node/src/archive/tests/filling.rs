//! What is missing here is fetched from peers.

use super::*;

/// A filler that asks these archives, by their places from 1.
fn filler(
    archive: &Archive,
    peers: Vec<Archive>,
) -> (tokio::task::JoinHandle<()>, watch::Sender<Vec<NodeId>>) {
    let ids = watch::Sender::new((1..=peers.len() as u64).map(NodeId).collect::<Vec<_>>());
    let ask: filler::AskPeer = Arc::new(move |peer, question| {
        let peer = peers[peer.0 as usize - 1].clone();
        Box::pin(async move { peer.answer(question).await.ok() })
    });
    let filler = filler::Filler { archive: archive.clone(), ask, peers: ids.subscribe() };
    (tokio::spawn(filler.serve()), ids)
}

#[tokio::test]
async fn what_is_missing_is_fetched_from_whoever_has_it_long_rows_too() {
    let (mine, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut past, archive, peer) = (Past::new(), open(mine.path()).await, open(theirs.path()).await);
    let all = |past: &mut Past, archives: &[&Archive]| {
        for batch in past.batches.drain(..) {
            archives.iter().for_each(|archive| assert!(!archive.push(batch.clone())));
        }
    };
    (1..=5).for_each(|id| past.run(id, labelled("echo", &[])));
    all(&mut past, &[&archive, &peer]);
    let job = past.submit(6, labelled("echo", &[("long", "yes")]));
    past.assign(job);
    past.finish(job, Outcome::success(Bytes::from(vec![b'o'; 2_500_000])));
    (7..=1_300).for_each(|id| past.run(id, labelled("echo", &[("n", "x")])));
    all(&mut past, &[&peer]);
    written(&peer, past.ledger.applied()).await;
    archive.restored(&past.ledger);
    written(&archive, past.ledger.applied()).await;
    assert!(!archive.is_complete());
    let told = archive.facts_after(0, usize::MAX).await.unwrap();
    assert_eq!(
        told.facts.last().map(|fact| fact.number),
        Some(2 + 5 * 3),
        "facts end before what is missing"
    );
    // Who has nothing of it is passed over.
    let (filling, _peers) = filler(&archive, vec![archive.clone(), peer.clone()]);
    let mut progress = archive.progress();
    let whole = progress.wait_for(|progress| progress.holes.is_empty());
    tokio::time::timeout(Duration::from_secs(60), whole).await.unwrap().unwrap();
    assert!(archive.is_complete());
    assert_same(&past, &archive).await;
    filling.abort();
    archive.close().await;
    peer.close().await;
}

#[tokio::test]
async fn nobody_tells_past_what_is_missing_there() {
    let folder = TempDir::new().unwrap();
    let (mut past, archive) = (Past::new(), open(folder.path()).await);
    (1..=10).for_each(|id| past.run(id, labelled("echo", &[])));
    push_all(&mut past, &archive);
    (11..=30).for_each(|id| past.run(id, labelled("echo", &[])));
    past.batches.clear();
    archive.restored(&past.ledger);
    written(&archive, past.ledger.applied()).await;
    let ends = |after| {
        let archive = archive.clone();
        async move {
            let bytes = archive.answer(Question::Ends { after, upto: 30 }).await.unwrap();
            match protocol::native::decode(&bytes).unwrap() {
                exchange::Answer::Ends { through, rows } => (through, rows.len()),
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(ends(0).await, (10, 10));
    assert_eq!(ends(15).await, (15, 0), "in the middle of what is missing: nothing");
    let first_held = 30 - HELD - 1;
    assert_eq!(ends(first_held).await, (30, 30 - first_held as usize));
    archive.close().await;
}
