//! etcd over gRPC, its slots on one shared connection to each node: a put of a new key stands for an accepted job. Two fields of one
//! message are all that is needed of its protocol, so they are written here.

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::{Method, Request};
use serde::Deserialize;

use super::Peer;
use crate::lab::BenchError;
use crate::line::Line;
use crate::load::Slot;
use crate::shared::Shared;
use crate::works::payload;

/// One slot: puts keys of its own, one after the other.
#[derive(Debug)]
pub struct Puts {
    node: Shared,
    keys: String,
    value: Bytes,
    put: u64,
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
        let mut nodes = Vec::new();
        for address in addresses {
            nodes.push(Shared::connect(address).await?);
        }
        // A run of its own: an earlier one's keys are not put again.
        let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(failed)?;
        let value = payload(bytes);
        let slot = |(slot, node): (usize, &Shared)| Self {
            node: node.clone(),
            keys: format!("/jobs/{}/{}/{slot:05}", node.address(), run.as_micros()),
            value: value.clone(),
            put: 0,
        };
        Ok((0..count).zip(nodes.iter().cycle()).map(slot).collect())
    }
}

impl Slot for Puts {
    async fn once(&mut self) -> Result<u64, BenchError> {
        self.put += 1;
        let key = format!("{}/{:09}", self.keys, self.put);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/etcdserverpb.KV/Put", self.node.address()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(failed)?;
        let answer = self.node.ask(request, framed(key.as_bytes(), &self.value)).await?;
        // An answer that is a failure may say so at once.
        let status = answer.trailers.get("grpc-status").or_else(|| answer.headers.get("grpc-status"));
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
