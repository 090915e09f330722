//! The lab's client-broker-worker wire, frame by frame, as a ROUTER sees it behind the sender's routing id.
//!
//! ```text
//!   client ── tags…, '', text[, class] ──▶ broker ──▶ client: tags…, '', reply
//!   worker ── '', '', class ─────────────▶ broker ──▶ worker: '', client, '', text
//!          ── '', client, '', reply[, class] ▶
//! ```
//! The class is always the last frame. In the basic form there is none: a worker registers with three empty frames, and
//! both its class and its clients' is the empty one.

use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::limits::LAB_ENVELOPE_BYTES;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Everything up to and including the first empty frame: it comes back unchanged before the reply.
    pub envelope: Vec<Bytes>,
    /// The text and the class; empty where there was none.
    pub text: Bytes,
    /// The class, as it came.
    pub class: Bytes,
}

/// Why a client's frames are no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadAsk {
    /// There is no empty frame, so nobody can be answered.
    NoEnvelope,
    /// There are none, or more than two, frames after the envelope, which an answer can go to.
    Frames {
        /// Where the answer goes.
        envelope: Vec<Bytes>,
    },
}

/// Reads a client's frames, without its routing id.
///
/// # Errors
/// [`BadAsk`], with the envelope where an answer is possible.
pub fn ask(frames: &[Bytes]) -> Result<Ask, BadAsk> {
    let empty = frames.iter().position(Bytes::is_empty).ok_or(BadAsk::NoEnvelope)?;
    let (envelope, body) = frames.split_at(empty + 1);
    if envelope.iter().map(Bytes::len).sum::<usize>() > LAB_ENVELOPE_BYTES {
        return Err(BadAsk::NoEnvelope);
    }
    let envelope = envelope.to_vec();
    match body {
        [text] => Ok(Ask { envelope, text: text.clone(), class: Bytes::new() }),
        [text, class] => Ok(Ask { envelope, text: text.clone(), class: class.clone() }),
        _ => Err(BadAsk::Frames { envelope }),
    }
}

/// The frames of a reply, without the client's routing id.
#[must_use]
pub fn reply(envelope: Vec<Bytes>, text: Bytes) -> Vec<Bytes> {
    let mut frames = envelope;
    frames.push(text);
    frames
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerSays {
    /// It is there and free.
    Registers {
        /// What it serves.
        class: Bytes,
    },
    /// It has done what it was given, and is free.
    Returns {
        /// Whom it names as its client: what it was given the job with.
        client: Bytes,
        /// What it brings.
        text: Bytes,
        /// What it serves; none in the basic form.
        class: Bytes,
    },
}

/// Reads a worker's frames, without its routing id. None: they are no message of a worker.
#[must_use]
pub fn worker_says(frames: &[Bytes]) -> Option<WorkerSays> {
    let (first, rest) = frames.split_first()?;
    if !first.is_empty() {
        return None;
    }
    match rest {
        [empty, class] if empty.is_empty() => Some(WorkerSays::Registers { class: class.clone() }),
        [client, empty, text] if client.is_empty() && empty.is_empty() && text.is_empty() => {
            Some(WorkerSays::Registers { class: Bytes::new() })
        }
        [client, empty, text] if empty.is_empty() && !client.is_empty() => {
            Some(WorkerSays::Returns { client: client.clone(), text: text.clone(), class: Bytes::new() })
        }
        [client, empty, text, class] if empty.is_empty() && !client.is_empty() => {
            Some(WorkerSays::Returns { client: client.clone(), text: text.clone(), class: class.clone() })
        }
        _ => None,
    }
}

/// The frames that give a worker a job, without its routing id. `client` comes back with the result.
#[must_use]
pub fn job(client: Bytes, text: Bytes) -> Vec<Bytes> {
    vec![Bytes::new(), client, Bytes::new(), text]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn a_request_may_have_tags_before_and_a_class_after_its_text() {
        let plain = ask(&frames(&["", "Hello", "B"])).unwrap();
        assert_eq!((plain.envelope.len(), &plain.text[..], &plain.class[..]), (1, &b"Hello"[..], &b"B"[..]));
        let tagged = ask(&frames(&["7", "x", "", "Hello", "length"])).unwrap();
        assert_eq!(reply(tagged.envelope, "Done!".into()), frames(&["7", "x", "", "Done!"]));
        assert_eq!(ask(&frames(&["", "Hola"])).unwrap().class, Bytes::new());
        assert_eq!(ask(&frames(&["", "", ""])).unwrap().text, Bytes::new());
    }

    #[test]
    fn what_is_no_request_is_told_apart_from_what_can_be_answered() {
        assert_eq!(ask(&frames(&["Hello", "B"])), Err(BadAsk::NoEnvelope));
        assert_eq!(ask(&[]), Err(BadAsk::NoEnvelope));
        assert_eq!(ask(&frames(&["t", ""])), Err(BadAsk::Frames { envelope: frames(&["t", ""]) }));
        assert_eq!(ask(&frames(&["", "a", "b", "c"])), Err(BadAsk::Frames { envelope: frames(&[""]) }));
        let long = [Bytes::from(vec![b'x'; LAB_ENVELOPE_BYTES + 1]), Bytes::new(), Bytes::new()];
        assert_eq!(ask(&long), Err(BadAsk::NoEnvelope));
    }

    #[test]
    fn registrations_and_results_are_told_apart_in_both_forms() {
        let registers = |class: &'static str| Some(WorkerSays::Registers { class: class.into() });
        let returns = |class: &'static str| {
            Some(WorkerSays::Returns { client: "C_a".into(), text: "Done!".into(), class: class.into() })
        };
        assert_eq!(worker_says(&frames(&["", "", "B"])), registers("B"));
        assert_eq!(worker_says(&frames(&["", "", ""])), registers(""));
        assert_eq!(worker_says(&frames(&["", "", "", ""])), registers(""));
        assert_eq!(worker_says(&frames(&["", "C_a", "", "Done!", "B"])), returns("B"));
        assert_eq!(worker_says(&frames(&["", "C_a", "", "Done!"])), returns(""));
        let nothing: [&[&str]; 6] = [
            &[],
            &[""],
            &["", "C_a"],
            &["x", "", "B"],
            &["", "", "", "text"],
            &["", "C_a", "", "Done!", "B", "more"],
        ];
        assert!(nothing.iter().all(|texts| worker_says(&frames(texts)).is_none()));
    }
}
