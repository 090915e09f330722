//! etcd over gRPC, its slots on one shared connection to each node: a put of a new key stands for an accepted job. Two fields of one
//! message are all that is needed of its protocol, so they are written here.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use tokio::net::TcpStream;

use super::Peer;
use crate::lab::BenchError;
use crate::line::Line;
use crate::load::Slot;
use crate::works::payload;

/// One slot: puts keys of its own, one after the other.
#[derive(Debug)]
pub struct Puts {
    requests: SendRequest<Full<Bytes>>,
    address: String,
    value: Bytes,
    slot: usize,
    keys: u64,
}

fn failed(why: impl std::fmt::Display) -> BenchError {
    BenchError::new("asking etcd", why)
}

impl Puts {
    /// Slots that ask the nodes in turn, as a client does that was told of all of them; those of one node share a connection.
    ///
    /// # Errors
    /// [`BenchError`]: one does not answer.
    pub async fn connect(addresses: &[String], count: usize, bytes: usize) -> Result<Vec<Self>, BenchError> {
        let mut lines = Vec::new();
        for address in addresses {
            lines.push((line(address).await?, address));
        }
        // A run of its own: an earlier one's keys are not put again.
        let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(failed)?;
        let value = payload(bytes);
        let slot = |(slot, (requests, address)): (usize, &(SendRequest<Full<Bytes>>, &String))| Self {
            requests: requests.clone(),
            address: format!("{address}/{}", run.as_micros()),
            value: value.clone(),
            slot,
            keys: 0,
        };
        Ok((0..count).zip(lines.iter().cycle()).map(slot).collect())
    }
}

async fn line(address: &str) -> Result<SendRequest<Full<Bytes>>, BenchError> {
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let (requests, carried) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        // An error shows at the request it broke.
        let _ = carried.await;
    });
    Ok(requests)
}

impl Slot for Puts {
    async fn once(&mut self) -> Result<u64, BenchError> {
        self.keys += 1;
        let key = format!("/jobs/{}/{:05}/{:09}", self.address, self.slot, self.keys);
        let host = self.address.split('/').next().unwrap_or_default();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{host}/etcdserverpb.KV/Put"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(framed(key.as_bytes(), &self.value)))
            .map_err(failed)?;
        self.requests.ready().await.map_err(failed)?;
        let answer = self.requests.send_request(request).await.map_err(failed)?;
        let early = answer.headers().get("grpc-status").cloned();
        let body = answer.into_body().collect().await.map_err(failed)?;
        let status =
            early.or_else(|| body.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned());
        match status {
            Some(status) if status == "0" => Ok(1),
            other => Err(failed(format!("a put ended with status {other:?}"))),
        }
    }
}

/// A gRPC message: not compressed, its length, then the two fields.
fn framed(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(key.len() + value.len() + 16);
    for (tag, field) in [(0x0a, key), (0x12, value)] {
        message.put_u8(tag);
        let mut length = field.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(field);
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// Removes all keys of earlier runs, and what is kept of them.
///
/// # Errors
/// [`BenchError`]: the first node does not answer.
pub async fn empty(peer: &Peer) -> Result<(), BenchError> {
    let mut line = Line::connect(peer.addresses.first().map_or("", String::as_str)).await?;
    // From `/jobs/` to `/jobs0`.
    let all = Bytes::from_static(br#"{"key":"L2pvYnMv","range_end":"L2pvYnMw"}"#);
    let (_, answer) = line.ask(Method::POST, "/v3/kv/deleterange", Some(("application/json", all))).await?;
    let Emptied { header } = serde_json::from_slice(&answer).map_err(failed)?;
    let upto = Bytes::from(format!(r#"{{"revision":"{}","physical":true}}"#, header.revision));
    done(&mut line, "/v3/kv/compaction", upto).await?;
    Ok(())
}

async fn done(line: &mut Line, path: &str, body: Bytes) -> Result<Bytes, BenchError> {
    let (status, answer) = line.ask(Method::POST, path, Some(("application/json", body))).await?;
    if status.is_success() { Ok(answer) } else { Err(failed(format!("{path} was answered with {status}"))) }
}

#[derive(Deserialize)]
struct Emptied {
    header: Revision,
}

#[derive(Deserialize)]
struct Revision {
    revision: String,
}

#[derive(Deserialize)]
struct Status {
    header: Header,
    leader: String,
}

#[derive(Deserialize)]
struct Header {
    member_id: String,
}

/// The place of the node that leads.
///
/// # Errors
/// [`BenchError`]: none says that it leads.
pub async fn leader(peer: &Peer) -> Result<usize, BenchError> {
    for (place, address) in peer.addresses.iter().enumerate() {
        let mut line = Line::connect(address).await?;
        let body = Some(("application/json", Bytes::from_static(b"{}")));
        let (_, answer) = line.ask(Method::POST, "/v3/maintenance/status", body).await?;
        let status: Status = serde_json::from_slice(&answer).map_err(failed)?;
        if status.leader == status.header.member_id {
            return Ok(place);
        }
    }
    Err(failed("none of its nodes leads"))
}
