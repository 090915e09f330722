//! What is asked of a connection's two sockets.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpStream, UnixStream};

use crate::limits;

/// A stream that may be written by reference, so that both its directions can be served at once.
pub(crate) trait Stream {
    /// Comes when something may be written.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Comes when something may be read.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Writes what can be written now.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Reads what can be read now.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

macro_rules! stream {
    ($($type:ident)+) => {
        $(impl Stream for $type {
            fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
                $type::writable(self)
            }
            fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
                $type::readable(self)
            }
            fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                $type::try_write(self, bytes)
            }
            fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                $type::try_read(self, buffer)
            }
        })+
    };
}

stream! { TcpStream UnixStream }

/// Writes all of it, however long the other side takes.
pub(crate) async fn write_all(stream: &impl Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads something; 0 bytes mean that the other side has ended. Holds no buffer while it waits.
pub(crate) async fn read_some(stream: &impl Stream) -> io::Result<Vec<u8>> {
    loop {
        stream.readable().await?;
        let mut buffer = vec![0; limits::READ_BYTES];
        match stream.try_read(&mut buffer) {
            Ok(read) => {
                buffer.truncate(read);
                return Ok(buffer);
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the same may succeed in a moment.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Small messages go at once; a host that is dead or does not read is noticed.
pub(crate) fn prepare(peer: &TcpStream) -> io::Result<()> {
    peer.set_nodelay(true)?;
    setsockopt(peer, sockopt::KeepAlive, &true)?;
    setsockopt(peer, sockopt::TcpKeepIdle, &limits::KEEPALIVE_IDLE_S)?;
    setsockopt(peer, sockopt::TcpKeepInterval, &limits::KEEPALIVE_EVERY_S)?;
    setsockopt(peer, sockopt::TcpKeepCount, &limits::KEEPALIVE_TRIES)?;
    setsockopt(peer, sockopt::TcpUserTimeout, &limits::UNREAD_BY_PEER_MS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn dead_hosts_and_hosts_that_do_not_read_are_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&peer).unwrap();
        assert!(peer.nodelay().unwrap());
        assert!(getsockopt(&peer, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(&peer, sockopt::TcpKeepIdle).unwrap(), limits::KEEPALIVE_IDLE_S);
        assert_eq!(getsockopt(&peer, sockopt::TcpKeepInterval).unwrap(), limits::KEEPALIVE_EVERY_S);
        assert_eq!(getsockopt(&peer, sockopt::TcpKeepCount).unwrap(), limits::KEEPALIVE_TRIES);
        assert_eq!(getsockopt(&peer, sockopt::TcpUserTimeout).unwrap(), limits::UNREAD_BY_PEER_MS);
    }
}
