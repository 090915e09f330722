//! Leaders that were late, and leaders that leave.

#[cfg(test)]
mod late;
