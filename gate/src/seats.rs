//! Who may be connected: so many in all and so many from one address. Strangers, who have not introduced themselves yet,
//! make room for newcomers: the silent ones before those who have begun to speak, and the oldest first. So a flood of silent
//! connections cannot shut out peers that speak.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::Notify;

use crate::conn::Conn;
use crate::limits;
use crate::refusal::Refusal;

/// Seats taken in all gates of this process.
pub(crate) static IN_PROCESS: AtomicUsize = AtomicUsize::new(0);

/// The bits of an IPv6 address that name a network, whose owner has all the others.
const NETWORK_BITS: u128 = !0 << 64;

/// Seats that the descriptors of this process allow, in all its gates together.
pub(crate) fn process_seats() -> usize {
    // A limit that cannot be read is taken for the usual one.
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1_024, 0));
    let soft = usize::try_from(soft).unwrap_or(usize::MAX);
    soft / limits::DESCRIPTOR_SHARE / limits::CONNECTION_DESCRIPTORS
}

/// Whom an address belongs to.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if six != Ipv6Addr::LOCALHOST => {
            Ipv6Addr::from_bits(six.to_bits() & NETWORK_BITS).into()
        }
        other => other,
    }
}

/// How long somebody may stay when there is no room: sorted by whether it speaks, then by age.
type Rank = (bool, Conn);

#[derive(Debug, Default)]
struct Group {
    taken: usize,
    strangers: BTreeSet<Rank>,
}

#[derive(Debug)]
struct Stranger {
    owner: IpAddr,
    leave: Arc<Notify>,
}

#[derive(Debug)]
struct Room {
    taken: usize,
    in_process: &'static AtomicUsize,
    groups: HashMap<IpAddr, Group>,
    strangers: BTreeMap<Rank, Stranger>,
}

impl Room {
    /// Frees a seat.
    fn free(&mut self, owner: IpAddr) {
        self.taken = self.taken.saturating_sub(1);
        self.in_process.fetch_sub(1, Ordering::Relaxed);
        if let Some(group) = self.groups.get_mut(&owner) {
            group.taken = group.taken.saturating_sub(1);
            if group.taken == 0 {
                self.groups.remove(&owner);
            }
        }
    }

    /// Takes one from among the strangers, when it is there.
    fn take_out(&mut self, rank: Rank) -> Option<Stranger> {
        let stranger = self.strangers.remove(&rank)?;
        if let Some(group) = self.groups.get_mut(&stranger.owner) {
            group.strangers.remove(&rank);
        }
        Some(stranger)
    }

    /// Sends a stranger away; its seat is free at once.
    fn push_out(&mut self, rank: Option<Rank>) -> bool {
        let Some(stranger) = rank.and_then(|rank| self.take_out(rank)) else { return false };
        stranger.leave.notify_one();
        self.free(stranger.owner);
        true
    }
}

/// The seats of one gate.
#[derive(Debug)]
pub(crate) struct Seats {
    most: usize,
    an_address: usize,
    process_most: usize,
    room: Mutex<Room>,
}

impl Seats {
    /// So many in all and so many an address; and at most `process_most` together with all others who count in
    /// `in_process`.
    pub(crate) fn new(
        most: usize,
        an_address: usize,
        process_most: usize,
        in_process: &'static AtomicUsize,
    ) -> Self {
        let (groups, strangers) = (HashMap::new(), BTreeMap::new());
        Self {
            most,
            an_address,
            process_most,
            room: Mutex::new(Room { taken: 0, in_process, groups, strangers }),
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats taken.
    pub(crate) fn taken(&self) -> usize {
        self.room().taken
    }

    /// A seat for a newcomer, who is a stranger at first.
    ///
    /// # Errors
    /// Which bound is reached, when there is no stranger to make room.
    pub(crate) fn take(self: &Arc<Self>, conn: Conn, address: IpAddr) -> Result<Seat, Refusal> {
        let owner = owner(address);
        let mut room = self.room();
        let group = room.groups.get(&owner);
        if group.is_some_and(|group| group.taken >= self.an_address) {
            let least = group.and_then(|group| group.strangers.first().copied());
            if !room.push_out(least) {
                return Err(Refusal::ConnectionsAnAddress);
            }
        }
        let process_is_full = room.in_process.load(Ordering::Relaxed) >= self.process_most;
        if room.taken >= self.most || process_is_full {
            let least = room.strangers.keys().next().copied();
            if !room.push_out(least) {
                return Err(if process_is_full { Refusal::Descriptors } else { Refusal::Connections });
            }
        }
        let leave = Arc::new(Notify::new());
        room.in_process.fetch_add(1, Ordering::Relaxed);
        room.taken += 1;
        let group = room.groups.entry(owner).or_default();
        group.taken += 1;
        group.strangers.insert((false, conn));
        room.strangers.insert((false, conn), Stranger { owner, leave: Arc::clone(&leave) });
        Ok(Seat { seats: Arc::clone(self), conn, owner, standing: Standing::Silent, leave })
    }
}

/// What is known of who has a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Silent,
    Speaks,
    Known,
}

/// One connection's seat, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    conn: Conn,
    owner: IpAddr,
    standing: Standing,
    leave: Arc<Notify>,
}

impl Seat {
    fn rank(&self) -> Rank {
        (self.standing == Standing::Speaks, self.conn)
    }

