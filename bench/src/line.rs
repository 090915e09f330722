//! One HTTP connection that is kept: a slot has one, and one request on it at a time.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::lab::BenchError;
use crate::limits::PATIENCE;

/// The connection; dropping it closes it.
#[derive(Debug)]
pub struct Line {
    address: String,
    requests: SendRequest<Full<Bytes>>,
    carrier: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Line {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// [`BenchError`], naming the address.
    pub async fn connect(address: &str) -> Result<Self, BenchError> {
        let failed = |why: String| BenchError::new("connecting", format!("{address}: {why}"));
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream =
            stream.map_err(|_| failed("no answer".to_owned()))?.map_err(|e| failed(e.to_string()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let (requests, carried) =
            handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
        let carrier = tokio::spawn(async move {
            // An error shows at the request it broke.
            let _ = carried.await;
        });
        Ok(Self { address: address.to_owned(), requests, carrier: carrier.abort_handle() })
    }

    /// Sends one request and reads its answer whole.
    ///
    /// # Errors
    /// [`BenchError`]: the connection is of no further use.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<(StatusCode, Bytes), BenchError> {
        let failed = |why: String| BenchError::new("asking over HTTP", why);
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        let body = body.map(|(kind, bytes)| {
            request
                .headers_mut()
                .map(|headers| headers.insert("content-type", hyper::header::HeaderValue::from_static(kind)));
            bytes
        });
        let request = request.body(Full::new(body.unwrap_or_default())).map_err(|e| failed(e.to_string()))?;
        let asked = async {
            self.requests.ready().await?;
            let answer = self.requests.send_request(request).await?;
            let status = answer.status();
            Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
        };
        match timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map_err(|error| failed(format!("{}: {error}", self.address))),
            Err(_) => Err(failed(format!("{}: silence for {} s", self.address, PATIENCE.as_secs()))),
        }
    }
}
