//! One connection of HTTP/2 that many slots share, each with one request on it at a time; RPC systems are asked in the same way.
//!
//! As lean as [`line`](crate::line): no task and no channel for a request, only the one task that reads and writes.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use hyper::http::HeaderMap;
use hyper::{Request, StatusCode};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::BenchError;
use crate::limits::{PATIENCE, WINDOW_BYTES};

/// A slot's part of the connection; the last one that is dropped closes it.
#[derive(Clone, Debug)]
pub struct Shared {
    requests: SendRequest<Bytes>,
    address: Arc<str>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What came behind the body.
    pub trailers: HeaderMap,
}

fn failed(why: impl std::fmt::Display) -> BenchError {
    BenchError::new("asking over HTTP/2", why)
}

impl Shared {
    /// Connects to `HOST:PORT` by prior knowledge, without TLS.
    ///
    /// # Errors
    /// [`BenchError`], naming the address.
    pub async fn connect(address: &str) -> Result<Self, BenchError> {
        let failed = |why: String| BenchError::new("connecting", format!("{address}: {why}"));
        let connecting = async {
            let stream = TcpStream::connect(address).await.map_err(|error| failed(error.to_string()))?;
            stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
            let mut manner = Builder::new();
            manner.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
            manner.enable_push(false).handshake(stream).await.map_err(|error| failed(error.to_string()))
        };
        let connected = timeout(PATIENCE, connecting).await.map_err(|_| failed("no answer".to_owned()))?;
        let (requests, carried) = connected?;
        tokio::spawn(async move {
            // An error shows at the request it broke.
            let _ = carried.await;
        });
        Ok(Self { requests, address: Arc::from(address) })
    }

    /// Who is asked, `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends one request, whose target names the host, and reads its answer whole.
    ///
    /// # Errors
    /// [`BenchError`]: the connection is of no further use.
    pub async fn ask(&mut self, request: Request<()>, body: Bytes) -> Result<Answer, BenchError> {
        match timeout(PATIENCE, self.exchange(request, body)).await {
            Ok(answer) => answer.map_err(|error| failed(format!("{}: {error}", self.address))),
            Err(_) => Err(failed(format!("{}: silence for {} s", self.address, PATIENCE.as_secs()))),
        }
    }

    async fn exchange(&mut self, request: Request<()>, body: Bytes) -> Result<Answer, h2::Error> {
        std::future::poll_fn(|context| self.requests.poll_ready(context)).await?;
        let (answer, mut sending) = self.requests.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            sending.send_data(body, true)?;
        }
        let (head, mut reading) = answer.await?.into_parts();
        let mut body = Bytes::new();
        while let Some(part) = reading.data().await.transpose()? {
            reading.flow_control().release_capacity(part.len())?;
            body = if body.is_empty() { part } else { Bytes::from([body, part].concat()) };
        }
        let trailers = reading.trailers().await?.unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, body, trailers })
    }
}
