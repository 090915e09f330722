//! Bodies: bounded before they are read, and JSON before it is parsed.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::limits::{BODY_PATIENCE, DRAIN_BYTES, DRAIN_PATIENCE, JSON_DEPTH};
use super::problem::{Kind, Problem};

/// Room made for a body before it has come, at most.
const ROOM_BYTES: usize = 64 << 10;
/// A body of one piece that is no longer than this is copied.
const COPIED_BYTES: usize = 2 << 10;
/// Bytes of a text that are looked through at once.
const LOOK_BYTES: usize = 64;

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
    // Not more than the limit by now.
    let told = told.unwrap_or_default() as usize;
    match patient(gather(&mut stream, told, limit)).await {
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

/// What comes of reading, unless that takes too long. Most bodies come with their head and are there at the second look: for these no
/// clock is set.
async fn patient<T>(reading: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut reading = pin!(reading);
    let mut looks = 0;
    let soon = poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending if looks == 0 => {
            looks += 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    });
    match soon.await {
        Some(read) => Ok(read),
        None => timeout(BODY_PATIENCE, reading).await,
    }
}

/// The whole body, which is said to have so many bytes; none when it has more than `limit`.
async fn gather(
    stream: &mut BodyDataStream,
    told: usize,
    limit: usize,
) -> Result<Option<Bytes>, axum::Error> {
    let Some(first) = stream.next().await.transpose()? else { return Ok(Some(Bytes::new())) };
    if first.len() > limit {
        return Ok(None);
    }
    let mut whole = Vec::new();
    while let Some(part) = stream.next().await.transpose()? {
        if whole.is_empty() {
            // Somebody who only says that much is to come gets no room for all of it.
            whole.reserve(told.min(ROOM_BYTES));
            whole.extend_from_slice(&first);
        }
        if whole.len() + part.len() > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&part);
    }
    // One piece is taken as it is, unless it is small beside the buffer that it came in: that is free for the next request then.
    Ok(Some(match whole.is_empty() {
        true if first.len() <= COPIED_BYTES => Bytes::copy_from_slice(&first),
        true => first,
        false => Bytes::from(whole),
    }))
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
    let (mut at, mut look_at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        if in_text && !escaped && at >= look_at {
            // Long texts are passed over many bytes at a time.
            let plain = bytes[at..].chunks_exact(LOOK_BYTES).take_while(|part| is_plain(part)).count();
            at += plain * LOOK_BYTES;
            look_at = at + LOOK_BYTES;
            continue;
        }
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
        at += 1;
    }
    None
}

/// Whether nothing in this part of a text can be its end.
fn is_plain(part: &[u8]) -> bool {
    !part.iter().fold(false, |any, byte| any | (*byte == b'"') | (*byte == b'\\'))
}

/// The media type of a body, lower case, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Cow<'_, str> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let media_type = value.split(';').next().unwrap_or("").trim();
    if media_type.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(media_type.to_ascii_lowercase())
    } else {
        Cow::Borrowed(media_type)
    }
}

/// A body that is to be kept: by itself, where it may be a little of a large buffer.
pub(super) fn own(body: Bytes) -> Bytes {
    // A shorter one was copied when it was read.
    if body.len() > COPIED_BYTES { Bytes::copy_from_slice(&body) } else { body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_read_without_its_parameters_in_small_letters() {
        for (given, read) in
            [("Application/JSON; charset=utf-8", "application/json"), ("text/plain", "text/plain")]
        {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, given.parse().unwrap())]);
            assert_eq!(media_type(&headers), read);
        }
        assert_eq!(media_type(&HeaderMap::new()), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_come_late_and_in_pieces_but_not_too_late() {
        let body = |pauses_s: &'static [u64]| {
            let pieces = futures_util::stream::iter(pauses_s).then(|pause_s| async {
                tokio::time::sleep(std::time::Duration::from_secs(*pause_s)).await;
                Ok::<_, std::io::Error>(Bytes::from_static(b"piece "))
            });
            Body::from_stream(pieces)
        };
        let read = |body| async { read(&HeaderMap::new(), body, "body", 100).await };
        assert_eq!(read(Body::from("whole")).await.ok().unwrap(), "whole");
        assert_eq!(read(Body::empty()).await.ok().unwrap(), "");
        assert_eq!(read(body(&[0, 20, 9])).await.ok().unwrap(), "piece piece piece ");
        let began = tokio::time::Instant::now();
        let late = read(body(&[0, 20, 20])).await.err().unwrap();
        assert_eq!((late.kind, began.elapsed().as_secs()), (Kind::Malformed, BODY_PATIENCE.as_secs()));
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_texts_do_not_count() {
        assert!(json(&b"[".repeat(100_000)).is_err());
        let fits = [b"[".repeat(JSON_DEPTH), b"]".repeat(JSON_DEPTH)].concat();
        assert!(json(&fits).is_ok());
        let deeper = [b"[".repeat(JSON_DEPTH + 1), b"]".repeat(JSON_DEPTH + 1)].concat();
        assert!(json(&deeper).is_err());
        for plain in [0, 1, LOOK_BYTES - 1, LOOK_BYTES, 10 * LOOK_BYTES + 3] {
            let text = format!("{:?}", format!("[{{\\\"{}", "[".repeat(plain)).repeat(1_000));
            assert!(json(text.as_bytes()).is_ok(), "{text:.40}");
            let deep = format!("[{text},{}", "[".repeat(JSON_DEPTH));
            assert!(json(deep.as_bytes()).is_err(), "what comes behind a text counts");
        }
    }
}
