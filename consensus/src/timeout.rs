//! The one random draw of the engine, made from a seed.

use crate::Peer;

/// Ticks of silence before `id` stands for election in `term`: `election <= t < 2 * election`, evenly spread, and the
/// same for the same arguments.
pub(crate) fn election(seed: u64, id: Peer, term: u64, election: usize) -> usize {
    let mixed = mix(mix(mix(seed) ^ id.0) ^ term);
    let span = election as u64;
    // The remainder is below `election`, a usize, so nothing is lost.
    election + (mixed % span) as usize
}

/// A bijection that spreads neighbouring numbers over the whole range (multiply and fold, twice).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_range_and_differs_between_nodes_and_terms() {
        let draw = |seed, id, term| election(seed, Peer(id), term, 10);
        let mut seen = std::collections::BTreeSet::new();
        for term in 0..200 {
            for id in 1..4 {
                let t = draw(7, id, term);
                assert!((10..20).contains(&t));
                seen.insert(t);
                assert_eq!(t, draw(7, id, term));
            }
        }
        assert_eq!(seen.len(), 10, "every timeout in the range is drawn some time");
        assert!((0..50).any(|term| draw(1, 1, term) != draw(2, 1, term)));
    }
}
