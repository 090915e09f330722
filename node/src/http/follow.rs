//! `GET /jobs/{id}/output?follow=1`: what a job prints, as it prints it, from any node.
//!
//! ```text
//!   look at the job ─┬─ an attempt runs here ──────▶ its capture ──────────────┐ until it has ended,
//!        ▲           ├─ one runs elsewhere ────────▶ that node, asked over HTTP │ then look again
//!        │           ├─ none runs ─▶ wait for news ┘                            │
//!        │           └─ the job has ended ─▶ what of its result was not sent, and the end
//!        └──────────────────────────────────────────────────────────────────────┘
//! ```
//! What is sent belongs to one attempt. When another one takes over, a line of its own says so first:
//! `::attempt 2 on NODE; attempt 1 is lost`. A reader that is slower than the program misses the middle, as the recorded output does;
//! nothing waits for it.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use protocol::limits::OUTPUT_HEAD_BYTES;
use protocol::{Attempt, AttemptRef, AttemptState, Job, JobId, Member, Outcome};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::desk::Desk;
use super::job::decides;
use super::limits::{FOLLOW_AGAIN, FOLLOW_MOST, FOLLOW_REST};
use super::problem::{Kind, Problem};
use super::{peers, shown};
use crate::ask::{Event, View};
use crate::runner::Follower;

/// What a reader wants to follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) job: JobId,
    pub(super) is_stderr: bool,
    /// This attempt alone.
    pub(super) attempt: Option<u32>,
    /// Bytes of that attempt that the reader has.
    pub(super) from: u64,
    /// Another node asks, for what runs here.
    pub(super) passed_on: bool,
}

