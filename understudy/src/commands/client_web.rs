//! `client-web`: the pages and the API on one port, relayed to whichever node answers.

use std::sync::Arc;
use std::time::Duration;

use client_web::Program;
use logdb::Log;
use logdb::door::{Valve, serve, told_to_end};
use tokio::net::TcpListener;

use crate::commands::start;
use crate::exit::{Exit, Failure, Outcome};
use crate::settings::{ClientWeb, ClientWebFlags};
use crate::show;

/// Number it bears on consoles; nodes begin with 1.
const NUMBER: u32 = 0;
/// How long the last lines of the log may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Serves until a signal.
pub(crate) fn run(flags: &ClientWebFlags) -> Outcome {
    let settings = flags.read()?;
    if settings.beside.insecure && settings.beside.token.is_none() {
        show::talk("understudy: --insecure: anybody who reaches this port rules the cluster behind it");
    }
    if flags.beside.leash {
        start::end_with_parent().map_err(failed)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let outcome = runtime.block_on(serving(settings));
    runtime.shutdown_timeout(GOODBYE);
    outcome
}

async fn serving(settings: ClientWeb) -> Outcome {
    let ClientWeb { beside, servers, logdb, logger } = settings;
    let address = format!("{}:{}", beside.host, beside.port);
    let listening = |cause| Failure::error(format!("listening for HTTP on {address}: {cause}"));
    let listener = TcpListener::bind(&address).await.map_err(listening)?;
    let console = logdb::stdout_console();
    let log =
        Log::open(&beside.name, None, Some(console)).map_err(|error| Failure::error(error.to_string()))?;
    log.set_number(NUMBER);
    let valve = Arc::new(Valve::default());
    let shipper = match logger {
        Some(endpoint) => Some(logdb::Shipper::start(&log, &endpoint, valve.watch()).map_err(usage)?),
        None => None,
    };
    let program = Program {
        servers,
        logdb,
        hosts: beside.hosts,
        chaos: beside.chaos,
        token: beside.token,
        log: log.clone(),
        valve,
    };
    let app = client_web::app(program).map_err(usage)?;
    let closing = log.clone();
    let end = async move {
        told_to_end().await;
        closing.close();
    };
    serve(listener, app, end).await;
    if let Some(shipper) = shipper {
        shipper.end(GOODBYE);
    }
    log.flush(GOODBYE);
    Ok(Exit::Ok)
}

fn failed(cause: std::io::Error) -> Failure {
    Failure::error(format!("starting client-web: {cause}"))
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::usage(error.to_string())
}
