//! The pages against a pretended API.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower::ServiceExt;

const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const EVIL: &str = "\"><script>window.__x=1</script><img src=x onerror=alert(1)>\u{202e}\u{1b}[31m";

/// What the API gives, and what it was asked.
#[derive(Clone, Default)]
struct Fake {
    quorum: bool,
    refusal: Option<(u16, Value)>,
    /// Members of the job that are otherwise.
    job: Vec<(&'static str, Value)>,
    asked: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
}

fn job(text: &str) -> Value {
    json!({
        "id": ID, "class": text, "state": "succeeded", "reason": null, "text": text, "submitter": text,
        "payload_excerpt": text, "payload_bytes": 9, "submitted_at": "2026-01-01T00:00:00.000Z", "rev": "0.1.0",
        "attempts": [{"number": 1, "node": text, "term": 1, "state": "succeeded", "exit_code": 0}],
        "result": {"output": text, "output_bytes": 9, "error": text, "truncated": true},
    })
}

async fn api(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 9 << 20).await.unwrap();
    let line = format!("{} {}", parts.method, parts.uri);
    fake.asked.lock().unwrap().push((line, parts.headers, String::from_utf8(body.to_vec()).unwrap()));
    let node = json!({"name": EVIL, "role": "leader", "alive": true, "classes": [EVIL], "cpu_percent": 7});
    let mut answer = match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/api/v1/status") => {
            let open = fake.quorum;
            Json(json!({"node": "n1", "leader": EVIL, "quorum": open, "open": open, "nodes": [node]}))
                .into_response()
        }
        ("GET", "/api/v1/jobs") => Json(json!({"items": [job(EVIL)], "rev": "0.1.0"})).into_response(),
        ("GET", path) if path.ends_with("/payload") => EVIL.into_response(),
        ("GET", path) if path.ends_with("/why") => {
            let verdict = json!({"name": "n2", "fits": false, "reasons": [{"code": "class", "text": EVIL}]});
            Json(json!({"text": "waits for <n2>", "nodes": [verdict]})).into_response()
        }
        ("GET", _) => {
            let mut shown = job(EVIL);
            for (name, value) in &fake.job {
                shown[*name] = value.clone();
            }
            Json(shown).into_response()
        }
        _ => match fake.refusal {
            Some((status, problem)) => (StatusCode::from_u16(status).unwrap(), Json(problem)).into_response(),
            None => (StatusCode::CREATED, Json(job("x"))).into_response(),
        },
    };
    answer.headers_mut().insert("x-understudy-node", "n1".parse().unwrap());
    answer
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn visit(fake: &Fake, request: Request) -> Page {
    let app = crate::router(Router::new().fallback(api).with_state(fake.clone()));
    let response = app.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, 9 << 20).await.unwrap().to_vec()).unwrap();
    Page { status: parts.status, headers: parts.headers, text }
}

async fn get(fake: &Fake, path: &str) -> Page {
    visit(fake, Request::get(path).body(Body::empty()).unwrap()).await
}

/// Sends the form as a browser does that has loaded the page before.
async fn submit(fake: &Fake, form: &str) -> Page {
    let page = get(fake, "/").await;
    let cookie = page.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_string();
    let token = cookie.split_once('=').unwrap().1.to_string();
    let request = Request::post("/submit")
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("token={token}&{form}")));
    visit(fake, request.unwrap()).await
}

fn calm() -> Fake {
    Fake { quorum: true, ..Fake::default() }
}

#[tokio::test]
async fn the_first_page_has_what_scripts_look_for() {
    let page = get(&calm(), "/").await;
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "id=\"class\"",
        "id=\"payload\"",
        ">Submit job</button>",
        &format!("data-job-id=\"{ID}\" data-state=\"succeeded\""),
        "data-role=\"leader\" data-stopped=\"false\"",
        "id=\"conn\"",
        "<strong id=\"node\">n1</strong>",
    ] {
        assert!(page.text.contains(part), "{part}\n{}", page.text);
    }
    assert!(!page.text.contains("role=\"alert\""));
}

#[tokio::test]
async fn the_loss_of_a_majority_is_an_alert() {
    let page = get(&Fake::default(), "/").await;
    assert!(page.text.contains("<p role=\"alert\">No majority"), "{}", page.text);
}

