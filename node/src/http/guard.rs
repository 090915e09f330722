//! What stands before every call: the soft crash, the `Host` allow-list, the refusal of other sites, and what every answer carries.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub(super) use logdb::door::{is_foreign, is_prefetch};

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
}
