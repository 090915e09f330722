//! Whoever asks over one connection: one request after the other (HTTP/1.1), or many at once (HTTP/2), up to a bound of its address.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Version};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::sync::Semaphore;
use tower::Service as _;

use super::guarded::head_of;
use super::seated::Seated;
use super::site::make_safe;
use super::{Guarded, Kind, Problem};

/// One connection's end of the door.
pub(super) struct Caller {
    app: Guarded,
    /// Whether a first request has come.
    has_asked: Arc<AtomicBool>,
    /// For requests that share connections: those that have one each are bounded by those.
    room: Arc<Semaphore>,
}

impl Caller {
    pub(super) fn new(app: Guarded, room: Arc<Semaphore>) -> Self {
        Self { app, has_asked: Arc::default(), room }
    }

    /// Ends when nothing was asked for so long from now on; never where something was.
    pub(super) fn silence(&self, patience: Duration) -> impl Future<Output = ()> + Send + use<> {
        let has_asked = Arc::clone(&self.has_asked);
        async move {
            tokio::time::sleep(patience).await;
            if has_asked.load(Ordering::Relaxed) {
                std::future::pending().await
            }
        }
    }
}

impl Service<Request<Incoming>> for Caller {
    type Response = <Guarded as tower::Service<Request<Incoming>>>::Response;
    type Error = <Guarded as tower::Service<Request<Incoming>>>::Error;
    type Future = <Guarded as tower::Service<Request<Incoming>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.has_asked.store(true, Ordering::Relaxed);
        let is_one_of_many = request.version() == Version::HTTP_2;
        let mut app = self.app.clone();
        if !is_one_of_many {
            return app.call(request);
        }
        match Arc::clone(&self.room).try_acquire_owned() {
            Ok(place) => Box::pin(async move {
                let answer = app.call(request).await;
                answer.map(|answer| answer.map(|body| Body::new(Seated::new(body, place))))
            }),
            Err(_) => {
                let detail = "too many requests of this address are under way";
                let mut refused = Problem::new(Kind::Full, detail).not_accepted().into_response();
                make_safe(refused.headers_mut());
                let refused = if request.method() == Method::HEAD { head_of(refused) } else { refused };
                Box::pin(ready(Ok(refused)))
            }
        }
    }
}
