//! The private unix socket behind a gate: libzmq binds it, the gate connects to it, nobody else may.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream as Connected};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::error::GateError;
use crate::limits;

/// Only its owner may enter the folder.
const FOLDER_MODE: u32 = 0o700;
const FOR_OTHERS: u32 = 0o077;

/// A socket's place in a private folder.
///
/// The path of a unix socket has at most 107 bytes. So the folder is held open and named by its descriptor
/// (`/proc/self/fd/7/clients.sock`), which is short however long the folder's own path is; keep this value for as long as
/// the socket is bound.
#[derive(Clone, Debug)]
pub struct Upstream {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    folder: File,
    name: String,
}

impl Upstream {
    /// Makes the folder when it is not there, closes it to other users (mode 0700), and tries whether a socket can be bound
    /// in it. What a killed process left under that name is removed. The folder should hold nothing but such sockets.
    ///
    /// # Errors
    /// [`GateError::Folder`]: when it cannot be made, belongs to another user, its file system has no sockets, or another
    /// process serves a socket of that name.
    pub fn in_folder(folder: &Path, name: &str) -> Result<Self, GateError> {
        Self::open(folder, name).map_err(|cause| GateError::Folder {
            folder: folder.to_path_buf(),
            name: name.to_string(),
            cause,
        })
    }

    fn open(path: &Path, name: &str) -> io::Result<Self> {
        if name.is_empty() || name.contains('/') || name.len() > limits::SOCKET_NAME_BYTES {
            let most = limits::SOCKET_NAME_BYTES;
            return Err(io::Error::other(format!("the name must have 1 to {most} bytes and no slash")));
        }
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
        let folder = File::open(path)?;
        let is = folder.metadata()?;
        if !is.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if is.uid() != geteuid().as_raw() {
            let why = format!("it belongs to user {}", is.uid());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        if is.mode() & FOR_OTHERS != 0 {
            folder.set_permissions(Permissions::from_mode(FOLDER_MODE))?;
        }
        let upstream = Self { place: Arc::new(Place { folder, name: name.to_string() }) };
        if let Ok(socket) = Connected::connect(upstream.path()) {
            is_ours(&socket)?;
        }
        upstream.remove()?;
        drop(UnixListener::bind(upstream.path())?);
        upstream.remove()?;
        Ok(upstream)
    }

    /// What libzmq's `bind` gets.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("ipc://{}", self.path().display())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{}", self.place.folder.as_raw_fd(), self.place.name))
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A connection to libzmq's socket, which may not be bound yet, or have no place in its queue for the moment.
    ///
    /// # Errors
    /// What went wrong last, when `until` has come, or at once when the socket is another process's.
    pub(crate) async fn connect(&self, until: Instant) -> io::Result<UnixStream> {
        loop {
            match UnixStream::connect(self.path()).await {
                Ok(stream) => {
                    is_ours(&stream)?;
                    return Ok(stream);
                }
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => tokio::time::sleep(limits::UPSTREAM_PAUSE).await,
            }
        }
    }
}

/// Two programs that were given one folder would take each other's peers.
fn is_ours(socket: &impl AsFd) -> io::Result<()> {
    let process = getsockopt(socket, sockopt::PeerCredentials)?.pid();
    if u32::try_from(process) == Ok(std::process::id()) {
        return Ok(());
    }
    let why = format!("another process serves it (process {process})");
    Err(io::Error::new(io::ErrorKind::AddrInUse, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_made_for_its_owner_alone_however_long_its_path_is() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a".repeat(120)).join("b".repeat(120));
        let upstream = Upstream::in_folder(&folder, "clients.sock").unwrap();
        assert!(upstream.endpoint().len() < 60, "{}", upstream.endpoint());
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, FOLDER_MODE);
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let again = Upstream::in_folder(&folder, "clients.sock").unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, FOLDER_MODE);
        let socket = UnixListener::bind(again.path()).unwrap();
        assert!(folder.join("clients.sock").exists());
        drop(socket);
        Upstream::in_folder(&folder, "clients.sock").expect("what was left behind does no harm");
    }

    #[test]
    fn unusable_folders_and_names_are_named() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Upstream::in_folder(&file, "clients.sock").unwrap_err().to_string();
        assert!(error.contains("clients.sock") && error.contains(&file.display().to_string()), "{error}");
        for name in ["", "a/b", &"n".repeat(limits::SOCKET_NAME_BYTES + 1)] {
            assert!(Upstream::in_folder(base.path(), name).is_err(), "{name}");
        }
        assert!(Upstream::in_folder(base.path(), &"n".repeat(limits::SOCKET_NAME_BYTES)).is_ok());
    }
}
