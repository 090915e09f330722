//! Bounds of the pages.

/// What is read of an answer of the API: a job with a megabyte of output, escaped at worst.
pub(crate) const ANSWER_BYTES: usize = 16 << 20;
/// A form: the largest payload, percent-encoded at worst, and a little more.
pub(crate) const FORM_BYTES: usize = 3 * protocol::limits::PAYLOAD_BYTES + (16 << 10);
/// Characters of output and payload on a job's own page.
pub(crate) const SHOWN_CHARS: usize = 65_536;
/// Characters of a result in a row.
pub(crate) const EXCERPT_CHARS: usize = 120;
/// The longest name of a node.
pub(crate) const NODE_NAME_BYTES: usize = 100;
