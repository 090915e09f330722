//! What stands before every call: the soft crash, the `Host` allow-list, the refusal of other sites, and what every answer carries.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::desk::Desk;
use super::problem::{Kind, Problem};

/// While stopped only what the public surface names is answered.
pub(super) async fn stopped_gate(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    if !desk.is_stopped() || answers_while_stopped(request.uri().path(), &desk.served.settings.name) {
        return next.run(request).await;
    }
    let is_write = !matches!(*request.method(), Method::GET | Method::HEAD);
    let problem = Problem::stopped();
    if is_write { problem.not_accepted().into_response() } else { problem.into_response() }
}

fn answers_while_stopped(path: &str, own_name: &str) -> bool {
    let turns = |name: &str| {
        path.strip_prefix("/api/v1/nodes/")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest == "/stop" || rest == "/resume")
    };
    matches!(path, "/stop" | "/livez" | "/logging")
        || path.starts_with("/logging/")
        || turns("self")
        || turns(own_name)
}

/// Answers only to its own names, so that a foreign name made to point here (DNS rebinding) reads and writes nothing.
pub(super) async fn host(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let asked = asked_host(&request);
    match asked {
        Some(host) if !is_allowed(&desk, &host).await => {
            let host: String = host.chars().take(200).collect();
            let detail = format!("{host:?} is no name of this node; names are added by http.allowed_hosts");
            Problem::new(Kind::WrongHost, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

/// The host a request names: in its target, else in its `Host` header. Browsers always name one.
fn asked_host(request: &Request) -> Option<String> {
    if let Some(host) = request.uri().host() {
        return Some(host.to_string());
    }
    let value = request.headers().get(header::HOST)?;
    Some(host_of(value.to_str().unwrap_or("?")).to_string())
}

/// `HOST[:PORT]` without its port.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

async fn is_allowed(desk: &Desk, host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let same = |name: &str| name.eq_ignore_ascii_case(host);
    let settings = &desk.served.settings;
    if host.parse::<IpAddr>().is_ok()
        || same("localhost")
        || same(&settings.name)
        || same(&settings.advertise)
        || same(&settings.listen_host)
        || settings.allowed_hosts.iter().any(|name| same(name))
    {
        return true;
    }
    let known =
        |seen: Option<super::desk::Seen>| seen.is_some_and(|seen| seen.hosts.iter().any(|name| same(name)));
    known(desk.remembered()) || known(desk.seen().await)
}

/// Refuses what a page of another site makes a browser send: every changing call, and `/stop`.
pub(super) async fn cross_site(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let stops = request.uri().path() == "/stop";
    if (!reads || stops) && is_foreign(request.headers()) {
        let detail = "a page of another site may not do this; use the pages of this node, or a program";
        return Problem::new(Kind::CrossSite, detail).not_accepted().into_response();
    }
    next.run(request).await
}

/// Whether the marks of a browser say that another site is behind a request.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetch_site = text(HeaderName::from_static("sec-fetch-site"));
    if fetch_site.is_some_and(|site| !matches!(site, "none" | "same-origin")) {
        return true;
    }
    let own = text(header::HOST).unwrap_or("");
    let of_other = |origin: &str| {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
        !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(own))
    };
    text(header::ORIGIN).is_some_and(of_other) || text(header::REFERER).is_some_and(of_other)
}

/// Whether a browser only guesses that somebody may want this.
pub(super) fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"]
        .into_iter()
        .filter_map(|name| headers.get(name))
        .any(|value| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("prefetch")))
}

/// Who answers, who leads, and up to where this node has applied: on every answer of the API.
pub(super) async fn headers(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let seen = desk.seen().await;
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    };
    set("x-understudy-node", &desk.served.settings.name);
    if let Some(seen) = seen {
        set("x-understudy-leader", seen.leader.as_deref().unwrap_or(""));
        set("x-understudy-term", &seen.term.to_string());
        set("x-understudy-index", &seen.index.to_string());
    }
    response
}

/// What keeps a browser from running anything of an answer, and from storing it.
pub(super) async fn safe(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_host_does_not_count() {
        for (authority, host) in [
            ("localhost:3002", "localhost"),
            ("a.b", "a.b"),
            ("[::1]:3002", "::1"),
            ("[::1]", "::1"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }

    #[test]
    fn only_marks_of_another_site_are_foreign() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
        };
        assert!(!is_foreign(&headers(&[("host", "localhost:3002")])), "curl");
        assert!(!is_foreign(&headers(&[
            ("host", "n1:1"),
            ("origin", "http://n1:1"),
            ("sec-fetch-site", "same-origin")
        ])));
        assert!(!is_foreign(&headers(&[("host", "n1:1"), ("referer", "http://n1:1/jobs?x=1")])));
        for foreign in [
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
}