/// Answers with the stream.
pub(super) fn answer(desk: Desk, wish: Wish) -> Result<Response, Problem> {
    let Ok(seat) = desk.streams.clone().try_acquire_owned() else {
        return Err(Problem::new(Kind::Full, "too many streams are open already"));
    };
    // Heard from before the first look at the job on, so that nothing falls between them.
    let (events, begun) = (desk.events(), desk.served.front.outputs.begun());
    let reading = Reading {
        desk,
        wish,
        events,
        begun,
        source: Source::Look,
        at: wish.attempt.unwrap_or(0),
        sent: wish.from,
        is_over: false,
        line_open: false,
        _seat: seat,
    };
    let pieces = futures_util::stream::unfold(reading, |mut reading| async move {
        let desk = reading.desk.clone();
        let piece = tokio::select! {
            () = desk.until_stopped() => None,
            piece = reading.next() => piece,
        };
        piece.map(|piece| (Ok::<Bytes, io::Error>(piece), reading))
    });
    let kind = HeaderValue::from_static("application/octet-stream");
    let mut response = ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response();
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One reader.
struct Reading {
    desk: Desk,
    wish: Wish,
    events: broadcast::Receiver<Event>,
    /// Changes when an attempt begins here.
    begun: watch::Receiver<u64>,
    source: Source,
    /// The attempt that is read; 0: none yet.
    at: u32,
    /// How far it is read.
    sent: u64,
    /// It has ended, and all of it is read.
    is_over: bool,
    /// What was sent last does not end a line.
    line_open: bool,
    _seat: OwnedSemaphorePermit,
}

/// Where the next piece comes from.
enum Source {
    /// The job says.
    Look,
    /// An attempt that runs here.
    Own(Follower),
    /// An attempt elsewhere; once it is known to have ended, until when its last words are waited for.
    Peer(reqwest::Response, Option<Instant>),
    /// Nowhere any more.
    End,
}

/// What a look says.
enum Step {
    Say(Bytes),
    Read(Source),
    /// Until there is news; after a peer did not answer, not for ever.
    Wait(Option<Duration>),
    End(Bytes),
}

impl Reading {
    /// The next piece; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = match &mut self.source {
                Source::Look => match self.look().await? {
                    Step::Say(line) => return Some(line),
                    Step::Read(source) => {
                        self.source = source;
                        continue;
                    }
                    Step::Wait(most) => {
                        self.news(most).await?;
                        continue;
                    }
                    Step::End(rest) => {
                        self.source = Source::End;
                        Some(rest)
                    }
                },
                Source::Own(follower) => match follower.next().await {
                    Some((upto, piece)) => {
                        self.sent = upto;
                        self.line_open = !piece.ends_with(b"\n");
                        return Some(piece);
                    }
                    None => None,
                },
                Source::Peer(..) => match self.of_peer().await {
                    Some(piece) => Some(piece),
                    None => continue,
                },
                Source::End => return None,
            };
            match piece {
                Some(piece) if piece.is_empty() => {}
                Some(piece) => {
                    self.sent += piece.len() as u64;
                    self.line_open = !piece.ends_with(b"\n");
                    return Some(piece);
                }
                None => (self.source, self.is_over) = (Source::Look, true),
            }
        }
    }

    /// What another node sends; none: it is to be looked again.
    async fn of_peer(&mut self) -> Option<Bytes> {
        let Source::Peer(answer, until) = &mut self.source else { return None };
        let far = Instant::now() + FOLLOW_MOST;
        let told = tokio::select! {
            biased;
            chunk = answer.chunk() => Some(chunk),
            () = sleep_until(until.unwrap_or(far)) => Some(Ok(None)),
            news = heard(&mut self.events, self.wish.job), if until.is_none() => {
                let over = news.is_none_or(|job| !runs(&job, self.at));
                if over {
                    *until = Some(Instant::now() + FOLLOW_REST);
                }
                None
            }
        };
        match told? {
            Ok(Some(piece)) => return Some(piece),
            Ok(None) => self.is_over = true,
            // It is gone, or the way to it: the job says what is next.
            Err(_) => {}
        }
        self.source = Source::Look;
        None
    }

    /// Looks at the job as it is now; none: there is nothing more to say.
    async fn look(&mut self) -> Option<Step> {
        let view = self.desk.view().await.ok()?;
        let outputs = self.desk.served.front.outputs.clone();
        if self.wish.passed_on {
            let place = AttemptRef { job: self.wish.job, attempt: self.at };
            if let Some(follower) =
                outputs.follow(place, self.wish.is_stderr, self.sent).filter(|_| !self.is_over)
            {
                return Some(Step::Read(Source::Own(follower)));
            }
        }
        let Some(job) = self.desk.job(&view, self.wish.job).await.ok()? else {
            // Whoever passed this on may be ahead of this node.
            return self.wish.passed_on.then_some(Step::Wait(None));
        };
        if job.state.is_terminal() && !self.wish.passed_on {
            return Some(self.last_words(&job, &view));
        }
        let tried = match self.wish.attempt {
            Some(number) => job.attempts.iter().find(|attempt| attempt.number == number),
            None => job.attempts.last(),
        };
        let Some(attempt) = tried else { return Some(Step::Wait(None)) };
        if let Some(line) = self.turns_to(&job, attempt, &view) {
            return Some(Step::Say(line));
        }
        if attempt.state != AttemptState::Running {
            return Some(if self.wish.attempt.is_some() {
                Step::End(Bytes::new())
            } else {
                Step::Wait(None)
            });
        }
        if self.is_over {
            return Some(if self.wish.passed_on { Step::End(Bytes::new()) } else { Step::Wait(None) });
        }
        let place = AttemptRef { job: job.id, attempt: attempt.number };
        if attempt.node == view.node {
            let follower = outputs.follow(place, self.wish.is_stderr, self.sent);
            return Some(follower.map_or(Step::Wait(None), |follower| Step::Read(Source::Own(follower))));
        }
        if self.wish.passed_on {
            return Some(Step::End(Bytes::new()));
        }
        let Some(member) = view.ledger.member(attempt.node).cloned() else { return Some(Step::Wait(None)) };
        Some(match self.ask(&member).await {
            Some(answer) => Step::Read(Source::Peer(answer, None)),
            None => Step::Wait(Some(FOLLOW_AGAIN)),
        })
    }

    /// Another attempt is the one to read from here on: the line that says so, unless it is the first.
    fn turns_to(&mut self, job: &Job, attempt: &Attempt, view: &View) -> Option<Bytes> {
        if self.at == attempt.number {
            return None;
        }
        let before = std::mem::replace(&mut self.at, attempt.number);
        (self.sent, self.is_over) = (0, false);
        let earlier = job.attempts.iter().find(|earlier| earlier.number == before)?;
        let break_ = if std::mem::take(&mut self.line_open) { "\n" } else { "" };
        let node = shown::node_name(&view.ledger, attempt.node);
        let what = earlier.state.word();
        Some(Bytes::from(format!(
            "{break_}::attempt {} on {node}; attempt {before} is {what}\n",
            attempt.number
        )))
    }

    /// The job has ended: what of its result was not sent.
    fn last_words(&mut self, job: &Job, view: &View) -> Step {
        let decisive = job.attempts.iter().find(|attempt| decides(job, attempt.number));
        let (Some(outcome), Some(decisive)) = (&job.result, decisive) else { return Step::End(Bytes::new()) };
        if self.wish.attempt.is_some_and(|wanted| wanted != decisive.number) {
            return Step::End(Bytes::new());
        }
        match self.turns_to(job, decisive, view) {
            Some(line) => Step::Say(line),
            None => Step::End(rest(outcome, self.wish.is_stderr, self.sent)),
        }
    }

    async fn ask(&self, member: &Member) -> Option<reqwest::Response> {
        let stream = if self.wish.is_stderr { "stderr" } else { "stdout" };
        let (job, at, from) = (self.wish.job, self.at, self.sent);
        let path = format!("/api/v1/jobs/{job}/output?follow=1&stream={stream}&attempt={at}&from={from}");
        let answer = peers::follow(&self.desk, &member.http, &path).await.ok()?;
        answer.status().is_success().then_some(answer)
    }

    /// Waits for news of the job, or of attempts here; none: there will be none.
    async fn news(&mut self, most: Option<Duration>) -> Option<()> {
        let until = Instant::now() + most.unwrap_or(FOLLOW_MOST);
        tokio::select! {
            _ = heard(&mut self.events, self.wish.job) => Some(()),
            begun = self.begun.changed() => begun.ok(),
            () = sleep_until(until) => Some(()),
        }
    }
}

