//! The routes of a container behind its door. The rules stand around the router and not in it: a layer in there costs every
//! call a copy of all that lies beneath it, and a box or two.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use tower::{BoxError, Service, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanic;

use super::site::make_safe;
use super::{Door, Kind, Problem};

/// What a container answers, with every rule before it and a name for what fails inside.
#[derive(Clone, Debug)]
pub struct Guarded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    door: Door,
    routes: Router,
}

impl Guarded {
    pub(super) fn new(door: Door, routes: Router) -> Self {
        Self { inner: Arc::new(Inner { door, routes }) }
    }
}

impl<B> Service<Request<B>> for Guarded
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let ruled = service_fn(|request| async { Ok(inner.answer(request).await) });
            let asks_head = request.method() == Method::HEAD;
            let answer = CatchPanic::custom(ruled, broken).oneshot(request.map(Body::new)).await;
            let answer = answer.map(|response| response.map(Body::new));
            if asks_head { answer.map(head_of) } else { answer }
        })
    }
}

impl Inner {
    /// All rules before, what keeps browsers safe behind.
    async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let mut response = match self.door.refuses(&head).await {
            Some(refused) => refused,
            None => {
                let stamp = self.door.stamp.as_ref().filter(|_| head.uri.path().starts_with("/api/"));
                let Ok(mut response) = self.routes.clone().call(Request::from_parts(head, body)).await;
                if let Some(stamp) = stamp {
                    *response.headers_mut() = stamp(std::mem::take(response.headers_mut())).await;
                }
                response
            }
        };
        make_safe(response.headers_mut());
        response
    }
}

/// The answer to `HEAD`: with the length that the body would have, and without it. Nobody else leaves it out over HTTP/2.
pub(super) fn head_of(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    if let Some(bytes) = body.size_hint().exact().filter(|bytes| *bytes > 0) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert(bytes.into());
    }
    Response::from_parts(head, Body::empty())
}

fn broken(_: Box<dyn std::any::Any + Send>) -> Response {
    let detail = "answering this failed inside the container; its console says more";
    Problem::new(Kind::Broken, detail).into_response()
}
