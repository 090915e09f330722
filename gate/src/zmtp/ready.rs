//! The READY command, with which a peer introduces itself: properties of a name and a value.

use bytes::Bytes;

use crate::conn::Conn;
use crate::limits;
use crate::refusal::Refusal;
use crate::rules::Kind;

const NAME: &[u8] = b"\x05READY";
const SOCKET_TYPE: &[u8] = b"Socket-Type";
const IDENTITY: &[u8] = b"Identity";
const COMMAND_FLAG: u8 = 4;

/// Who a peer says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// What kind of socket it is.
    pub(crate) kind: Kind,
    /// What it calls itself; may be empty.
    pub(crate) identity: Bytes,
}

impl Introduction {
    /// Reads the body of a READY command. Properties other than the two that count are let go.
    ///
    /// # Errors
    /// [`Refusal::Ready`], or [`Refusal::Kind`] for a kind that no gate serves.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut rest = body.strip_prefix(NAME).ok_or(Refusal::Ready)?;
        let (mut socket_type, mut identity) = (None, None);
        while !rest.is_empty() {
            let (name, value);
            (name, value, rest) = property(rest).ok_or(Refusal::Ready)?;
            let known = if name.eq_ignore_ascii_case(SOCKET_TYPE) {
                &mut socket_type
            } else if name.eq_ignore_ascii_case(IDENTITY) {
                &mut identity
            } else {
                continue;
            };
            if known.replace(value).is_some() {
                return Err(Refusal::Ready);
            }
        }
        let identity = identity.unwrap_or_default();
        if identity.len() > limits::IDENTITY_BYTES {
            return Err(Refusal::Ready);
        }
        let kind = Kind::read(socket_type.ok_or(Refusal::Ready)?).ok_or(Refusal::Kind)?;
        Ok(Self { kind, identity: Bytes::copy_from_slice(identity) })
    }

    /// The READY command that libzmq gets instead, as a whole frame: of the same kind, and named by its connection.
    pub(crate) fn for_libzmq(&self, conn: Conn) -> Vec<u8> {
        let properties = [(SOCKET_TYPE, self.kind.as_str().as_bytes()), (IDENTITY, &conn.routing_id())];
        let mut body = NAME.to_vec();
        for (name, value) in properties {
            // Names and values of ours are far shorter than a byte can count.
            body.push(u8::try_from(name.len()).unwrap_or_default());
            body.extend_from_slice(name);
            body.extend_from_slice(&u32::try_from(value.len()).unwrap_or_default().to_be_bytes());
            body.extend_from_slice(value);
        }
        let mut frame = vec![COMMAND_FLAG, u8::try_from(body.len()).unwrap_or_default()];
        frame.extend_from_slice(&body);
        frame
    }
}

/// Name, value, and what follows them.
fn property(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (!name.is_empty()).then_some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(properties: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = NAME.to_vec();
        for (name, value) in properties {
            body.push(u8::try_from(name.len()).unwrap());
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(value);
        }
        body
    }

    #[test]
    fn kind_and_identity_are_read_whatever_else_is_said_and_however_names_are_written() {
        let said = body(&[("X-Mine", b"z"), ("identity", b"C_host"), ("SOCKET-TYPE", b"DEALER")]);
        let expected = Introduction { kind: Kind::Dealer, identity: Bytes::from_static(b"C_host") };
        assert_eq!(Introduction::read(&said), Ok(expected));
        let nameless = Introduction::read(&body(&[("Socket-Type", b"PUSH")])).unwrap();
        assert_eq!((nameless.kind, nameless.identity.len()), (Kind::Push, 0));
    }

    #[test]
    fn libzmq_gets_the_kind_and_the_connections_name_and_nothing_else() {
        let said = Introduction { kind: Kind::Req, identity: Bytes::from_static(b"Worker1") };
        let frame = said.for_libzmq(Conn(7));
        assert_eq!(frame[..2], [4, u8::try_from(frame.len() - 2).unwrap()]);
        let expected = body(&[("Socket-Type", b"REQ"), ("Identity", b"c\0\0\0\0\0\0\0\x07")]);
        assert_eq!(frame[2..], expected);
    }

    #[test]
    fn broken_introductions_are_refused() {
        let long = [b'i'; limits::IDENTITY_BYTES + 1];
        let of = |properties: &[(&str, &[u8])]| Introduction::read(&body(properties)).unwrap_err();
        assert_eq!(of(&[]), Refusal::Ready, "no kind");
        assert_eq!(of(&[("Identity", b"a")]), Refusal::Ready, "no kind");
        assert_eq!(of(&[("Socket-Type", b"REQ"), ("", b"a")]), Refusal::Ready, "a property without name");
        assert_eq!(of(&[("Socket-Type", b"REQ"), ("Socket-Type", b"SUB")]), Refusal::Ready, "two kinds");
        assert_eq!(of(&[("Identity", b"a"), ("identity", b"b"), ("Socket-Type", b"REQ")]), Refusal::Ready);
        assert_eq!(
            of(&[("Socket-Type", b"REQ"), ("Identity", &long)]),
            Refusal::Ready,
            "256 bytes of identity"
        );
        assert_eq!(of(&[("Socket-Type", b"PUB")]), Refusal::Kind);
        assert_eq!(of(&[("Socket-Type", b"")]), Refusal::Kind);
        for other in [&b""[..], b"\x05ERROR\x00", b"\x05READ", b"\x06READYX"] {
            assert_eq!(Introduction::read(other), Err(Refusal::Ready));
        }
        let whole = body(&[("Socket-Type", b"REQ"), ("Identity", b"abc")]);
        let ends = [NAME.len() + 1 + SOCKET_TYPE.len() + 4 + 3, whole.len()];
        for end in (NAME.len()..whole.len()).filter(|end| !ends.contains(end)) {
            assert_eq!(Introduction::read(&whole[..end]), Err(Refusal::Ready), "cut at {end}");
        }
    }
}
