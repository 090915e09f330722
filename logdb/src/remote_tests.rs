//! A log store asked from elsewhere: a pretended one, then none.

use axum::body::to_bytes;
use axum::extract::Request;
use tokio::net::TcpListener;

use super::*;

const JOB: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// A store that answers everything in one way, and its address.
async fn store(status: StatusCode, body: &'static str) -> (Remote, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(move |request: Request| async move {
        let asked = request.uri().to_string();
        (status, [("content-type", "application/json")], body.replace("ASKED", &asked))
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (stop, stopped) = watch::channel(false);
    (Remote::new(&base, None, stopped).unwrap(), stop)
}

async fn told(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_question_is_passed_on_as_it_is_and_so_is_an_answer_that_blames_it() {
    let (remote, _stop) = store(StatusCode::OK, "\"ASKED\"").await;
    let asked = told(remote.logs(Some("job=x&limit=2")).await).await;
    assert_eq!(asked, (200, "\"/api/v1/logs?job=x&limit=2\"".to_string()));
    let (remote, _stop) = store(StatusCode::BAD_REQUEST, "{\"type\":\"/problems/malformed\"}").await;
    assert_eq!(told(remote.logs(Some("limit=x")).await).await.0, 400);
}

#[tokio::test]
async fn a_store_that_is_away_or_cannot_answer_is_one_problem() {
    let (_stop, stopped) = watch::channel(false);
    let gone = Remote::new("http://127.0.0.1:1", None, stopped).unwrap();
    for remote in [gone, store(StatusCode::SERVICE_UNAVAILABLE, "stopped").await.0] {
        let (status, body) = told(remote.logs(None).await).await;
        assert!(status == 503 && body.contains("/problems/log-store-away"), "{body}");
        assert!(body.contains(&remote.base), "it names the store: {body}");
        assert!(body.contains("refused") || body.contains("it answers 503"), "and why: {body}");
        assert!(remote.of_job(JOB.parse().unwrap(), 9).await.is_none());
    }
}

#[tokio::test]
async fn the_lines_of_a_job_are_read_as_records() {
    let page = r#"{"items":[{"n":7,"container":1,"source":"a/1","seq":3,"time":"2026-01-01T00:00:00.000Z","level":"info",
        "event":"accepted","job":"01ARZ3NDEKTSV4RRFFQ69G5FAV","node":"a","message":"Created"}],"next":null}"#;
    let (remote, _stop) = store(StatusCode::OK, page).await;
    let lines = remote.of_job(JOB.parse().unwrap(), 9).await.unwrap();
    assert_eq!((lines.len(), lines[0].seq, lines[0].message.as_str()), (1, 3, "Created"));
}

#[test]
fn an_address_is_one_of_a_host_and_a_port() {
    let made = |base: &str| Remote::new(base, None, watch::channel(false).1).map(|remote| remote.base);
    assert_eq!(made("http://database:3003/").unwrap(), "http://database:3003");
    for bad in ["database:3003", "https://a:1", "http://a:1/x", "http://u@a:1", "", "tcp://a:9995"] {
        assert!(matches!(made(bad), Err(RemoteError::Address { .. })), "{bad}");
    }
}
