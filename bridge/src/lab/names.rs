//! Under which names a bridge appears at its brokers: `WC_HOST_LANE_PROCESS_SERIAL`, at the second with the trail behind it.

use std::cell::Cell;

use super::trail::Trail;

/// Bytes of a host's name that are used; with a trail of nine ids the whole stays far below ZeroMQ's 255.
const HOST_BYTES: usize = 64;

/// Makes names that nobody else has: the same host may run several bridges, and a lane has one name after the other.
pub(super) struct Names {
    host: String,
    /// Drawn when the process starts.
    process: u32,
    serial: Cell<u64>,
}

impl Names {
    pub(super) fn new(host: &str, process: u32) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let host = host.chars().take(HOST_BYTES).map(|c| if plain(c) { c } else { '-' }).collect();
        Self { host, process, serial: Cell::new(0) }
    }

    /// As a worker of the first broker.
    pub(super) fn worker(&self, lane: usize) -> String {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        format!("WC_{}_{lane}_{:08x}_{serial}", self.host, self.process)
    }

    /// As a client of the second, for a request that came over these bridges.
    pub(super) fn client(&self, lane: usize, trail: &Trail) -> String {
        format!("{}~{trail}", self.worker(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::super::trail::BridgeId;
    use super::*;

    #[test]
    fn names_are_new_each_time_and_carry_the_trail() {
        let names = Names::new("host~1 x", 0xabc);
        assert_eq!(names.worker(3), "WC_host-1-x_3_00000abc_0");
        let trail = Trail::default().with(BridgeId::of("a", "b", &[]));
        let name = names.client(3, &trail);
        assert_eq!(name, format!("WC_host-1-x_3_00000abc_1~{trail}"));
        assert_eq!(Trail::read(name.as_bytes()), trail);
    }

    #[test]
    fn the_longest_name_is_one_that_zeromq_takes() {
        let names = Names::new(&"h".repeat(300), u32::MAX);
        names.serial.set(u64::MAX - 1);
        let id = BridgeId::of("a", "b", &[]);
        let trail = (0..=crate::limits::HOPS).fold(Trail::default(), |trail, _| trail.with(id));
        assert!(names.client(crate::limits::LANES, &trail).len() <= 255);
    }
}
