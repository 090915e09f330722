//! The log store as a program: its port, its writer, its HTTP, until a signal says that it is enough.
//!
//! ```text
//!   containers ══PUSH══▶ gate ═▶ Pull (thread) ──batches──▶ Writer (task) ──▶ SQLite ──▶ /logging, /api/v1/logs
//!                                    ▲ bounded: what waits longer          ├─▶ --file, console (`i,message`)
//!                                  Valve (/stop closes both)               └─▶ whoever follows
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gate::GateError;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::arrived::Arrived;
use crate::door::{self, Door, Valve};
use crate::kept::Shelf;
use crate::limits;
use crate::mirror::Console;
use crate::pull::{Private, Pull, PullError};
use crate::record::{Level, Record, now_ms};
use crate::store::{Store, StoreError};
use crate::writer::{Health, TextFile, Writer};

/// How long open answers and the writer may take at the end.
const GOODBYE: Duration = Duration::from_secs(2);
/// Pause between attempts to have the port again after a soft crash.
const BIND_PAUSE: Duration = Duration::from_millis(200);

/// How the store shall be. Made by the program from flags and environment; checked there.
#[derive(Clone, Debug)]
pub struct LogStoreSettings {
    /// The name people use.
    pub name: String,
    /// Host its HTTP binds.
    pub listen_host: String,
    /// Port of its HTTP.
    pub http_port: u16,
    /// Where lines come in: `tcp://HOST:PORT`.
    pub pull: String,
    /// The file of the SQLite database.
    pub database: PathBuf,
    /// A file that gets every line as text.
    pub file: Option<PathBuf>,
    /// Whether `/stop` works.
    pub chaos: bool,
    /// `Host` names allowed beside IP literals, `localhost` and its own.
    pub allowed_hosts: Vec<String>,
    /// The token its HTTP asks for.
    pub token: Option<door::Token>,
}

