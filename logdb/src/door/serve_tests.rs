//! The accept loop on loopback: both versions of HTTP at one port, and their bounds.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Barrier, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::*;
use crate::door::{Door, Valve};

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn served(routes: Router, shutdown: impl Future<Output = ()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Door::new("client-web", Vec::new(), false, Arc::new(Valve::default())).guard(routes);
    tokio::spawn(serve(listener, app, shutdown));
    address
}

/// A connection of HTTP/2, and the task that carries it.
async fn shared(address: SocketAddr) -> (SendRequest<Empty<Bytes>>, JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, carried) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (requests, tokio::spawn(async move { carried.await.unwrap() }))
}

async fn asked(mut requests: SendRequest<Empty<Bytes>>, url: String) -> (StatusCode, String) {
    let request = hyper::Request::get(url).body(Empty::new()).unwrap();
    let answer = requests.send_request(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn many_requests_are_under_way_on_one_connection_and_a_port_speaks_both_versions() {
    const MANY: usize = 100;
    let all = Arc::new(Barrier::new(MANY));
    let meet = get(async move || {
        all.wait().await;
        "met"
    });
    let address = served(Router::new().route("/meet", meet), std::future::pending()).await;
    let (requests, _) = shared(address).await;
    let mut met = JoinSet::new();
    for _ in 0..MANY {
        met.spawn(asked(requests.clone(), format!("http://{address}/meet")));
    }
    assert!(met.join_all().await.into_iter().all(|answer| answer == (StatusCode::OK, "met".to_owned())));
    let (status, told) = asked(requests, String::from("http://evil.example/meet")).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{told}");

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn more_than_an_address_may_have_under_way_are_refused_and_the_next_ones_are_not() {
    let (came, mut waiting) = watch::channel(0);
    let (open, gate) = watch::channel(false);
    let wait = get(async move || {
        came.send_modify(|count| *count += 1);
        gate.clone().wait_for(|open| *open).await.unwrap();
    });
    let address = served(Router::new().route("/wait", wait), std::future::pending()).await;
    let url = format!("http://{address}/wait");
    let mut under_way = JoinSet::new();
    for _ in 0..REQUESTS_ADDRESS / REQUESTS_CONNECTION as usize {
        let (requests, _) = shared(address).await;
        for _ in 0..REQUESTS_CONNECTION {
            under_way.spawn(asked(requests.clone(), url.clone()));
        }
    }
    waiting.wait_for(|count| *count == REQUESTS_ADDRESS).await.unwrap();
    let (mut requests, _) = shared(address).await;
    let refused = requests.send_request(hyper::Request::get(&url).body(Empty::new()).unwrap()).await.unwrap();
    assert!(refused.headers().contains_key("content-security-policy"), "{refused:?}");
    let (status, told) = asked(requests.clone(), url.clone()).await;
    assert!(
        status == StatusCode::TOO_MANY_REQUESTS && told.contains("\"accepted\":false"),
        "{status}: {told}"
    );
    open.send(true).unwrap();
    let answers = under_way.join_all().await;
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(asked(requests, url).await.0, StatusCode::OK);
}

#[tokio::test]
async fn answers_that_nobody_reads_keep_their_places_until_they_are_sent() {
    let address =
        served(Router::new().route("/long", get(async || "0123456789")), std::future::pending()).await;
    let request =
        || hyper::Request::get(format!("http://{address}/long")).body(Empty::<Bytes>::new()).unwrap();
    let mut unread = Vec::new();
    for _ in 0..REQUESTS_ADDRESS / REQUESTS_CONNECTION as usize {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let mut manner = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut requests, carried) = manner.initial_stream_window_size(1).handshake(stream).await.unwrap();
        tokio::spawn(carried);
        for _ in 0..REQUESTS_CONNECTION {
            unread.push(requests.send_request(request()).await.unwrap());
        }
    }
    let (requests, _) = shared(address).await;
    let url = format!("http://{address}/long");
    assert_eq!(asked(requests.clone(), url.clone()).await.0, StatusCode::TOO_MANY_REQUESTS);
    for answer in unread {
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "0123456789");
    }
    assert_eq!(asked(requests, url).await, (StatusCode::OK, "0123456789".to_owned()));
}

#[tokio::test]
async fn a_head_has_no_body_whoever_answers_it() {
    let fails = get(async || -> &'static str { panic!("meant to") });
    let routes = Router::new().route("/fails", fails).route("/thing", get(async || "thing"));
    let address = served(routes, std::future::pending()).await;
    let (mut requests, _) = shared(address).await;
    for (host, path, status) in [
        (address.to_string().as_str(), "/thing", StatusCode::OK),
        (address.to_string().as_str(), "/unknown", StatusCode::NOT_FOUND),
        (address.to_string().as_str(), "/fails", StatusCode::INTERNAL_SERVER_ERROR),
        ("evil.example", "/thing", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let request = hyper::Request::head(format!("http://{host}{path}")).body(Empty::new()).unwrap();
        let answer = requests.send_request(request).await.unwrap();
        let length =
            answer.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
        assert!(answer.status() == status && length > Some(0_u64), "{host}{path}: {answer:?}");
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_nothing_is_closed_however_far_he_came() {
    let address = served(Router::new(), std::future::pending()).await;
    let settings = format!("{PREFACE}\0\0\0\x04\0\0\0\0\0");
    for said in ["", "P", "PRI * HTTP/2.0\r\n", PREFACE, &settings, "GET /livez HTTP/1.1\r\nhost: loc"] {
        let began = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(said.as_bytes()).await.unwrap();
        // What it is told meanwhile, or that it was cut off, does not matter.
        let _ = silent.read_to_end(&mut Vec::new()).await;
        let took = began.elapsed();
        assert!((HEAD_PATIENCE..HEAD_PATIENCE * 2).contains(&took), "{said:?}: {took:?}");
    }
}

#[tokio::test]
async fn when_the_server_ends_what_is_under_way_may_end() {
    let (came, mut waiting) = watch::channel(false);
    let (end, ended) = oneshot::channel::<()>();
    let (open, gate) = watch::channel(false);
    let wait = get(async move || {
        came.send_replace(true);
        gate.clone().wait_for(|open| *open).await.unwrap();
        "done"
    });
    let address = served(Router::new().route("/wait", wait), async { drop(ended.await) }).await;
    let (requests, carried) = shared(address).await;
    let asking = tokio::spawn(asked(requests, format!("http://{address}/wait")));
    waiting.wait_for(|came| *came).await.unwrap();
    end.send(()).unwrap();
    open.send(true).unwrap();
    assert_eq!(asking.await.unwrap(), (StatusCode::OK, "done".to_owned()));
    carried.await.unwrap();
}
