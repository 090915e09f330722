//! What stands behind the `?`, and in a few headers: every name known, every value checked.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Uri};
use protocol::submit::{FieldError, check_key};
use protocol::{JobId, duration, limits};

use super::problem::{Kind, Problem};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The query of a request, in order.
pub(super) struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    /// Reads the query; a name outside `known` is an error, never silence.
    pub(super) fn read(uri: &'a Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
        let errors: Vec<FieldError> = pairs
            .iter()
            .filter(|(name, _)| !known.contains(&&**name))
            .map(|(name, _)| FieldError {
                field: name.chars().take(100).collect(),
                detail: format!("is no parameter of this call; it takes {}", known.join(", ")),
                limit: None,
            })
            .collect();
        if errors.is_empty() { Ok(Self(pairs)) } else { Err(Problem::fields(Kind::Invalid, errors)) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    pub(super) fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// `?name`, `?name=1` or `=true`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(_) => Err(Problem::field(Kind::Invalid, name, "must be 1 or 0", None)),
        }
    }

    /// A number from `least` to `most`.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                let detail = format!("must be a whole number from {least} to {most}");
                Err(Problem::field(Kind::Invalid, name, detail, Some(most)))
            }
        }
    }

    /// `?wait=30s`, at most [`limits::WAIT_MS`].
    pub(super) fn wait(&self) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.get("wait") else { return Ok(None) };
        let limit = Some(limits::WAIT_MS);
        match duration::parse_ms(text) {
            Ok(ms) if ms <= limits::WAIT_MS => Ok(Some(Duration::from_millis(ms))),
            Ok(_) => Err(Problem::field(Kind::Invalid, "wait", "is at most 5m", limit)),
            Err(error) => Err(Problem::field(Kind::Invalid, "wait", error.to_string(), limit)),
        }
    }
}

/// `Prefer: wait=SECONDS` (RFC 7240); what it does not mean is ignored, as that standard asks.
pub(super) fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let most_s = limits::WAIT_MS / 1000;
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|part| part.trim().strip_prefix("wait="))
        .find_map(|seconds| seconds.trim().parse::<u64>().ok())
        .map(|seconds| Duration::from_secs(seconds.min(most_s)))
}

/// The user's idempotency key, if there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::field(Kind::Invalid, "Idempotency-Key", "must come once", Some(1)));
    }
    check_key(value.as_bytes()).map_err(|error| Problem::fields(Kind::Invalid, vec![error]))?;
    Ok(Some(String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

/// A job id from a path.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|error: protocol::ids::BadJobId| {
        Problem::field(Kind::Malformed, "id", error.to_string(), Some(26))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefer_header_may_ask_to_wait_among_other_wishes() {
        let mut headers = HeaderMap::new();
        assert_eq!(prefer_wait(&headers), None);
        headers.insert("prefer", "respond-async, wait=7".parse().unwrap());
        assert_eq!(prefer_wait(&headers), Some(Duration::from_secs(7)));
        headers.insert("prefer", "wait=999999".parse().unwrap());
        assert_eq!(prefer_wait(&headers), Some(Duration::from_secs(300)));
    }

    #[test]
    fn an_unknown_parameter_is_an_error() {
        let uri: Uri = "/jobs?stae=queued".parse().unwrap();
        assert!(Params::read(&uri, &["state"]).is_err());
        let uri: Uri = "/jobs?state=queued&state=running".parse().unwrap();
        let params = Params::read(&uri, &["state"]).ok().unwrap();
        assert_eq!(params.all("state").collect::<Vec<_>>(), ["queued", "running"]);
    }
}
