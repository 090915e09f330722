//! The lab's frames, as a DEALER sees them that speaks like a REQ: each message begins with the empty frame a REQ adds.

/// What a broker sent is none of the lab's messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {frames} frames does not fit the lab's table")]
pub(super) struct FrameFault {
    what: &'static str,
    frames: usize,
}

/// A frame of a message that is sent.
pub(super) type Part<'a> = &'a [u8];

/// A worker says what it does.
pub(super) fn registration(class: &str) -> [Part<'_>; 3] {
    [b"", b"", class.as_bytes()]
}

/// A client asks.
pub(super) fn request<'a>(message: Part<'a>, class: &'a str) -> [Part<'a>; 3] {
    [b"", message, class.as_bytes()]
}

/// A worker answers, and is free again.
pub(super) fn answer<'a>(client: Part<'a>, reply: Part<'a>, class: &'a str) -> [Part<'a>; 5] {
    [b"", client, b"", reply, class.as_bytes()]
}

/// A broker gives a worker a job: who asks, and what.
pub(super) fn job(frames: Vec<Vec<u8>>) -> Result<(Vec<u8>, Vec<u8>), FrameFault> {
    let fault = FrameFault { what: "a job", frames: frames.len() };
    let [first, client, second, message]: [Vec<u8>; 4] = frames.try_into().map_err(|_| fault.clone())?;
    if first.is_empty() && second.is_empty() { Ok((client, message)) } else { Err(fault) }
}

/// A broker answers a client.
pub(super) fn reply(frames: Vec<Vec<u8>>) -> Result<Vec<u8>, FrameFault> {
    let fault = FrameFault { what: "a reply", frames: frames.len() };
    let [first, reply]: [Vec<u8>; 2] = frames.try_into().map_err(|_| fault.clone())?;
    if first.is_empty() { Ok(reply) } else { Err(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(parts: &[&str]) -> Vec<Vec<u8>> {
        parts.iter().map(|part| part.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_sent_has_the_frames_of_the_table() {
        // As a REQ would send ['', 'D'], ['Hello', 'D'] and ['C_x', '', 'Done!', 'D'].
        assert_eq!(registration("D"), [&b""[..], b"", b"D"]);
        assert_eq!(request(b"Hello", "D"), [&b""[..], b"Hello", b"D"]);
        assert_eq!(answer(b"C_x", b"Done!", "D"), [&b""[..], b"C_x", b"", b"Done!", b"D"]);
        assert_eq!(registration(""), [b"", b"", b""]);
    }

    #[test]
    fn what_comes_is_read_or_refused_whole() {
        assert_eq!(job(frames(&["", "C_x", "", "Hello"])), Ok((b"C_x".to_vec(), b"Hello".to_vec())));
        assert_eq!(job(frames(&["", "C_x", "", ""])), Ok((b"C_x".to_vec(), Vec::new())));
        for wrong in [
            &[][..],
            &["", "C_x", ""],
            &["x", "C_x", "", "m"],
            &["", "C_x", "x", "m"],
            &["", "C_x", "", "m", "D"],
        ] {
            assert!(job(frames(wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(reply(frames(&["", "Done!"])), Ok(b"Done!".to_vec()));
        for wrong in [&[][..], &[""], &["x", "Done!"], &["", "Done!", "D"]] {
            assert!(reply(frames(wrong)).is_err(), "{wrong:?}");
        }
        let error = reply(frames(&["a", "b", "c"])).unwrap_err();
        assert_eq!(error.to_string(), "a reply of 3 frames does not fit the lab's table");
    }
}