#[tokio::test]
async fn foreign_text_stays_text_on_every_page() {
    for path in ["/".to_string(), format!("/jobs/{ID}")] {
        let page = get(&calm(), &path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("window.__x=1"), "it is shown: {path}");
        assert!(!page.text.contains("<script>window") && !page.text.contains("<img"), "{}", page.text);
        assert_eq!(page.text.matches("<script").count(), 1, "our own script alone");
        assert!(!page.text.contains(" onerror=alert(1)>"), "{}", page.text);
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"));
        assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}

#[tokio::test]
async fn a_waiting_jobs_page_says_what_each_node_lacks() {
    let waits = Fake { job: vec![("state", json!("queued")), ("attempts", json!([]))], ..calm() };
    let page = get(&waits, &format!("/jobs/{ID}")).await.text;
    assert!(page.contains("waits for &#60;n2&#62;") && page.contains("Cancel job"), "{page}");
    assert!(page.contains("<li data-node=\"n2\" data-fits=\"false\">") && !page.contains("<img"), "{page}");
    assert!(!page.contains("Submit it again"));
}

#[tokio::test]
async fn a_running_jobs_page_shows_how_far_it_is_and_a_failed_one_offers_to_repeat_it() {
    let progress = json!({"value": 0.4, "text": EVIL});
    let runs = Fake { job: vec![("state", json!("running")), ("progress", progress)], ..calm() };
    let page = get(&runs, &format!("/jobs/{ID}")).await.text;
    assert!(page.contains("<progress max=\"1\" value=\"0.4\"") && !page.contains("<img"), "{page}");
    let failed = Fake { job: vec![("state", json!("failed")), ("retry_of", json!(ID))], ..calm() };
    let page = get(&failed, &format!("/jobs/{ID}")).await.text;
    assert!(page.contains("Submit it again") && page.contains(&format!("<a href=\"/jobs/{ID}\">")), "{page}");
    assert!(!page.contains("Cancel job") && !page.contains("<progress"));
}

#[tokio::test]
async fn a_form_becomes_one_job_with_the_key_the_page_made() {
    let fake = calm();
    let page = submit(&fake, "key=0123456789abcdef&class=sh&payload=read+a%0D%0Aecho+%22%24a%22").await;
    assert_eq!(
        (page.status, page.headers[header::LOCATION].to_str().unwrap()),
        (StatusCode::SEE_OTHER, &*format!("/jobs/{ID}"))
    );
    let asked = fake.asked.lock().unwrap();
    let (line, headers, body) = asked.last().unwrap();
    assert_eq!(
        (line.as_str(), headers["idempotency-key"].to_str().unwrap()),
        ("POST /api/v1/jobs", "0123456789abcdef")
    );
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        json!({"class": "sh", "payload": "read a\necho \"$a\""}),
        "lines end as they were typed"
    );
}

#[tokio::test]
async fn a_form_of_another_site_makes_no_job() {
    let fake = calm();
    let forged = Request::post("/submit")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("token=0123456789abcdef0123456789abcdef&class=sh&payload=x"));
    assert_eq!(visit(&fake, forged.unwrap()).await.status, StatusCode::FORBIDDEN);
    for what in ["cancel", "retry"] {
        let pressed = Request::post(format!("/jobs/{ID}/{what}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("token="));
        assert_eq!(visit(&fake, pressed.unwrap()).await.status, StatusCode::FORBIDDEN);
    }
    assert!(fake.asked.lock().unwrap().iter().all(|(line, _, _)| line.starts_with("GET ")));
}

#[tokio::test]
async fn a_refusal_is_told_and_what_was_typed_stays() {
    let problem = |word: &str| json!({"type": format!("/problems/{word}"), "detail": "class has 201 bytes"});
    let fake = Fake { refusal: Some((422, problem("invalid"))), ..calm() };
    let page = submit(&fake, "key=00ff&class=zz&payload=typed%0D%0Atext").await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    for part in [
        "The job was not accepted: class has 201 bytes.",
        "value=\"zz\"",
        "typed\r\ntext</textarea>",
        "value=\"00ff\"",
    ] {
        assert!(page.text.contains(part), "{part}\n{}", page.text);
    }
    let reused = Fake { refusal: Some((422, problem("key-reused"))), ..calm() };
    let page = submit(&reused, "key=00ff&class=zz&payload=x").await;
    assert!(!page.text.contains("value=\"00ff\""), "the next submission is a new one");
    let unknown = Fake { refusal: Some((503, problem("outcome-unknown"))), ..calm() };
    let page = submit(&unknown, "key=00ff&class=zz&payload=x").await;
    assert!(page.text.contains("value=\"00ff\""), "the next submission is the same one");
}

#[tokio::test]
async fn a_form_that_is_too_large_is_told_so() {
    let fake = calm();
    let page = submit(&fake, &format!("class=echo&payload={}", "x".repeat(crate::limits::FORM_BYTES))).await;
    assert_eq!(page.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(page.text.contains("1048576 bytes"), "{}", page.text);
}

#[tokio::test]
async fn a_path_that_is_no_job_is_a_page_that_says_so() {
    let page = get(&calm(), "/jobs/..%2F..%2Fstatus").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("26 characters"), "{}", page.text);
}

#[tokio::test]
async fn style_and_script_come_from_here() {
    for (path, kind) in [("/assets/understudy.css", "text/css"), ("/assets/understudy.js", "text/javascript")]
    {
        let asset = get(&calm(), path).await;
        assert!(asset.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind));
        assert!(
            !asset.text.contains("http://") && !asset.text.contains("https://"),
            "{path} asks no other host"
        );
        assert!(!asset.text.contains("innerHTML"), "{path}");
    }
}
