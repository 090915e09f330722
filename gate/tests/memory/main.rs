//! What hostile peers cost in memory. Alone in this process and one after another, so that the figures are theirs.

#[cfg(test)]
#[path = "../live/harness.rs"]
#[expect(dead_code, reason = "the live tests use more of it")]
mod harness;

#[cfg(test)]
mod tests;
