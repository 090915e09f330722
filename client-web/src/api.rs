//! Calling the API within the process.

use std::convert::Infallible;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::limits::ANSWER_BYTES;
use crate::model::Problem;

/// The API the pages speak to.
#[derive(Clone, Debug)]
pub(crate) struct Api(BoxCloneSyncService<Request<Body>, Response, Infallible>);

/// What it said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The node that answered, by its own word.
    pub(crate) node: String,
    body: Bytes,
}

impl Api {
    pub(crate) fn new<A>(api: A) -> Self
    where
        A: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        A::Future: Send + 'static,
    {
        Self(BoxCloneSyncService::new(api))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Request::builder().method(Method::GET).uri(path), Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, json: &serde_json::Value) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri(path);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.call(request, Body::from(json.to_string())).await
    }

    async fn call(&self, request: axum::http::request::Builder, body: Body) -> Answer {
        let Ok(request) = request.body(body) else {
            return Answer { status: StatusCode::BAD_REQUEST, node: String::new(), body: Bytes::new() };
        };
        let response = match self.0.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let node = response.headers().get("x-understudy-node");
        let node = node.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).unwrap_or_default();
        match to_bytes(response.into_body(), ANSWER_BYTES).await {
            Ok(body) => Answer { status, node, body },
            Err(error) => {
                tracing::warn!(%error, "reading an answer of the API");
                Answer { status: StatusCode::BAD_GATEWAY, node, body: Bytes::new() }
            }
        }
    }
}

impl Answer {
    /// The answer, read; else why there is none.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !self.status.is_success() {
            let problem = serde_json::from_slice(&self.body).unwrap_or_default();
            return Err(Problem { status: self.status.as_u16(), ..problem });
        }
        serde_json::from_slice(&self.body).map_err(|error| Problem {
            status: StatusCode::BAD_GATEWAY.as_u16(),
            detail: format!("reading an answer of the API: {error}"),
            ..Problem::default()
        })
    }

    /// The bytes of a good answer.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.status.is_success().then_some(&*self.body)
    }
}
