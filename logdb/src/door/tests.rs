//! The rules before every call, at a router without a port.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode};
use axum::routing::post;
use tower::ServiceExt as _;

use super::site::is_foreign;
use super::*;

struct Asked {
    status: StatusCode,
    body: String,
    policy: bool,
}

fn app(chaos: bool) -> Guarded {
    app_asking(chaos, None)
}

fn app_asking(chaos: bool, token: Option<Token>) -> Guarded {
    let valve = Arc::new(Valve::default());
    let (obeys, mut wanted) = (Arc::clone(&valve), valve.watch());
    tokio::spawn(async move {
        while wanted.changed().await.is_ok() {
            obeys.reach(obeys.is_stopped());
        }
    });
    let routes = Router::new().route("/thing", get(async || "thing")).route("/write", post(async || "done"));
    let door = Door::new("client-web", Vec::new(), chaos, valve).asking(token);
    door.guard(routes.merge(door.turns()))
}

async fn ask(app: &Guarded, method: &str, path: &str, headers: &[(&str, &str)]) -> Asked {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost:3001");
    for (name, value) in headers {
        if *name == "host" {
            request.headers_mut().unwrap().remove("host");
        }
        request = request.header(*name, *value);
    }
    let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, policy) = (answer.status(), answer.headers().contains_key("content-security-policy"));
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    Asked { status, policy, body: String::from_utf8(body.to_vec()).unwrap() }
}