/// The next news of a job: the job as it is now. None: look at it anew.
async fn heard(events: &mut broadcast::Receiver<Event>, id: JobId) -> Option<std::sync::Arc<Job>> {
    loop {
        match events.recv().await {
            Ok(Event::Job { job, .. }) if job.id == id => return Some(job),
            Ok(Event::Anew) | Err(RecvError::Lagged(_)) => return None,
            Ok(_) => {}
            // The process ends, and this stream with it.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn runs(job: &Job, attempt: u32) -> bool {
    job.current().is_some_and(|current| current.number == attempt)
}

/// What of a recorded stream comes after so many bytes of the true one.
fn rest(outcome: &Outcome, is_stderr: bool, sent: u64) -> Bytes {
    if is_stderr {
        // Only its end is recorded, and how much there was is not known.
        return if sent == 0 { outcome.stderr.clone() } else { Bytes::new() };
    }
    let output = &outcome.output;
    let head = if outcome.truncated { OUTPUT_HEAD_BYTES.min(output.len()) } else { output.len() };
    if sent < head as u64 {
        return output.slice(sent as usize..);
    }
    let tail_at = outcome.output_bytes.saturating_sub((output.len() - head) as u64);
    let skip = sent.saturating_sub(tail_at).min((output.len() - head) as u64);
    output.slice(head + skip as usize..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_of_a_recorded_output_is_its_rest_also_where_the_middle_is_missing() {
        let whole = Outcome::success(Bytes::from_static(b"0123456789"));
        for (sent, expected) in [(0, "0123456789"), (4, "456789"), (10, ""), (99, "")] {
            assert_eq!(rest(&whole, false, sent), expected.as_bytes());
        }
        let head = vec![b'h'; OUTPUT_HEAD_BYTES];
        let output = [&head[..], b"tail"].concat();
        let true_bytes = OUTPUT_HEAD_BYTES as u64 + 1_000;
        let cut = Outcome { output_bytes: true_bytes, truncated: true, ..Outcome::success(output.into()) };
        assert_eq!(rest(&cut, false, 10).len(), OUTPUT_HEAD_BYTES - 10 + 4);
        for (sent, expected) in [
            (OUTPUT_HEAD_BYTES as u64, "tail"),
            (true_bytes - 4, "tail"),
            (true_bytes - 1, "l"),
            (true_bytes, ""),
        ] {
            assert_eq!(rest(&cut, false, sent), expected.as_bytes(), "{sent}");
        }
    }
}
