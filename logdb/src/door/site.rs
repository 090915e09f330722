//! What a request says of where it comes from and whom it is meant for, and what an answer tells a browser.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The host a request names, without its port: in its target, else in its `Host` header. Browsers always name one.
pub(super) fn asked_host(request: &Parts) -> Option<String> {
    if let Some(host) = request.uri.host() {
        return Some(host.to_string());
    }
    let value = request.headers.get(header::HOST)?;
    Some(host_of(value.to_str().unwrap_or("?")).to_string())
}

/// `HOST[:PORT]` without its port.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

/// Whether the marks of a browser (`Origin`, `Referer`, `Sec-Fetch-Site`) say that another site is behind a request.
pub(super) fn is_foreign(request: &Parts) -> bool {
    let text = |name: HeaderName| request.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetch_site = text(SEC_FETCH_SITE);
    if fetch_site.is_some_and(|site| !matches!(site, "none" | "same-origin")) {
        return true;
    }
    // HTTP/2 has no `Host`: there it is a part of the target.
    let target = request.uri.authority().map(|authority| authority.as_str());
    let own = target.or_else(|| text(header::HOST)).unwrap_or("");
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

/// What keeps a browser from running anything of an answer, and from storing it.
pub(super) fn make_safe(headers: &mut HeaderMap) {
    let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
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
