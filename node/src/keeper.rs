//! `understudy keeper`: leads the processes of one attempt. (Being written.)

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs as keeper; `args` are those after `keeper`.
#[must_use]
pub fn main(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
