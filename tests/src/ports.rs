//! A block of loopback ports for one cluster, so that many clusters and strangers share a machine.

use std::net::TcpListener;
use std::time::SystemTime;

/// Ports a cluster may use; more than [`NODES`] × [`EACH`].
const BLOCK: u16 = 100;
/// Blocks lie from here on, below the ports the kernel gives away by itself.
const FIRST: u16 = 12_000;
const BLOCKS: u16 = 200;
/// Ports one node takes.
const EACH: u16 = 10;
/// Those beside HTTP, in the order they follow it.
const NAMES: [&str; 5] = ["broker", "link", "pub", "clients", "workers"];
/// Those behind them that no flag gives, but a file.
const IN_FILES: [&str; 2] = ["recodex-clients", "recodex-workers"];
/// Nodes one block has room for.
pub const NODES: u16 = 9;

/// A block nobody else here uses, held by a listener on its last port for as long as this value lives.
#[derive(Debug)]
pub struct Ports {
    base: u16,
    _guard: TcpListener,
}

impl Default for Ports {
    fn default() -> Self {
        Self::take()
    }
}

impl Ports {
    /// Takes a free block.
    ///
    /// # Panics
    /// When all of them are taken.
    #[must_use]
    pub fn take() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let start = (now ^ std::process::id().wrapping_mul(2_654_435_761)) % u32::from(BLOCKS);
        for step in 0..BLOCKS {
            let base = FIRST + (start as u16 + step) % BLOCKS * BLOCK;
            let Ok(guard) = TcpListener::bind(("127.0.0.1", base + BLOCK - 1)) else { continue };
            let used = (0..NODES * EACH).any(|p| TcpListener::bind(("127.0.0.1", base + p)).is_err());
            if !used {
                return Self { base, _guard: guard };
            }
        }
        panic!("all {BLOCKS} blocks of ports from {FIRST} are in use");
    }

    /// HTTP port of node `k` (from 1).
    #[must_use]
    pub fn http(&self, k: usize) -> u16 {
        self.of(k)
    }

    /// The flags that give node `k` its other ports.
    #[must_use]
    pub fn flags(&self, k: usize) -> Vec<String> {
        NAMES.iter().map(|name| format!("--{name}-port={}", self.zeromq(k, name))).collect()
    }

    /// A port of node `k` by its name: `broker`, `link`, `pub`, `clients`, `workers`, `recodex-clients` or `recodex-workers`.
    ///
    /// # Panics
    /// When no port has this name.
    #[must_use]
    pub fn zeromq(&self, k: usize, name: &str) -> u16 {
        let place = NAMES.iter().chain(&IN_FILES).zip(1..).find(|(known, _)| **known == name);
        self.of(k) + place.unwrap_or_else(|| panic!("no port is called {name}")).1
    }

    /// First port of a run of [`EACH`] × 8 for a program that chooses its own within it.
    #[must_use]
    pub fn base(&self) -> u16 {
        self.base
    }

    fn of(&self, k: usize) -> u16 {
        let k = u16::try_from(k).expect("a small number");
        assert!((1..=NODES).contains(&k), "a block has room for {NODES} nodes");
        self.base + (k - 1) * EACH
    }
}