#[tokio::test]
async fn what_fails_inside_is_an_answer_with_a_name_and_the_next_call_is_served() {
    let fails = get(async || -> &'static str { panic!("meant to") });
    let door = Door::new("client-web", Vec::new(), false, Arc::new(Valve::default()));
    let app = door.guard(Router::new().route("/fails", fails));
    let broken = ask(&app, "GET", "/fails", &[]).await;
    assert_eq!(broken.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(broken.body.contains("its console says more"), "{}", broken.body);
    assert_eq!(ask(&app, "GET", "/livez", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_shortcut_stands_behind_the_same_rules_as_the_routes() {
    let quick = |request: Request| async move {
        assert!(!request.headers().contains_key("fails"), "meant to");
        "quick".into_response()
    };
    let app = app(true).shortcut(Method::POST, "/write", quick);
    let written = ask(&app, "POST", "/write", &[]).await;
    assert_eq!((written.body.as_str(), written.policy), ("quick", true));
    for (method, path, body) in [("POST", "/write/", "/problems/not-found"), ("GET", "/thing", "thing")] {
        assert!(ask(&app, method, path, &[]).await.body.contains(body), "{method} {path} is no shortcut");
    }
    let get = ask(&app, "GET", "/write", &[]).await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        ask(&app, "POST", "/write", &[("fails", "1")]).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let foreign = ask(&app, "POST", "/write", &[("origin", "http://evil.example")]).await;
    assert!(foreign.body.contains("/problems/cross-site") && foreign.policy, "{}", foreign.body);
    let stranger = ask(&app, "POST", "/write", &[("host", "evil.example")]).await;
    assert!(stranger.body.contains("/problems/wrong-host"), "{}", stranger.body);
    ask(&app, "GET", "/stop", &[]).await;
    assert!(ask(&app, "POST", "/write", &[]).await.body.contains("/problems/stopped"));
    let token = Token::parse(&"t".repeat(TOKEN_LEAST_BYTES)).unwrap();
    let closed = app_asking(true, Some(token)).shortcut(Method::POST, "/write", quick);
    assert_eq!(ask(&closed, "POST", "/write", &[]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn stop_toggles_with_one_word_and_while_stopped_only_the_doors_own_calls_answer() {
    let app = app(true);
    assert_eq!(ask(&app, "GET", "/thing", &[]).await.body, "thing");
    assert_eq!(ask(&app, "GET", "/stop", &[]).await.body, "True");
    let refused = ask(&app, "GET", "/thing", &[]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.body.contains("/problems/stopped") && !refused.body.contains("accepted"));
    assert!(ask(&app, "POST", "/write", &[]).await.body.contains("\"accepted\":false"));
    assert_eq!(ask(&app, "GET", "/livez", &[]).await.status, StatusCode::OK);
    assert_eq!(ask(&app, "GET", "/stop", &[]).await.body, "False");
    assert_eq!(ask(&app, "POST", "/write", &[]).await.body, "done");
}

#[tokio::test]
async fn the_forms_without_a_toggle_may_be_said_twice_and_need_chaos_too() {
    let (stop, resume) = ("/api/v1/nodes/self/stop", "/api/v1/nodes/self/resume");
    let open = app(true);
    for (path, stopped) in [(stop, true), (stop, true), (resume, false), (resume, false)] {
        let told = ask(&open, "POST", path, &[]).await;
        assert_eq!(told.body, format!("{{\"node\":\"client-web\",\"stopped\":{stopped}}}"));
        let thing = ask(&open, "GET", "/thing", &[]).await.status;
        assert_eq!(thing == StatusCode::SERVICE_UNAVAILABLE, stopped, "{path}");
    }
    assert!(ask(&app(false), "POST", stop, &[]).await.body.contains("/problems/chaos-off"));
    assert_eq!(ask(&open, "POST", "/api/v1/nodes/self/nap", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_asks_twice_for_the_same_is_heard_once() {
    let valve = Valve::default();
    let mut wanted = valve.watch();
    valve.turn(true);
    assert!(wanted.has_changed().unwrap() && *wanted.borrow_and_update());
    valve.turn(true);
    assert!(!wanted.has_changed().unwrap());
}

#[tokio::test]
async fn nothing_but_a_meant_get_stops_it() {
    let calm = app(false);
    let refused = ask(&calm, "GET", "/stop", &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body.contains("/problems/chaos-off"), "{}", refused.body);
    let app = app(true);
    for headers in [
        [("origin", "http://evil.example")],
        [("origin", "null")],
        [("referer", "http://localhost:3002/")],
        [("sec-fetch-site", "cross-site")],
        [("sec-purpose", "prefetch;prerender")],
    ] {
        let refused = ask(&app, "GET", "/stop", &headers).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert!(refused.body.contains("/problems/cross-site"));
    }
    assert_eq!(ask(&app, "HEAD", "/stop", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(&app, "GET", "/thing", &[]).await.status, StatusCode::OK, "it was never stopped");
    let page = ask(&app, "GET", "/stop", &[("accept", "text/html")]).await;
    assert!(page.body.contains("<h1>True</h1>"), "{}", page.body);
}

#[tokio::test]
async fn only_own_names_are_answered_and_every_answer_is_guarded() {
    let app = app(true);
    for own in ["localhost", "127.0.0.1:3001", "[::1]:3001", "CLIENT-WEB:3001"] {
        let answer = ask(&app, "GET", "/thing", &[("host", own)]).await;
        assert_eq!((answer.status, answer.policy), (StatusCode::OK, true), "{own}");
    }
    let refused = ask(&app, "GET", "/thing", &[("host", "evil.example")]).await;
    assert_eq!((refused.status, refused.policy), (StatusCode::MISDIRECTED_REQUEST, true));
    let unknown = ask(&app, "GET", "/nothing", &[]).await;
    assert_eq!((unknown.status, unknown.policy), (StatusCode::NOT_FOUND, true));
    assert_eq!(ask(&app, "DELETE", "/thing", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let app = app(true);
    let foreign = ask(&app, "POST", "/write", &[("origin", "http://localhost:9")]).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(&app, "GET", "/thing", &[("sec-fetch-site", "cross-site")]).await.status, StatusCode::OK);
    assert_eq!(
        ask(&app, "POST", "/write", &[("origin", "http://localhost:3001")]).await.status,
        StatusCode::OK
    );
}

const TOKEN: &str = "a-token-that-is-long-enough-to-be-one";

async fn answer(app: &Guarded, request: axum::http::request::Builder, body: &str) -> Response {
    let request = request.header("host", "localhost:3001").body(Body::from(body.to_string())).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn where_a_token_is_asked_for_nothing_but_the_signs_of_life_is_answered_without_it() {
    let app = app_asking(true, Some(Token::parse(TOKEN).unwrap()));
    for (method, path) in [("GET", "/thing"), ("POST", "/write"), ("GET", "/nothing"), ("GET", "/logging")] {
        let refused = ask(&app, method, path, &[]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(refused.body.contains("/problems/unauthorized"), "{}", refused.body);
    }
    let refused = answer(&app, Request::get("/thing"), "").await;
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"understudy\"");
    let named = format!("bearer {TOKEN}");
    assert_eq!(ask(&app, "GET", "/thing", &[("authorization", &named)]).await.body, "thing");
    assert_eq!(ask(&app, "POST", "/write", &[("authorization", &named)]).await.body, "done");
    assert_eq!(ask(&app, "GET", "/livez", &[]).await.status, StatusCode::OK);
    let stop = "/api/v1/nodes/self/stop";
    assert_eq!(ask(&app, "POST", stop, &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&app, "GET", "/stop", &[]).await.body, "True", "curl /stop needs no token");
    assert_eq!(ask(&app, "POST", stop, &[]).await.status, StatusCode::UNAUTHORIZED, "while stopped too");
    assert_eq!(ask(&app, "POST", stop, &[("authorization", &named)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn wrong_tokens_are_401_then_429_and_do_not_lock_the_right_one_out() {
    let app = app_asking(true, Some(Token::parse(TOKEN).unwrap()));
    let wrong = format!("Bearer {}", TOKEN.to_uppercase());
    let mut told = Vec::new();
    for _ in 0..12 {
        told.push(ask(&app, "GET", "/thing", &[("authorization", &wrong)]).await.status);
    }
    assert!(told[..10].iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{told:?}");
    assert_eq!(told[11], StatusCode::TOO_MANY_REQUESTS, "{told:?}");
    let refused = answer(&app, Request::get("/thing").header("authorization", "Basic x"), "").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let named = format!("Bearer {TOKEN}");
    assert_eq!(ask(&app, "GET", "/thing", &[("authorization", &named)]).await.status, StatusCode::OK);
    assert_eq!(
        ask(&app, "GET", "/thing", &[]).await.status,
        StatusCode::UNAUTHORIZED,
        "no token is no guess"
    );
}

#[tokio::test]
async fn people_log_in_once_and_their_browser_is_let_in_from_then_on() {
    let app = app_asking(true, Some(Token::parse(TOKEN).unwrap()));
    let sent = answer(&app, Request::get("/thing?a=b").header("accept", "text/html"), "").await;
    assert_eq!(
        (sent.status(), &sent.headers()["location"]),
        (StatusCode::SEE_OTHER, &HeaderValue::from_static("/login?to=/thing%3Fa%3Db"))
    );
    let page = ask(&app, "GET", "/login?to=/thing%3Fa%3Db", &[]).await;
    assert!(
        page.status == StatusCode::OK && page.policy && page.body.contains("value=\"/thing?a=b\""),
        "{}",
        page.body
    );
    let log_in = |token: &str| {
        let form = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
        (form.header("origin", "http://localhost:3001"), format!("to=%2Fthing%3Fa%3Db&token={token}"))
    };
    let (request, body) = log_in("wrong");
    let refused = answer(&app, request, &body).await;
    assert!(refused.status() == StatusCode::UNAUTHORIZED && !refused.headers().contains_key("set-cookie"));
    let (request, body) = log_in(TOKEN);
    let welcome = answer(&app, request, &body).await;
    assert_eq!(
        (welcome.status(), &welcome.headers()["location"]),
        (StatusCode::SEE_OTHER, &HeaderValue::from_static("/thing?a=b"))
    );
    let cookie = welcome.headers()["set-cookie"].to_str().unwrap().to_string();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    let mark = cookie.split(';').next().unwrap();
    assert_eq!(ask(&app, "GET", "/thing", &[("cookie", &format!("other=1; {mark}"))]).await.body, "thing");
    assert_eq!(
        ask(&app, "GET", "/thing", &[("cookie", &mark[..mark.len() - 2])]).await.status,
        StatusCode::UNAUTHORIZED
    );
    // A page of another site can neither use the mark nor log anybody in.
    let foreign = [("cookie", mark), ("origin", "http://localhost:9")];
    assert_eq!(ask(&app, "POST", "/write", &foreign).await.status, StatusCode::FORBIDDEN);
    let (request, body) = (Request::post("/login").header("origin", "http://evil.example"), log_in(TOKEN).1);
    assert_eq!(answer(&app, request, &body).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ask(&self::app(true), "GET", "/login", &[]).await.status, StatusCode::NOT_FOUND);
}

#[test]
fn only_marks_of_another_site_are_foreign() {
    let of = |target: &str, pairs: &[(&str, &str)]| {
        let builder = axum::http::Request::post(target);
        let named = pairs.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        named.body(()).unwrap().into_parts().0
    };
    let headers = |pairs: &[(&str, &str)]| of("/x", pairs);
    assert!(!is_foreign(&headers(&[("host", "localhost:3002")])), "curl");
    assert!(!is_foreign(&headers(&[
        ("host", "n1:1"),
        ("origin", "http://n1:1"),
        ("sec-fetch-site", "same-origin")
    ])));
    assert!(!is_foreign(&headers(&[("host", "n1:1"), ("referer", "http://n1:1/jobs?x=1")])));
    let in_target = |origin| of("http://n1:1/x", &[("origin", origin)]);
    assert!(!is_foreign(&in_target("http://n1:1")), "HTTP/2 names the host there");
    for foreign in [
        in_target("http://n1:2"),
        headers(&[("host", "n1:1"), ("origin", "null")]),
        headers(&[("host", "n1:1"), ("origin", "http://evil.example")]),
        headers(&[("host", "n1:1"), ("origin", "http://n1:2")]),
        headers(&[("host", "n1:1"), ("referer", "http://evil.example/n1:1")]),
        headers(&[("host", "n1:1"), ("sec-fetch-site", "cross-site")]),
        headers(&[("host", "n1:1"), ("sec-fetch-site", "same-site")]),
    ] {
        assert!(is_foreign(&foreign), "{foreign:?}");
    }
}
