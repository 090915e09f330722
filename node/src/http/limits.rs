//! Bounds of the HTTP side alone; those that other rooms must know are in `protocol::limits`.

use std::time::Duration;

/// How long a body may take to arrive.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Bodies of small calls (`/leader/transfer`, joining).
pub(super) const SMALL_BODY_BYTES: usize = 64 << 10;
/// Nesting of a JSON body.
pub(super) const JSON_DEPTH: usize = 64;
/// How long the stage may take to show this node's own state.
pub(super) const VIEW_PATIENCE: Duration = Duration::from_secs(2);
/// How long a read waits for a majority's word before it is answered with its age instead.
pub(super) const CONFIRM_PATIENCE: Duration = Duration::from_secs(2);
/// Pause before a majority is asked again when there was no leader to ask.
pub(super) const CONFIRM_PAUSE: Duration = Duration::from_millis(100);
/// How long a write waits for its outcome beyond the gateway's own patience.
pub(super) const WRITE_GRACE: Duration = Duration::from_secs(5);
/// How long an acknowledged job may take to reach this node's ledger before it is answered without.
pub(super) const APPLY_PATIENCE: Duration = Duration::from_secs(5);
/// How old what is known of leader and term may be in the headers of an answer that needed no look at the state.
pub(super) const SEEN_FRESH: Duration = Duration::from_millis(250);
/// How long a transfer waits for the new leader before it answers.
pub(super) const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a node may take to apply an index whose digest is asked for.
pub(super) const DIGEST_PATIENCE: Duration = Duration::from_secs(5);
/// Pause until it is looked at again.
pub(super) const DIGEST_PAUSE: Duration = Duration::from_millis(20);
/// Jobs of a page when nobody says how many.
pub(super) const PAGE_JOBS_DEFAULT: usize = 50;
/// Jobs that one call may retry or cancel by a filter.
pub(super) const BULK_JOBS: usize = 10_000;
/// Of those so many are on their way to the leader at once.
pub(super) const BULK_AT_ONCE: usize = 500;
/// And so many bytes of their payloads, unless one alone has more.
pub(super) const BULK_AT_ONCE_BYTES: u64 = 16 << 20;
/// After so long such a call ends with what it has done and says where the next one goes on.
pub(super) const BULK_TIME: Duration = Duration::from_secs(8);
/// Output of a job shown inside a list; a longer one is asked for by itself.
pub(super) const LIST_OUTPUT_BYTES: usize = 4 << 10;
/// Characters of the payload shown with a job.
pub(super) const EXCERPT_CHARS: usize = 200;
/// Event streams open at once.
pub(super) const EVENT_STREAMS: usize = 1_024;
/// Events that wait for one reader before it lags.
pub(super) const EVENT_BACKLOG: usize = 64;
/// How long a stream waits for this node to reach the revision its reader has seen elsewhere.
pub(super) const BEHIND_PATIENCE: Duration = Duration::from_secs(2);
/// Silence after which an event stream carries a comment.
pub(super) const EVENT_COMMENT: Duration = Duration::from_secs(15);
/// How long another node may take to answer over HTTP.
pub(super) const PEER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a silent node may take to say that it is stopped.
pub(super) const PROBE_PATIENCE: Duration = Duration::from_millis(300);
/// How long its answer is believed.
pub(super) const PROBE_FRESH: Duration = Duration::from_secs(1);
/// What is read of another node's answer.
pub(super) const PEER_ANSWER_BYTES: usize = 2 << 20;
/// Log records of one answer.
pub(super) const LOG_RECORDS: usize = 1_000;
/// Of a body over its limit so much is read and forgotten, so that its sender hears why.
pub(super) const DRAIN_BYTES: usize = 16 << 20;
/// Time for that.
pub(super) const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// After a node that runs an attempt did not answer, whoever follows its output asks again after so long.
pub(super) const FOLLOW_AGAIN: Duration = Duration::from_millis(500);
/// What a node still has to send of an attempt that is known to have ended is waited for so long.
pub(super) const FOLLOW_REST: Duration = Duration::from_secs(2);
/// Longest time that an output is followed without a word from its node.
pub(super) const FOLLOW_MOST: Duration = Duration::from_secs(24 * 3600);
