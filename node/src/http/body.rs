//! Bodies: bounded before they are read, and JSON before it is parsed.

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

use super::limits::{BODY_PATIENCE, DRAIN_BYTES, DRAIN_PATIENCE, JSON_DEPTH};
use super::problem::{Kind, Problem};

/// Reads a body of at most `limit` bytes. `field` names it in the error.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    field: &str,
    limit: usize,
) -> Result<Bytes, Problem> {
    let told =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let too_large = || {
        let size = told.map_or_else(|| "more".to_string(), |bytes| bytes.to_string());
        Problem::field(
            Kind::TooLarge,
            field,
            format!("has {size} bytes, the limit is {limit}"),
            Some(limit as u64),
        )
        .not_accepted()
    };
    let mut stream = body.into_data_stream();
    if told.is_some_and(|bytes| bytes > limit as u64) {
        drain(&mut stream).await;
        return Err(too_large());
    }
    match timeout(BODY_PATIENCE, gather(&mut stream, limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            drain(&mut stream).await;
            Err(too_large())
        }
        Ok(Err(error)) => Err(Problem::new(Kind::Malformed, format!("reading the body: {error}"))),
        Err(_) => {
            let patience_s = BODY_PATIENCE.as_secs();
            Err(Problem::new(Kind::Malformed, format!("the body did not arrive within {patience_s} s")))
        }
    }
}

/// The whole body; none when it has more than `limit` bytes.
async fn gather(stream: &mut BodyDataStream, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let Some(first) = stream.next().await.transpose()? else { return Ok(Some(Bytes::new())) };
    if first.len() > limit {
        return Ok(None);
    }
    let mut whole = Vec::new();
    while let Some(part) = stream.next().await.transpose()? {
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        if whole.len() + part.len() > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&part);
    }
    // Small bodies come in one piece, which is then taken as it is.
    Ok(Some(if whole.is_empty() { first } else { Bytes::from(whole) }))
}

/// Reads on and forgets, up to a bound: a sender that is still sending would take the closed connection for a failure and
/// never hear why.
async fn drain(stream: &mut BodyDataStream) {
    let mut left = DRAIN_BYTES;
    let reading = async {
        while let Some(Ok(part)) = stream.next().await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                return;
            }
        }
    };
    // Over the time is as good as over the bytes: the connection closes with the rest unread.
    let _ = timeout(DRAIN_PATIENCE, reading).await;
}

/// Parses JSON whose nesting is bounded.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Problem> {
    if let Some(at) = too_deep(bytes) {
        let detail = format!("the JSON is nested deeper than {JSON_DEPTH} at byte {at}");
        return Err(Problem::new(Kind::Malformed, detail));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Kind::Malformed, format!("reading JSON: {error}")))
}

/// Where the nesting passes [`JSON_DEPTH`].
fn too_deep(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > JSON_DEPTH {
                    return Some(at);
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The media type of a body, lower case, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded_and_brackets_in_texts_do_not_count() {
        assert!(json(&b"[".repeat(100_000)).is_err());
        let fits = [b"[".repeat(JSON_DEPTH), b"]".repeat(JSON_DEPTH)].concat();
        assert!(json(&fits).is_ok());
        let deeper = [b"[".repeat(JSON_DEPTH + 1), b"]".repeat(JSON_DEPTH + 1)].concat();
        assert!(json(&deeper).is_err());
        let text = format!("{:?}", "[{\\\"".repeat(1_000));
        assert!(json(text.as_bytes()).is_ok(), "{text:.40}");
    }
}
