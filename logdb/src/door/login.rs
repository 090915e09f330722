//! Who may come in where a token is asked for: programs name it in a header, people once on the page `/login`.
//!
//! ```text
//!   Authorization: Bearer TOKEN ──▶ in            wrong ─▶ 401, after some of them 429
//!   browser without a mark ──303──▶ /login ──TOKEN──▶ a mark in a cookie, good for 12 hours
//! ```
//! A right token is always let in: wrong ones of somebody else must not lock its bearer out. What keeps guessers out is
//! the token's length.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::{Door, Kind, Problem, Token};
use crate::record::now_ms;

/// Wrong tries in a row until they are answered 429.
const TRIES: u32 = 10;
/// One try more after each of these.
const TRY_EVERY: Duration = Duration::from_secs(6);
/// How long a browser need not name the token again.
const MARK_S: u64 = 12 * 3600;
/// The cookie.
const COOKIE: &str = "understudy_page";
/// Body of the login form.
const FORM_BYTES: usize = 4 << 10;
/// Longest place to go to after the login.
const PLACE_BYTES: usize = 1 << 10;

/// The token asked for, and what wrong ones were given of late.
#[derive(Debug)]
pub(super) struct Asked {
    token: Token,
    guesses: Mutex<Guesses>,
}

/// Wrong tries, forgotten one by one.
#[derive(Debug)]
struct Guesses {
    count: u32,
    since: Instant,
}

impl Guesses {
    /// Counts a wrong try; false: there were too many.
    fn count(&mut self, now: Instant) -> bool {
        let periods = now.duration_since(self.since).as_secs() / TRY_EVERY.as_secs();
        if periods > 0 {
            self.count = self.count.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
            self.since = now;
        }
        let fits = self.count < TRIES;
        self.count = (self.count + 1).min(TRIES);
        fits
    }
}

/// What a request says of its bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bearer {
    Right,
    Wrong,
    Unnamed,
}

impl Asked {
    pub(super) fn new(token: Token) -> Self {
        Self { token, guesses: Mutex::new(Guesses { count: 0, since: Instant::now() }) }
    }

    fn bearer(&self, headers: &HeaderMap) -> Bearer {
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            let token = given.as_bytes().split_first_chunk::<7>();
            let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
            let is_right = token.is_some_and(|(_, token)| self.token.is(token.trim_ascii()));
            return if is_right { Bearer::Right } else { Bearer::Wrong };
        }
        let now_s = now_ms() / 1000;
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        // A mark that is too old is no guess.
        let is_marked = pairs.any(|(name, mark)| name == COOKIE && self.token.made(mark, now_s));
        if is_marked { Bearer::Right } else { Bearer::Unnamed }
    }

    /// The answer to a wrong token.
    fn wrong(&self) -> Problem {
        let fits = self.guesses.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
        if fits {
            return Problem::new(Kind::Unauthorized, "this is not the token").not_accepted();
        }
        Problem::new(Kind::RateLimited, "too many wrong tokens were given; try again later").not_accepted()
    }
}

impl Door {
    /// Lets in who names the token; sends people to the login page.
    pub(super) fn refuses_stranger(&self, request: &Parts) -> Option<Response> {
        let asked = self.asked.as_ref()?;
        // `/stop` has its own rules: it is off unless allowed, and no page of another site turns it.
        if matches!(request.uri.path(), "/livez" | "/readyz" | "/stop" | "/login") {
            return None;
        }
        match asked.bearer(&request.headers) {
            Bearer::Right => None,
            Bearer::Wrong => Some(asked.wrong().into_response()),
            Bearer::Unnamed if is_for_people(request) => {
                let place = request.uri.path_and_query().map_or("/", |place| place.as_str());
                Some(see_other(&format!("/login?to={}", in_query(place))))
            }
            Bearer::Unnamed => {
                let detail = "name the token: Authorization: Bearer TOKEN";
                Some(Problem::new(Kind::Unauthorized, detail).not_accepted().into_response())
            }
        }
    }

