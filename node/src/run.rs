//! One node from its first line to its last: folder and HTTP first, then the stage, until a signal says that it is enough.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, oneshot, watch};

use crate::ask::{ASKS, Front, Valve};
use crate::disk::{DiskError, Folder, Found};
use crate::error::StageError;
use crate::http::{self, Served};
use crate::news::Board;
use crate::runner::Outputs;
use crate::settings::Settings;
use crate::stage::{Begin, Ending, Stage};

/// Events a slow reader may lag behind until it is told to start over.
const EVENTS: usize = 4_096;
/// Folder of the node's own log lines, inside its data folder.
pub(crate) const LOG_FOLDER: &str = "logging";
/// How long open streams may hold up the end of a process.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why a node ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address beyond loopback without what that needs, and without the word that allows it.
    #[error("listening on {host}, which is beyond loopback: {}; --insecure allows it", missing.join("; "))]
    Exposed {
        /// The host it was to listen on.
        host: String,
        /// What is missing.
        missing: Vec<&'static str>,
    },
    /// The HTTP port could not be had.
    #[error("listening for HTTP on {address}: {cause}")]
    Listen {
        /// Which address.
        address: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// The process could not be set up.
    #[error("starting the node: {0}")]
    Start(std::io::Error),
    /// The node's own log could not be opened.
    #[error("opening the node's log: {0}")]
    Log(#[from] logdb::OpenError),
    /// Its lines cannot be shipped to the log store.
    #[error(transparent)]
    Ship(#[from] logdb::ShipError),
    /// The data folder is not usable.
    #[error(transparent)]
    Disk(DiskError),
    /// The data folder lost or changed something that was safe.
    #[error(
        "{cause}. This node must not use its memory any more: it has confirmed more to the others than it holds. While a majority \
         of the other voters lives nothing is lost: `understudy repair --data {} --yes` sets the folder aside, and with --join \
         the node then joins as a new one",
        .data.display()
    )]
    Damaged {
        /// The data folder.
        data: PathBuf,
        /// File, offset and what is wrong.
        cause: DiskError,
    },
    /// The stage ended by itself.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The stage's thread is gone: a broken invariant, named on standard error.
    #[error("running the node: its owner loop ended by a broken invariant")]
    Broken,
}

/// Runs a node until SIGTERM or SIGINT. A leader hands over first; children end with the node. `pages` gets the API as a
/// router and gives the routes for people that stand beside it.
///
/// # Errors
/// [`RunError`], naming the address, file or setting.
pub fn run(
    settings: Settings,
    pages: impl FnOnce(Router) -> Router + Send + 'static,
) -> Result<(), RunError> {
    let missing = settings.missing_beyond_loopback();
    if !settings.insecure && !missing.is_empty() {
        let host = settings.beyond_loopback().map_or("", |(_, host)| host).to_string();
        return Err(RunError::Exposed { host, missing });
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    let outcome = runtime.block_on(serve(Arc::new(settings), pages));
    runtime.shutdown_timeout(GOODBYE);
    outcome
}

async fn serve(settings: Arc<Settings>, pages: impl FnOnce(Router) -> Router) -> Result<(), RunError> {
    let address = format!("{}:{}", settings.listen_host, settings.http_port);
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|cause| RunError::Listen { address: address.clone(), cause })?;
    let begin = begin(&settings.data)?;
    let log = open_log(&settings)?;
    let (asks, asked) = crate::ask::asks(ASKS);
    let front = Front {
        asks,
        events: broadcast::Sender::new(EVENTS),
        valve: Arc::new(Valve::unopened()),
        disk: crate::disk::Health::default(),
        outputs: Outputs::default(),
        lab: crate::lab::LabCounts::default(),
        history: crate::archive::History::default(),
        broker: crate::broker::BrokerCounts::default(),
        news: Board::default(),
    };
    // While stopped it sends nothing: the shipper watches the valve too.
    let ship = |endpoint: &String| logdb::Shipper::start(&log, endpoint, front.valve.watch());
    let shipper = settings.logger.as_ref().map(ship).transpose()?;
    let log_file = settings.recodex.as_ref().and_then(|recodex| copy_lines(&log, recodex.logger.as_ref()?));
    let log_file = log_file.transpose().map_err(RunError::Start)?;
    let (end, ending) = watch::channel(Ending::No);
    let (close, mut closing) = watch::channel(false);
    let served = Served::new(front.clone(), Arc::clone(&settings), log.clone());
    let http = tokio::spawn(http::serve(listener, http::app_with_pages(served, pages), async move {
        // An error means that the other end is gone, which is an end too.
        let _ = closing.wait_for(|closed| *closed).await;
    }));
    let data = settings.data.clone();
    let stage = Stage::new(settings, log.clone(), front, asked, ending);
    let mut stage = on_its_own_thread(stage, begin)?;
    let outcome = tokio::select! {
        outcome = &mut stage => outcome,
        () = logdb::door::told_to_end() => {
            end.send_replace(Ending::InOrder);
            // Whoever says it twice means it.
            tokio::select! {
                outcome = &mut stage => outcome,
                () = logdb::door::told_to_end() => {
                    end.send_replace(Ending::AtOnce);
                    stage.await
                }
            }
        }
    };
    close.send_replace(true);
    let _ = tokio::time::timeout(GOODBYE, http).await;
    let outcome = match outcome {
        Ok(Err(StageError::Disk(error))) => Err(unusable(&data, error)),
        Ok(outcome) => outcome.map_err(RunError::from),
        Err(_) => Err(RunError::Broken),
    };
    if let Err(error) = &outcome {
        log.record(logdb::Level::Error, "ended", None, error.to_string());
    }
    if let Some(shipper) = shipper {
        shipper.end(GOODBYE);
    }
    if let Some(file) = log_file {
        file.end(GOODBYE);
    }
    log.flush(GOODBYE);
    log.close();
    outcome
}

