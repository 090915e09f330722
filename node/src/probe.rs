//! How busy this node is. (Being written.)

use std::path::Path;

use protocol::Load;

/// Measures the node's load.
#[derive(Debug)]
pub struct Probe;

impl Probe {
    /// A probe that reads below `root` (`/`; tests give a fake one).
    #[must_use]
    pub fn new(_root: &Path) -> Self {
        Self
    }

    /// The load since the last call. Cheap: under a millisecond.
    pub fn load(&mut self) -> Load {
        Load::default()
    }
}
