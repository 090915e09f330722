//! What is made from the words themselves: completions and the manual page.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::exit::{Exit, Failure, Outcome};
use crate::show;
use crate::words::Words;

/// Which shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionFlags {
    /// The shell
    shell: Shell,
}

/// `completions SHELL`
pub(crate) fn completions(flags: &CompletionFlags) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Words::command(), "understudy", &mut script);
    show::bytes(&script)?;
    Ok(Exit::Ok)
}

/// `man`
pub(crate) fn man() -> Outcome {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Words::command()).render(&mut page);
    rendered.map_err(|cause| Failure::error(format!("writing the manual page: {cause}")))?;
    show::bytes(&page)?;
    Ok(Exit::Ok)
}