/// Why a store ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreError {
    /// The HTTP port could not be had.
    #[error("listening for HTTP on {address}: {cause}")]
    Listen {
        /// Which address.
        address: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// The process could not be set up.
    #[error("starting the log store: {0}")]
    Start(std::io::Error),
    /// The file of text lines cannot be written.
    #[error("opening the file of lines {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The port for lines could not be had.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// There is no place for the private socket behind that port.
    #[error(transparent)]
    Private(#[from] GateError),
    /// The database is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs a store until SIGTERM or SIGINT.
///
/// # Errors
/// [`LogStoreError`], naming the address or file.
pub fn run(settings: LogStoreSettings) -> Result<(), LogStoreError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(LogStoreError::Start)?;
    runtime.block_on(async {
        let address = format!("{}:{}", settings.listen_host, settings.http_port);
        let listener = TcpListener::bind(&address).await;
        let listener = listener.map_err(|cause| LogStoreError::Listen { address, cause })?;
        let store = LogStore::open(&settings, Some(crate::stdout_console())).await?;
        door::serve(listener, store.router(), door::told_to_end()).await;
        store.end().await;
        Ok(())
    })
}

/// A running store without its HTTP port.
#[derive(Debug)]
pub struct LogStore {
    router: door::Guarded,
    pull_address: String,
    store: Store,
    ending: watch::Sender<bool>,
    keeper: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl LogStore {
    /// Opens database, file and port, and begins to store. Call it inside a runtime of tokio with more than one thread.
    ///
    /// # Errors
    /// [`LogStoreError`], naming what could not be had.
    pub async fn open(settings: &LogStoreSettings, console: Option<Console>) -> Result<Self, LogStoreError> {
        let file = settings.file.as_deref().map(text_file).transpose()?;
        let store = Store::open(&settings.database).await?;
        let (_, newest) = store.bounds().await?;
        let (health, valve) = (Arc::new(Health::default()), Arc::new(Valve::default()));
        let (lines, inbox) = mpsc::channel(limits::PULL_BATCHES);
        let (last, newest_read) = watch::channel(newest);
        let private = Private::beside(&settings.database)?;
        let pull = Pull::bind(&settings.pull, &private, lines.clone(), Arc::clone(&health.dropped))?;
        health.set_port(pull.meter());
        let pull_address = pull.address().to_string();
        let writer = Writer {
            store: store.clone(),
            file,
            console,
            stopped: valve.watch(),
            last,
            health: Arc::clone(&health),
        };
        let shelf = Shelf::new(&settings.name, store.clone(), newest_read, Arc::clone(&health));
        let mut hosts = settings.allowed_hosts.clone();
        hosts.push(settings.listen_host.clone());
        let door = Door::new(&settings.name, hosts, settings.chaos, Arc::clone(&valve));
        let door = door.asking(settings.token.clone());
        let router = door.guard(shelf.router().merge(door.turns()));
        let own = Own { source: Arc::from(format!("{}/{:x}", settings.name, now_ms())), said: 0, lines };
        let (ending, told) = watch::channel(false);
        let keeper = Keeper {
            endpoint: pull_address.clone(),
            private,
            pull: Some(pull),
            own,
            health,
            wanted: valve.watch(),
            valve,
        };
        Ok(Self {
            router,
            pull_address,
            store,
            ending,
            keeper: tokio::spawn(keeper.serve(told)),
            writer: tokio::spawn(writer.serve(inbox)),
        })
    }

    /// Its HTTP; usable without a port.
    pub fn router(&self) -> door::Guarded {
        self.router.clone()
    }

    /// Where lines come in, with the number of the port when the system chose it.
    #[must_use]
    pub fn pull_address(&self) -> &str {
        &self.pull_address
    }

    /// Closes the port, writes what came in, closes the database.
    pub async fn end(self) {
        self.ending.send_replace(true);
        // The keeper closes the port; then nobody can send lines any more and the writer ends.
        let _ = tokio::time::timeout(GOODBYE, self.keeper).await;
        let _ = tokio::time::timeout(GOODBYE, self.writer).await;
        self.store.close().await;
    }
}

fn text_file(path: &Path) -> Result<TextFile, LogStoreError> {
    TextFile::open(path).map_err(|cause| LogStoreError::File { path: path.to_path_buf(), cause })
}

/// The store's own lines.
struct Own {
    source: Arc<str>,
    said: u64,
    lines: mpsc::Sender<Vec<Arrived>>,
}

impl Own {
    async fn say(&mut self, level: Level, event: &'static str, time_ms: u64, message: &str) {
        self.said += 1;
        let name = self.source.split('/').next().unwrap_or_default();
        let record =
            Record::new(Arc::clone(&self.source), self.said, time_ms, level, event, None, name, message);
        // The writer is gone only when the store ends.
        let _ = self.lines.send(vec![Arrived { record, number: None }]).await;
    }
}

/// Owns the port, and closes and opens it as the valve says.
struct Keeper {
    endpoint: String,
    private: Private,
    pull: Option<Pull>,
    own: Own,
    health: Arc<Health>,
    wanted: watch::Receiver<bool>,
    valve: Arc<Valve>,
}

impl Keeper {
    async fn serve(mut self, mut ending: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = ending.wait_for(|end| *end) => break,
                changed = self.wanted.changed() => if changed.is_err() { break },
            }
            if !*self.wanted.borrow_and_update() {
                self.valve.reach(false);
                continue;
            }
            let stopped_ms = now_ms();
            self.close().await;
            self.valve.reach(true);
            tokio::select! {
                _ = ending.wait_for(|end| *end) => break,
                _ = self.wanted.wait_for(|stopped| !*stopped) => {}
            }
            tokio::select! {
                _ = ending.wait_for(|end| *end) => break,
                () = self.reopen() => {}
            }
            self.own.say(Level::Warn, "stopped", stopped_ms, "CRASH :(").await;
            self.own.say(Level::Info, "resumed", now_ms(), "RECOVERED :)").await;
            self.valve.reach(false);
        }
        self.close().await;
    }

    /// The port is free when this returns.
    async fn close(&mut self) {
        let pull = self.pull.take();
        // Dropping it waits for its thread; that thread may wait for the writer, so this task must not.
        let _ = tokio::task::spawn_blocking(move || drop(pull)).await;
    }

    async fn reopen(&mut self) {
        while self.pull.is_none() {
            let lines = self.own.lines.clone();
            let dropped = Arc::clone(&self.health.dropped);
            match Pull::bind(&self.endpoint, &self.private, lines, dropped) {
                Ok(pull) => {
                    self.health.set_port(pull.meter());
                    self.health.tell(None);
                    self.pull = Some(pull);
                }
                Err(error) => {
                    self.health.tell(Some(error.to_string()));
                    tokio::time::sleep(BIND_PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "log_store_tests.rs"]
mod tests;