    /// The peer has begun to speak ZeroMQ.
    pub(crate) fn speaks(&mut self) {
        if self.standing != Standing::Silent {
            return;
        }
        let mut room = self.seats.room();
        let Some(stranger) = room.take_out(self.rank()) else { return };
        self.standing = Standing::Speaks;
        if let Some(group) = room.groups.get_mut(&self.owner) {
            group.strangers.insert(self.rank());
        }
        room.strangers.insert(self.rank(), stranger);
    }

    /// The peer has introduced itself and keeps its seat; false when it was sent away just before.
    pub(crate) fn keep(&mut self) -> bool {
        if self.seats.room().take_out(self.rank()).is_some() {
            self.standing = Standing::Known;
        }
        self.standing == Standing::Known
    }

    /// Comes when the peer must make room.
    pub(crate) fn leave(&self) -> Arc<Notify> {
        Arc::clone(&self.leave)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut room = self.seats.room();
        // A stranger that is none any more was pushed out, and its seat given away.
        if room.take_out(self.rank()).is_some() || self.standing == Standing::Known {
            room.free(self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: usize = 1_000_000;

    fn seats(most: usize, an_address: usize) -> Arc<Seats> {
        Arc::new(Seats::new(most, an_address, PLENTY, Box::leak(Box::default())))
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn pushed_out(seat: &Seat) -> bool {
        !seat.seats.room().strangers.contains_key(&seat.rank()) && seat.standing != Standing::Known
    }

    #[test]
    fn known_peers_fill_the_room_and_keep_it() {
        let seats = seats(3, 2);
        let mut taken = Vec::new();
        for (number, last) in [(1, 1), (2, 1), (3, 2)] {
            let mut seat = seats.take(Conn(number), address(last)).unwrap();
            assert!(seat.keep());
            taken.push(seat);
        }
        assert_eq!(seats.take(Conn(4), address(1)).unwrap_err(), Refusal::ConnectionsAnAddress);
        assert_eq!(seats.take(Conn(5), address(3)).unwrap_err(), Refusal::Connections);
        taken.remove(0);
        assert_eq!(seats.taken(), 2);
        assert!(seats.take(Conn(6), address(1)).is_ok());
    }

    #[test]
    fn the_oldest_stranger_of_an_address_makes_room_for_its_next() {
        let seats = seats(PLENTY, 3);
        let mut known = seats.take(Conn(1), address(1)).unwrap();
        assert!(known.keep());
        let other = seats.take(Conn(2), address(2)).unwrap();
        let older = seats.take(Conn(3), address(1)).unwrap();
        let newer = seats.take(Conn(4), address(1)).unwrap();
        let newest = seats.take(Conn(5), address(1)).unwrap();
        assert_eq!(
            [&known, &other, &older, &newer, &newest].map(pushed_out),
            [false, false, true, false, false]
        );
        assert_eq!(seats.taken(), 4);
        drop(older);
        assert_eq!(seats.taken(), 4, "its seat was given away before");
    }

    #[test]
    fn whoever_has_begun_to_speak_stays_before_all_who_are_silent() {
        let seats = seats(3, 3);
        let mut speaks = seats.take(Conn(1), address(1)).unwrap();
        speaks.speaks();
        let silent = [2, 3].map(|number| seats.take(Conn(number), address(1)).unwrap());
        let mut newer = [4, 5].map(|number| seats.take(Conn(number), address(1)).unwrap());
        assert!(silent.iter().all(pushed_out) && !pushed_out(&speaks));
        for seat in &mut newer {
            seat.speaks();
        }
        let _another = seats.take(Conn(6), address(1)).unwrap();
        assert!(pushed_out(&speaks), "now it is the oldest of those who speak");
        drop((speaks, silent));
        assert_eq!(seats.taken(), 3);
        assert!(newer.iter_mut().all(Seat::keep));
        drop(newer);
        assert_eq!(seats.taken(), 1);
    }

    #[test]
    fn the_oldest_stranger_of_all_makes_room_when_all_is_full() {
        let seats = seats(2, 2);
        let mut older = seats.take(Conn(1), address(1)).unwrap();
        let newer = seats.take(Conn(2), address(2)).unwrap();
        let _newest = seats.take(Conn(3), address(3)).unwrap();
        assert!(pushed_out(&older) && !pushed_out(&newer));
        assert!(!older.keep(), "too late");
    }

    #[test]
    fn all_gates_of_a_process_share_what_its_descriptors_allow() {
        let in_process: &'static AtomicUsize = Box::leak(Box::default());
        let gates = [(); 2].map(|()| Arc::new(Seats::new(PLENTY, PLENTY, 3, in_process)));
        let mut known = Vec::new();
        for (number, gate) in [(1, 0), (2, 0), (3, 1)] {
            let mut seat = gates[gate].take(Conn(number), address(1)).unwrap();
            assert!(seat.keep());
            known.push(seat);
        }
        assert_eq!(gates[1].take(Conn(4), address(1)).unwrap_err(), Refusal::Descriptors);
        known.clear();
        assert_eq!(in_process.load(Ordering::Relaxed), 0);
        let stranger = gates[0].take(Conn(5), address(1)).unwrap();
        let _two = [6, 7].map(|number| gates[0].take(Conn(number), address(1)).unwrap());
        let _newest = gates[0].take(Conn(8), address(1)).unwrap();
        assert!(pushed_out(&stranger), "a stranger makes room here too");
        drop(stranger);
        assert_eq!(in_process.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn one_ipv6_network_is_one_address_and_a_mapped_one_is_what_it_maps() {
        let of = |text: &str| owner(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), address(1));
        assert_eq!(of("::1"), IpAddr::from(Ipv6Addr::LOCALHOST));
    }
}
