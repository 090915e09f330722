//! The routes of a container behind its door. The rules stand around the router and not in it: a layer in there costs every
//! call a copy of all that lies beneath it, and a box or two.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use tower::{BoxError, Service, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanic;

use super::site::make_safe;
use super::{Door, Kind, Problem};

/// An answer that is being made.
type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What a container answers, with every rule before it and a name for what fails inside.
#[derive(Clone, Debug)]
pub struct Guarded {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    door: Door,
    routes: Router,
    shortcut: Option<Shortcut>,
}

/// The one call that most of the traffic is.
#[derive(Clone)]
struct Shortcut {
    method: Method,
    path: &'static str,
    answer: Arc<dyn Fn(Request) -> Answering + Send + Sync>,
}

impl fmt::Debug for Shortcut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shortcut({} {})", self.method, self.path)
    }
}

impl Shortcut {
    fn fits(&self, head: &Parts) -> bool {
        head.method == self.method && head.uri.path() == self.path
    }
}

impl Guarded {
    pub(super) fn new(door: Door, routes: Router) -> Self {
        Self { inner: Arc::new(Inner { door, routes, shortcut: None }) }
    }

    /// It, which answers this call of its routes as they would, without looking for it among them: a router takes a request through half
    /// a dozen boxes.
    #[must_use]
    pub fn shortcut<A, F>(self, method: Method, path: &'static str, answer: A) -> Self
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let shortcut = Shortcut { method, path, answer: Arc::new(move |request| Box::pin(answer(request))) };
        Self { inner: Arc::new(Inner { shortcut: Some(shortcut), ..Arc::unwrap_or_clone(self.inner) }) }
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
                let mut response = self.routed(head, body).await;
                if let Some(stamp) = stamp {
                    *response.headers_mut() = stamp(std::mem::take(response.headers_mut())).await;
                }
                response
            }
        };
        make_safe(response.headers_mut());
        response
    }

    /// What the routes answer.
    async fn routed(&self, head: Parts, body: Body) -> Response {
        if let Some(shortcut) = self.shortcut.as_ref().filter(|shortcut| shortcut.fits(&head)) {
            return (shortcut.answer)(Request::from_parts(head, body)).await;
        }
        // In a box: the way of a request has room for both ways, and most go the other.
        let Ok(response) = Box::pin(self.routes.clone().call(Request::from_parts(head, body))).await;
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
