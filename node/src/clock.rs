//! The node's two clocks: ticks for everything that is decided, wall time for everything that is shown.

use std::time::{SystemTime, UNIX_EPOCH};

/// A tick: half a heartbeat, so that elections are drawn finely enough.
pub(crate) fn tick_ms(heartbeat_ms: u64) -> u64 {
    (heartbeat_ms / 2).max(5)
}

/// Wall time in milliseconds since 1970: for display and calendars only.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
