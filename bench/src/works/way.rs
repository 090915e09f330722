//! How slots come to the nodes over HTTP: each with a connection of its own, or all of a node over one that they share.

use bytes::Bytes;
use hyper::http::HeaderValue;
use hyper::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode, Uri};

use crate::lab::BenchError;
use crate::limits::SHARED_REQUESTS;
use crate::line::Line;
use crate::shared::Shared;

/// Which HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// 1.1: a connection for each request in flight.
    One,
    /// 2: one connection to each node that its requests share, another one for each 512 of them.
    Two,
}

impl Http {
    /// Both, in the order in which they are measured.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];

    /// Its version.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::One => "1.1",
            Self::Two => "2",
        }
    }
}

/// One slot's way to post to one path.
pub(super) enum Way {
    Own { line: Line, path: String },
    Shared { node: Shared, target: Uri },
}

impl Way {
    /// So many, to the doors in turn.
    pub(super) async fn all(
        http: Http,
        doors: &[String],
        count: usize,
        path: &str,
    ) -> Result<Vec<Self>, BenchError> {
        let mut ways: Vec<Self> = Vec::with_capacity(count);
        for (place, door) in doors.iter().cycle().take(count).enumerate() {
            // The slots of one door come each `doors.len()` places.
            let (turn, before) = (place / doors.len().max(1), place.checked_sub(doors.len()));
            let shared = before.and_then(|before| ways.get(before)).and_then(Self::node);
            let way = match (http, shared) {
                (Http::One, _) => Self::Own { line: Line::connect(door).await?, path: path.to_owned() },
                (Http::Two, Some(node)) if turn % SHARED_REQUESTS != 0 => Self::to(node.clone(), path)?,
                (Http::Two, _) => Self::to(Shared::connect(door).await?, path)?,
            };
            ways.push(way);
        }
        Ok(ways)
    }

    fn to(node: Shared, path: &str) -> Result<Self, BenchError> {
        let target = Uri::try_from(format!("http://{}{path}", node.address()));
        let target = target.map_err(|error| BenchError::new("making a request", error))?;
        Ok(Self::Shared { node, target })
    }

    fn node(&self) -> Option<&Shared> {
        match self {
            Self::Own { .. } => None,
            Self::Shared { node, .. } => Some(node),
        }
    }

    /// Posts, and reads the answer.
    pub(super) async fn post(
        &mut self,
        kind: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), BenchError> {
        match self {
            Self::Own { line, path } => line.ask(Method::POST, path, Some((kind, body))).await,
            Self::Shared { node, target } => {
                let mut request = Request::new(());
                *request.method_mut() = Method::POST;
                *request.uri_mut() = target.clone();
                request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
                let answer = node.ask(request, body).await?;
                Ok((answer.status, answer.body))
            }
        }
    }
}