/// Reads the data folder. A disk that is full or broken now is waited for; a folder that is damaged or in use is not.
fn begin(data: &Path) -> Result<Begin, RunError> {
    let mut folder = Folder::lock(data).map_err(RunError::Disk)?;
    match folder.read() {
        Ok(None) => Ok(Begin::With(Found::Empty(folder))),
        Ok(Some((identity, boot, recovered))) => {
            Ok(Begin::With(Found::Member(folder, identity, boot, recovered)))
        }
        Err(error) if error.may_pass() => Ok(Begin::Out { folder, identity: None, why: error.to_string() }),
        Err(error) => Err(unusable(data, error)),
    }
}

/// With what to do about it.
fn unusable(data: &Path, cause: DiskError) -> RunError {
    match cause {
        DiskError::Damaged { .. } => RunError::Damaged { data: data.to_path_buf(), cause },
        cause => RunError::Disk(cause),
    }
}

/// The node's own log, with what its addresses lack as its first lines.
fn open_log(settings: &Settings) -> Result<logdb::Log, logdb::OpenError> {
    let log = open_lines(settings)?;
    for missing in settings.missing_beyond_loopback() {
        log.record(logdb::Level::Warn, "insecure", None, format!("--insecure: {missing}"));
    }
    for warning in settings.recodex.iter().flat_map(|recodex| &recodex.warnings) {
        log.record(logdb::Level::Warn, "recodex", None, warning);
    }
    Ok(log)
}

/// A second copy of the lines, in the file that a ReCodEx broker would write; none where its level is above all of ours.
fn copy_lines(log: &logdb::Log, file: &crate::settings::LogFile) -> Option<std::io::Result<logdb::LogFile>> {
    let settings = logdb::LogFileSettings {
        stem: file.file.clone(),
        least: file.level.least()?,
        max_bytes: file.max_bytes,
        rotations: file.rotations,
    };
    Some(logdb::LogFile::start(log, settings))
}

/// The lines. Where their files cannot be had, they stay in memory: no job waits for a line.
fn open_lines(settings: &Settings) -> Result<logdb::Log, logdb::OpenError> {
    let folder = settings.data.join(LOG_FOLDER);
    match logdb::Log::open(&settings.name, Some(&folder), Some(logdb::stdout_console())) {
        Err(error @ logdb::OpenError::Folder { .. }) => {
            let log = logdb::Log::open(&settings.name, None, Some(logdb::stdout_console()))?;
            log.record(logdb::Level::Warn, "log", None, format!("{error}; lines stay in memory only"));
            Ok(log)
        }
        opened => opened,
    }
}

/// The owner loop has a thread to itself: nothing else may make it wait.
fn on_its_own_thread(
    stage: Stage,
    begin: Begin,
) -> Result<oneshot::Receiver<Result<(), StageError>>, RunError> {
    let handle = tokio::runtime::Handle::current();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Start)?;
    let (told, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("stage".to_string())
        .spawn(move || {
            // Nobody listens any more only when the whole process is ending.
            let _ = told.send(runtime.block_on(stage.serve(handle, begin)));
        })
        .map_err(RunError::Start)?;
    Ok(outcome)
}
