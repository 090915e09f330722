//! Exit codes, as a documented type: scripts rely on them.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Ok,
    /// 1: it could not be done.
    Error,
    /// 2: the words make no sense (clap ends with the same code).
    Usage,
    /// 3: the job failed or was cancelled.
    JobFailed,
    /// 4: the time was over.
    TimeOver,
    /// 5: no quorum: nothing could be decided, or nobody knows whether it was.
    NoQuorum,
    /// 130: interrupted.
    Interrupted,
    /// `run` alone: the job's own code.
    Job(u8),
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::JobFailed => 3,
            Self::TimeOver => 4,
            Self::NoQuorum => 5,
            Self::Interrupted => 130,
            Self::Job(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why it ends other than well, in words for standard error (none when there is nothing to add).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    /// It could not be done.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { exit: Exit::Error, message: message.into() }
    }

    /// The words make no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// The reader of standard output went away (`| head`): no reason to complain.
    pub(crate) fn unread() -> Self {
        Self { exit: Exit::Ok, message: String::new() }
    }
}

/// What a subcommand comes to.
pub(crate) type Outcome = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_scripts_rely_on() {
        let all = [
            (Exit::Ok, 0),
            (Exit::Error, 1),
            (Exit::Usage, 2),
            (Exit::JobFailed, 3),
            (Exit::TimeOver, 4),
            (Exit::NoQuorum, 5),
            (Exit::Interrupted, 130),
            (Exit::Job(17), 17),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