    /// It, asking for this token wherever it is not open to all: `/livez`, `/readyz`, `/stop` and `/login` are.
    #[must_use]
    pub fn asking(self, token: Option<Token>) -> Self {
        Self { asked: token.map(|token| Arc::new(Asked::new(token))), ..self }
    }
}

fn is_for_people(request: &Parts) -> bool {
    let accept = request.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    request.method == axum::http::Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// `/login`; part of [`Door::guard`] where a token is asked for.
pub(super) fn routes(door: &Door) -> Router {
    let Some(asked) = &door.asked else { return Router::new() };
    Router::new()
        .route("/login", get(page).post(log_in))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .with_state(Arc::clone(asked))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    token: String,
    to: String,
}

async fn page(Query(said): Query<Said>) -> Response {
    form(&said.to, "").into_response()
}

async fn log_in(
    State(asked): State<Arc<Asked>>,
    said: Result<Form<Said>, axum::extract::rejection::FormRejection>,
) -> Response {
    let Ok(Form(said)) = said else {
        return Problem::new(Kind::Malformed, "the form cannot be read").into_response();
    };
    if !asked.token.is(said.token.trim().as_bytes()) {
        let problem = asked.wrong();
        let (status, told) = match problem.kind {
            Kind::RateLimited => return problem.into_response(),
            _ => (StatusCode::UNAUTHORIZED, "<p role=\"alert\">This is not the token.</p>"),
        };
        return (status, form(&said.to, told)).into_response();
    }
    let mark = asked.token.mark(now_ms() / 1000 + MARK_S);
    let cookie =
        mark.map(|mark| format!("{COOKIE}={mark}; Path=/; Max-Age={MARK_S}; HttpOnly; SameSite=Strict"));
    let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) else {
        return Problem::new(Kind::Broken, "no mark could be made; the system has no randomness")
            .into_response();
    };
    let mut response = see_other(place(&said.to));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

fn see_other(place: &str) -> Response {
    let place = HeaderValue::try_from(place).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// A place of this container, never of another one.
fn place(to: &str) -> &str {
    let is_own = to.starts_with('/') && !to.starts_with("//") && to.len() <= PLACE_BYTES;
    if is_own && to.bytes().all(|c| c.is_ascii_graphic() && c != b'\\') { to } else { "/" }
}

/// Text as a value in a query.
fn in_query(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/-_.~".contains(&c);
    text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

fn form(to: &str, told: &str) -> Html<String> {
    let to = place(to).replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Log in</title></head><body>\
         <main><h1>Log in</h1>{told}<form method=\"post\" action=\"/login\">\
         <input type=\"hidden\" name=\"to\" value=\"{to}\">\
         <p><label>Token <input type=\"password\" name=\"token\" autocomplete=\"current-password\" required autofocus></label></p>\
         <p><button>Log in</button></p></form></main></body></html>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tries_are_forgotten_one_by_one() {
        let start = Instant::now();
        let mut guesses = Guesses { count: 0, since: start };
        let told = |guesses: &mut Guesses, now| (0..100).filter(|_| guesses.count(now)).count();
        assert_eq!(told(&mut guesses, start), TRIES as usize);
        assert_eq!(told(&mut guesses, start + TRY_EVERY * 3), 3);
        assert_eq!(told(&mut guesses, start + TRY_EVERY * 1_000), TRIES as usize);
    }

    #[test]
    fn a_login_leads_to_a_place_of_ours() {
        assert_eq!(place("/logging?after=3"), "/logging?after=3");
        for foreign in ["//evil.example", "https://evil.example", "/\\evil.example", "", "x", "/a\nb"] {
            assert_eq!(place(foreign), "/", "{foreign}");
        }
        assert_eq!(in_query("/a?b=c&d"), "/a%3Fb%3Dc%26d");
        let Html(page) = form("/\"><script>", "");
        assert!(!page.contains("<script>"), "{page}");
    }
}
