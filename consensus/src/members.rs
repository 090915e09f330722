//! Membership: from a target to the engine's change, and its bytes in the log.

use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};
use serde::{Deserialize, Serialize};

use crate::limits::MEMBERS_MAX;
use crate::{Peer, Refused};

/// One part of a change, as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Voter(u64),
    Learner(u64),
    Gone(u64),
}

/// The members as the body sees them: sorted (voters, learners), and whether a joint change is under way.
pub(crate) fn seen(conf: &ConfState) -> (Vec<Peer>, Vec<Peer>, bool) {
    let mut voters: Vec<Peer> = conf.voters.iter().copied().map(Peer).collect();
    voters.sort_unstable();
    let rest = conf.learners.iter().chain(&conf.learners_next).chain(&conf.voters_outgoing);
    let mut learners: Vec<Peer> = rest.copied().map(Peer).filter(|id| !voters.contains(id)).collect();
    learners.sort_unstable();
    learners.dedup();
    (voters, learners, !conf.voters_outgoing.is_empty())
}

/// What leads from the present members to the wished ones; empty when they are the same.
pub(crate) fn plan(conf: &ConfState, voters: &[Peer], learners: &[Peer]) -> Result<Vec<Part>, Refused> {
    let mut all: Vec<Peer> = voters.iter().chain(learners).copied().collect();
    all.sort_unstable();
    let unique = all.windows(2).all(|pair| pair[0] != pair[1]);
    if voters.is_empty() || !unique || all.contains(&Peer(0)) || all.len() > MEMBERS_MAX {
        return Err(Refused::Invalid);
    }
    let (old_voters, old_learners, _) = seen(conf);
    let mut parts = Vec::new();
    // New voters first, so that at no point of the engine's own bookkeeping is there none.
    parts.extend(sorted(voters).filter(|id| !old_voters.contains(id)).map(|id| Part::Voter(id.0)));
    parts.extend(sorted(learners).filter(|id| !old_learners.contains(id)).map(|id| Part::Learner(id.0)));
    let old = old_voters.iter().chain(&old_learners);
    parts.extend(old.filter(|id| !all.contains(id)).map(|id| Part::Gone(id.0)));
    Ok(parts)
}

fn sorted(ids: &[Peer]) -> impl Iterator<Item = Peer> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.into_iter()
}

/// Bytes of a change. No parts at all means: leave the joint state, and has no bytes.
pub(crate) fn encode(parts: &[Part]) -> Vec<u8> {
    // Serializing small enums into a growing vector cannot fail; an empty one would be the leave entry.
    postcard::to_allocvec(parts).unwrap_or_default()
}

/// The change that these bytes say, for the engine.
pub(crate) fn decode(data: &[u8]) -> Option<ConfChangeV2> {
    if data.is_empty() {
        return Some(ConfChangeV2::default());
    }
    let parts: Vec<Part> = postcard::from_bytes(data).ok()?;
    (!parts.is_empty() && parts.len() <= 2 * MEMBERS_MAX).then(|| change(&parts))
}

/// More than one part: joint, left by itself. One part alone changes at most one voter, and quorums still meet.
pub(crate) fn change(parts: &[Part]) -> ConfChangeV2 {
    let singles = parts.iter().map(|part| {
        let (kind, id) = match part {
            Part::Voter(id) => (ConfChangeType::AddNode, *id),
            Part::Learner(id) => (ConfChangeType::AddLearnerNode, *id),
            Part::Gone(id) => (ConfChangeType::RemoveNode, *id),
        };
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = id;
        single
    });
    let mut change = ConfChangeV2::default();
    change.set_changes(singles.collect::<Vec<_>>().into());
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(voters: &[u64], learners: &[u64]) -> ConfState {
        ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..ConfState::default() }
    }

    fn peers(ids: &[u64]) -> Vec<Peer> {
        ids.iter().copied().map(Peer).collect()
    }

    #[test]
    fn replacing_a_voter_is_one_joint_change() {
        let parts = plan(&conf(&[1, 2, 3], &[4]), &peers(&[1, 2, 4]), &[]).unwrap();
        assert_eq!(parts, [Part::Voter(4), Part::Gone(3)]);
        assert!(change(&parts).enter_joint().is_some());
        assert_eq!(decode(&encode(&parts)).unwrap(), change(&parts));
    }

    #[test]
    fn one_learner_more_is_a_simple_change() {
        let parts = plan(&conf(&[1], &[]), &peers(&[1]), &peers(&[2])).unwrap();
        assert_eq!(parts, [Part::Learner(2)]);
        assert!(change(&parts).enter_joint().is_none());
    }

    #[test]
    fn members_that_make_no_cluster_are_refused() {
        let now = conf(&[1], &[]);
        for (voters, learners) in
            [(vec![], vec![1]), (vec![1, 1], vec![]), (vec![1], vec![1]), (vec![0], vec![])]
        {
            assert_eq!(plan(&now, &peers(&voters), &peers(&learners)), Err(Refused::Invalid));
        }
        assert_eq!(plan(&now, &peers(&[1]), &[]), Ok(vec![]));
    }

    #[test]
    fn bytes_that_are_no_change_are_refused() {
        assert!(decode(&[0xff, 0xff]).is_none());
        assert!(decode(&[0]).is_none());
        assert!(decode(&[]).unwrap().leave_joint());
    }
}
