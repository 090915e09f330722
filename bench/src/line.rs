//! One HTTP connection that is kept: a slot has one, and one request on it at a time.
//!
//! The one who asks shares the machine with those who are measured, so it does no more than it must: a request is written at
//! once from one buffer, and of an answer the head's length and the body's are enough. Bodies without a length are not read:
//! nothing that is asked here answers so.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::BenchError;
use crate::limits::PATIENCE;

/// Headers of an answer, at most.
const HEADERS: usize = 64;
/// Room for an answer at first.
const ROOM_BYTES: usize = 4 << 10;

/// The connection; dropping it closes it.
#[derive(Debug)]
pub struct Line {
    address: String,
    stream: TcpStream,
    request: Vec<u8>,
    answer: BytesMut,
}

/// Where an answer's body lies.
struct Head {
    status: StatusCode,
    begins: usize,
    ends: usize,
}

fn failed(why: impl std::fmt::Display) -> BenchError {
    BenchError::new("asking over HTTP", why)
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
        let (request, answer) = (Vec::new(), BytesMut::with_capacity(ROOM_BYTES));
        Ok(Self { address: address.to_owned(), stream, request, answer })
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
        let (kind, body) = body.unwrap_or_default();
        let (address, length) = (&self.address, body.len());
        self.request.clear();
        let mut written = write!(self.request, "{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
        if !kind.is_empty() {
            written = written.and(write!(self.request, "content-type: {kind}\r\n"));
        }
        written.and(write!(self.request, "content-length: {length}\r\n\r\n")).map_err(failed)?;
        self.request.extend_from_slice(&body);
        match timeout(PATIENCE, self.exchange()).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(format!("{}: silence for {} s", self.address, PATIENCE.as_secs()))),
        }
    }

    async fn exchange(&mut self) -> Result<(StatusCode, Bytes), BenchError> {
        self.stream.write_all(&self.request).await.map_err(failed)?;
        self.answer.clear();
        let mut head = None;
        loop {
            if self.stream.read_buf(&mut self.answer).await.map_err(failed)? == 0 {
                return Err(failed(format!("{}: it closed the connection", self.address)));
            }
            if head.is_none() {
                head = read_head(&self.answer)?;
            }
            if let Some(Head { status, begins, ends }) = head
                && let Some(body) = self.answer.get(begins..ends)
            {
                return Ok((status, Bytes::copy_from_slice(body)));
            }
        }
    }
}

/// The head of an answer; none while it is not all there.
fn read_head(answer: &[u8]) -> Result<Option<Head>, BenchError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut read = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(begins) = read.parse(answer).map_err(failed)? else { return Ok(None) };
    let status = StatusCode::from_u16(read.code.unwrap_or(0)).map_err(failed)?;
    let length = read.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length =
        length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| failed("an answer does not say how long it is"))?;
    Ok(Some(Head { status, begins, ends: begins.saturating_add(length) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole_and_its_body_must_have_a_length() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        assert!(read_head(&answer[..30]).unwrap().is_none());
        let Head { status, begins, ends } = read_head(answer).unwrap().unwrap();
        assert_eq!((status, &answer[begins..ends]), (StatusCode::CREATED, &b"hello"[..]));
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
