//! Containers that are cheap to clone however much they hold: everything is in pieces behind `Arc`, and a write after a
//! clone copies the one piece it touches.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::limits::{ORDER_CHUNK, PIECE_GROWTH, SHARD_GROUPS, SHARDS_IN_GROUP};
use protocol::JobId;

/// Pieces that the jobs of one moment share.
const LANES: u64 = 64;

/// Keys that say which piece they live in.
pub(crate) trait Spread: Ord + Clone {
    /// Any number; equal keys give equal numbers.
    fn spread(&self) -> u64;
}

impl Spread for JobId {
    /// Jobs of one moment are taken, given out and ended together, so they lie together: what one look brought into the cache serves
    /// the next. A ULID begins with its millisecond; 64 of those share [`LANES`] neighbouring pieces, so that a piece gets one
    /// job for each that comes in a millisecond. Which of them says the rest: random, or rising where ids were made together.
    fn spread(&self) -> u64 {
        let window = (self.0 >> 86) as u64;
        let lane = (self.0 >> 6) as u64 % LANES;
        (window.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) * LANES + lane
    }
}

impl Spread for Arc<str> {
    fn spread(&self) -> u64 {
        spread_of(self)
    }
}

impl Spread for String {
    fn spread(&self) -> u64 {
        spread_of(self)
    }
}

fn spread_of(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, step) >> 16
}

impl Spread for u64 {
    fn spread(&self) -> u64 {
        *self >> 8
    }
}

type Piece<K, V> = Arc<Sorted<K, V>>;
type Group<K, V> = Arc<Vec<Piece<K, V>>>;

/// A small map, sorted by key. A million jobs are in pieces of some sixty: a tree would leave a third of its room empty.
#[derive(Clone, Debug)]
struct Sorted<K, V>(Vec<(K, V)>);

impl<K: Ord, V> Sorted<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        // Ids grow with time, and the newest are asked for most: the last place is one look instead of six.
        match self.0.last().map(|(last, _)| key.cmp(last)) {
            None | Some(Ordering::Greater) => Err(self.0.len()),
            Some(Ordering::Equal) => Ok(self.0.len() - 1),
            Some(Ordering::Less) => self.0.binary_search_by(|(known, _)| known.cmp(key)),
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// The value that was there before.
    fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.0.get_mut(at).map(|(_, known)| core::mem::replace(known, value)),
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    // A vector by itself would double.
                    self.0.reserve_exact(PIECE_GROWTH);
                }
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        let (_, value) = self.0.remove(at);
        if self.0.len() * 2 <= self.0.capacity() {
            self.0.shrink_to_fit();
        }
        Some(value)
    }
}

/// A map in [`SHARD_GROUPS`] times [`SHARDS_IN_GROUP`] pieces.
#[derive(Clone, Debug)]
pub(crate) struct Shards<K, V> {
    groups: Arc<Vec<Group<K, V>>>,
    len: usize,
}

impl<K: Spread, V: Clone> Shards<K, V> {
    pub(crate) fn new() -> Self {
        let piece: Piece<K, V> = Arc::new(Sorted(Vec::new()));
        let group: Group<K, V> = Arc::new((0..SHARDS_IN_GROUP).map(|_| Arc::clone(&piece)).collect());
        Self { groups: Arc::new((0..SHARD_GROUPS).map(|_| Arc::clone(&group)).collect()), len: 0 }
    }

    fn piece(&self, key: &K) -> &Sorted<K, V> {
        let (group, piece) = place(key);
        &self.groups[group][piece]
    }

    /// The piece of this key for writing; copied when a clone shares it.
    fn piece_mut(&mut self, key: &K) -> &mut Sorted<K, V> {
        let (group, piece) = place(key);
        let group = &mut Arc::make_mut(&mut self.groups)[group];
        Arc::make_mut(&mut Arc::make_mut(group)[piece])
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.piece(key).get(key)
    }

