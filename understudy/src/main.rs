//! Understudy: a job cluster in one program.
//!
//! ```text
//!   words (clap) ──▶ master, worker ──▶ settings ──▶ node::run        serves until a signal
//!                ├─▶ client-web ──▶ client_web::app                   serves until a signal
//!                ├─▶ logdb ──▶ logdb::log_store::run                  serves until a signal
//!                ├─▶ listen ──▶ node::news                          serves until a signal
//!                ├─▶ bridge ──▶ bridge::lab, bridge::pattern           serves until a signal
//!                ├─▶ up ──▶ child processes of this very program      serves until Ctrl-C
//!                ├─▶ run, submit, status … ──▶ bridge::api (HTTP) ──▶ any node
//!                ├─▶ bench ──▶ bench::lab, bench::works               measures, then ends
//!                └─▶ simulate ──▶ simulator;  keeper ──▶ node::keeper
//! ```
//!
//! **Decides:** words, settings, which server to ask, exit codes ([`exit`]).
//! **May not touch:** minds, links, ledgers: it starts nodes and asks them over HTTP.
//! **Driven by:** its command line; data goes to standard output, talk to standard error.
//! **Leaves out:** a verdict on what `bench` measures.

mod api;
mod commands;
mod exit;
mod nearest;
mod settings;
mod show;
mod up;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::{Exit, Failure, Outcome};
use crate::words::{Command, Words};

/// Batches of many sizes are made and dropped thousands of times a second, by many threads: the system's allocator spends a
/// good part of a node's processor time on them, and asks the kernel anew for each large one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Each attempt starts a keeper: it must not pay for the command line of people.
    if std::env::args_os().nth(1).is_some_and(|word| word == "keeper") {
        return node::keeper::main(std::env::args_os().skip(2));
    }
    let words = Words::parse();
    match obey(words) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                show::talk(&format!("understudy: {}", failure.message));
            }
            failure.exit.into()
        }
    }
}

fn obey(words: Words) -> Outcome {
    match words.command {
        Command::Master(mut flags) => {
            flags.token_file = words.common.token_file;
            commands::start::run(&flags, settings::Role::Master)
        }
        Command::Worker(mut flags) => {
            flags.token_file = words.common.token_file;
            commands::start::run(&flags, settings::Role::Worker)
        }
        Command::ClientWeb(mut flags) => {
            flags.beside.token_file = words.common.token_file;
            commands::client_web::run(&flags)
        }
        Command::Listen(flags) => commands::listen::run(&flags),
        Command::Logdb(mut flags) => {
            flags.beside.token_file = words.common.token_file;
            commands::logdb::run(&flags)
        }
        Command::Up(mut flags) => {
            flags.token_file = words.common.token_file;
            patiently(up::run(&flags, words.common.json))
        }
        Command::Bridge(command) => commands::bridge::run(&command, words.common),
        Command::Bench(command) => commands::bench::run(&command),
        Command::Simulate(flags) => commands::simulate::run(&flags, words.common.json),
        Command::Config(mut command) => {
            command.name_token_file(words.common.token_file);
            commands::config::run(&command, words.common.json)
        }
        Command::Repair(flags) => commands::repair::run(&flags),
        Command::Recover(flags) => commands::recover::run(&flags),
        Command::Completions(flags) => commands::paper::completions(&flags),
        Command::Man => commands::paper::man(),
        Command::Keygen(flags) => commands::keygen::run(&flags),
        Command::Keeper => Err(Failure::usage("keeper is started by a node, not by people")),
        Command::Client(command) => patiently(interruptible(commands::client(command, words.common))),
    }
}

/// Runs something that waits, on this thread.
fn patiently(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::error(format!("starting: {cause}")))?;
    let outcome = runtime.block_on(work);
    // A reader of standard input may still hang in the kernel; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

async fn interruptible(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => {
            Err(Failure { exit: Exit::Interrupted, message: "interrupted; what was submitted goes on".to_string() })
        }
    }
}
