//! The answering end of a bulk connection: one question, one answer, until nobody asks for long.

use std::time::Duration;

use bytes::{Buf, Bytes};
use protocol::NodeId;
use protocol::limits::{BULK_ANSWER_BYTES, BULK_QUESTION_BYTES};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::bulk::{ANSWERED, ASKED, BULK_PATIENCE, REFUSED};
use super::frame::{End, Frames, head};
use super::line::Out;
use super::table::Shared;

/// A connection on which nobody asks is kept for so long.
const IDLE: Duration = Duration::from_secs(30);

/// Serves until the connection ends.
pub(super) async fn serve(
    shared: &Shared,
    from: NodeId,
    frames: &mut Frames<impl AsyncRead + Unpin>,
    way: &mut Out<impl AsyncWrite + Unpin>,
) -> End {
    frames.set_bound(1 + BULK_QUESTION_BYTES);
    frames.set_patience(IDLE);
    loop {
        let mut question = match frames.next_bytes().await {
            Ok(question) if question.first() == Some(&ASKED) => question.freeze(),
            Ok(_) => return End::Ours("a question of no known kind came".to_owned()),
            Err(end) => return end,
        };
        question.advance(1);
        let answer = match timeout(BULK_PATIENCE, shared.bulk.answer(from, question)).await {
            Ok(Ok(answer)) if answer.len() > BULK_ANSWER_BYTES => {
                tracing::error!(bytes = answer.len(), "bulk: an answer is larger than any may be");
                Err(format!("the answer has {} bytes, the limit is {BULK_ANSWER_BYTES}", answer.len()))
            }
            Ok(answer) => answer,
            Err(_) => Err("the answer took too long".to_owned()),
        };
        match timeout(BULK_PATIENCE, reply(way, answer)).await {
            Ok(Ok(())) => {}
            Ok(Err(end)) => return end,
            Err(_) => return End::Ours("its answer was not taken in time".to_owned()),
        }
    }
}

async fn reply(way: &mut Out<impl AsyncWrite + Unpin>, answer: Result<Bytes, String>) -> Result<(), End> {
    let (kind, body) = match answer {
        Ok(body) => (ANSWERED, body),
        Err(text) => (REFUSED, Bytes::from(text)),
    };
    let body = body.slice(..body.len().min(BULK_ANSWER_BYTES));
    let mut start = head(1 + body.len()).to_vec();
    start.push(kind);
    way.send_both(&start, &body).await
}