    /// The value for writing. Copies its piece when a clone shares it.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.piece(key).get(key)?;
        self.piece_mut(key).get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.piece_mut(&key).insert(key, value).is_none() {
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.piece(key).get(key)?;
        let removed = self.piece_mut(key).remove(key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of it, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> + '_ {
        let pieces = self.groups.iter().flat_map(|group| group.iter());
        pieces.flat_map(|piece| piece.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Group and piece that a key lives in.
fn place<K: Spread>(key: &K) -> (usize, usize) {
    let spread = key.spread();
    let piece = (spread % SHARDS_IN_GROUP as u64) as usize;
    ((spread / SHARDS_IN_GROUP as u64 % SHARD_GROUPS as u64) as usize, piece)
}

/// Which job was accepted as the how-manieth, from 1. What is taken out leaves no trace once its chunk is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    chunks: Arc<BTreeMap<u64, Arc<OrderChunk>>>,
    last: u64,
    len: u64,
}

/// Jobs of one chunk with their places in it, in order.
#[derive(Clone, Debug, Default)]
struct OrderChunk {
    places: Vec<u16>,
    jobs: Vec<JobId>,
}

impl Order {
    /// Appends, and says which place that is.
    pub(crate) fn push(&mut self, job: JobId) -> u64 {
        let order = self.last + 1;
        let chunk = Arc::make_mut(&mut self.chunks).entry(order / ORDER_CHUNK).or_default();
        let chunk = Arc::make_mut(chunk);
        chunk.places.push((order % ORDER_CHUNK) as u16);
        chunk.jobs.push(job);
        (self.last, self.len) = (order, self.len + 1);
        order
    }

    /// Takes a place back as a snapshot has it, higher than all before. False: it is not.
    pub(crate) fn take_back(&mut self, order: u64, job: JobId) -> bool {
        let rises = order > self.last;
        self.last = order.saturating_sub(1);
        rises && self.push(job) == order
    }

    /// Places up to this one were given.
    pub(crate) fn take_back_last(&mut self, last: u64) -> bool {
        let fits = last >= self.last;
        self.last = last;
        fits
    }

    /// All jobs with a place, from the oldest on.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.chunks.values().flat_map(|chunk| chunk.jobs.iter().copied())
    }

    pub(crate) fn get(&self, order: u64) -> Option<JobId> {
        let chunk = self.chunks.get(&(order / ORDER_CHUNK))?;
        let at = chunk.places.binary_search(&((order % ORDER_CHUNK) as u16)).ok()?;
        chunk.jobs.get(at).copied()
    }

    pub(crate) fn remove(&mut self, order: u64) {
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(&(order / ORDER_CHUNK)) else { return };
        let Ok(at) = chunk.places.binary_search(&((order % ORDER_CHUNK) as u16)) else { return };
        let chunk = Arc::make_mut(chunk);
        chunk.places.remove(at);
        chunk.jobs.remove(at);
        self.len -= 1;
        if chunk.jobs.is_empty() {
            chunks.remove(&(order / ORDER_CHUNK));
        } else if chunk.jobs.len() * 4 <= chunk.jobs.capacity() {
            chunk.places.shrink_to_fit();
            chunk.jobs.shrink_to_fit();
        }
    }

    /// The highest place ever given.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Jobs below a place, from the newest back.
    pub(crate) fn newest_below(&self, order: u64) -> impl Iterator<Item = JobId> + '_ {
        let chunks = self.chunks.range(..=order / ORDER_CHUNK).rev();
        chunks.flat_map(move |(number, chunk)| {
            let first = number * ORDER_CHUNK;
            let places = chunk.places.iter().zip(&chunk.jobs).rev();
            places.filter(move |(place, _)| first + u64::from(**place) < order).map(|(_, job)| *job)
        })
    }
}

const WORDS: usize = (ORDER_CHUNK / 64) as usize;

/// A set of places in the order of acceptance, as bits in chunks; walked from the oldest on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    chunks: Arc<BTreeMap<u64, Arc<[u64; WORDS]>>>,
    len: u64,
}

impl Places {
    pub(crate) fn insert(&mut self, order: u64) {
        let (chunk, word, bit) = Self::locate(order);
        let words = Arc::make_mut(&mut self.chunks).entry(chunk).or_default();
        let word = &mut Arc::make_mut(words)[word];
        self.len += u64::from(*word & bit == 0);
        *word |= bit;
    }

    pub(crate) fn remove(&mut self, order: u64) {
        let (chunk, word, bit) = Self::locate(order);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(words) = chunks.get_mut(&chunk) else { return };
        let words = Arc::make_mut(words);
        self.len -= u64::from(words[word] & bit != 0);
        words[word] &= !bit;
        if words.iter().all(|w| *w == 0) {
            chunks.remove(&chunk);
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.iter().flat_map(|(chunk, words)| {
            (0..ORDER_CHUNK)
                .filter(move |i| words[(i / 64) as usize] >> (i % 64) & 1 == 1)
                .map(move |i| chunk * ORDER_CHUNK + i)
        })
    }

    fn locate(order: u64) -> (u64, usize, u64) {
        let place = order % ORDER_CHUNK;
        (order / ORDER_CHUNK, (place / 64) as usize, 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of a job of the so-manieth moment.
    fn id(moment: u64) -> JobId {
        JobId(u128::from(moment) << 86)
    }

    #[test]
    fn jobs_of_one_moment_share_few_pieces_and_those_of_many_are_in_all() {
        let pieces = |ids: &mut dyn Iterator<Item = JobId>| {
            let mut sizes = BTreeMap::<_, usize>::new();
            ids.for_each(|id| *sizes.entry(place(&id)).or_default() += 1);
            (sizes.len(), sizes.into_values().max())
        };
        // A batch, as large as one may be: ids that follow each other.
        assert_eq!(pieces(&mut (0..10_000).map(|n| JobId(id(9).0 + 0xABCD + n))), (64, Some(192)));
        // A million, in twenty seconds.
        let all = SHARD_GROUPS * SHARDS_IN_GROUP;
        let job = |n: u64| JobId((u128::from(1_700_000_000_000 + n / 50) << 80) | u128::from(n) << 6);
        let (used, most) = pieces(&mut (0..1_000_000).map(job));
        assert!(used > all * 4 / 5 && most < Some(300), "{used} pieces, the largest has {most:?}");
    }

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut map = Shards::new();
        for n in 0..5_000_u64 {
            map.insert(id(n), n);
        }
        let before = map.clone();
        map.remove(&id(7));
        if let Some(value) = map.get_mut(&id(8)) {
            *value = 0;
        }
        assert_eq!((before.len(), map.len()), (5_000, 4_999));
        assert_eq!((before.get(&id(7)), map.get(&id(7))), (Some(&7), None));
        assert_eq!((before.get(&id(8)), map.get(&id(8))), (Some(&8), Some(&0)));
        let pieces = |map: &Shards<JobId, u64>| {
            map.groups.iter().flat_map(|group| group.iter().map(Arc::as_ptr)).collect::<Vec<_>>()
        };
        let shared = pieces(&before).iter().zip(pieces(&map)).filter(|(a, b)| **a == *b).count();
        let all = SHARD_GROUPS * SHARDS_IN_GROUP;
        assert!(shared >= all - 2, "a write copies only its piece, {shared} are still shared");
    }

    #[test]
    fn an_order_that_lost_most_of_its_jobs_is_walked_all_the_same_and_keeps_no_empty_chunk() {
        let mut order = Order::default();
        for n in 1..=5_000 {
            assert_eq!(order.push(JobId(n)), n as u64);
        }
        let before = order.clone();
        for n in (1..=5_000).filter(|n| *n != 3 && *n != 4_999) {
            order.remove(n);
        }
        assert_eq!((order.len(), order.last(), order.chunks.len()), (2, 5_000, 2));
        assert_eq!((order.get(3), order.get(4)), (Some(JobId(3)), None));
        assert_eq!(order.newest_below(u64::MAX).collect::<Vec<_>>(), [JobId(4_999), JobId(3)]);
        assert_eq!(order.newest_below(4_999).collect::<Vec<_>>(), [JobId(3)]);
        assert_eq!(order.newest_below(3).count(), 0);
        assert_eq!((order.push(JobId(9)), before.newest_below(u64::MAX).count()), (5_001, 5_000));
        let room = order.chunks.values().next().map(|chunk| chunk.jobs.capacity());
        assert!(room.is_some_and(|room| room < 8), "one old job holds no room for a thousand: {room:?}");
    }

    #[test]
    fn places_are_walked_from_the_oldest() {
        let mut places = Places::default();
        for order in [4_000, 3, 1_024, 1_023, 3] {
            places.insert(order);
        }
        assert_eq!(places.iter().collect::<Vec<_>>(), [3, 1_023, 1_024, 4_000]);
        places.remove(1_023);
        places.remove(77);
        assert_eq!((places.len(), places.iter().count()), (3, 3));
    }
}
