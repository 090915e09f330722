//! The very first bytes of a connection: whether this is a link, whether it is sealed, and by the same key.
//!
//! ```text
//!   dialler ── UNDRLINK, version, plain or sealed, its name [, Noise message 1] ──▶ listener
//!   dialler ◀─ UNDRLINK, version, yes or why not, its name [, Noise message 2] ─── listener
//! ```
//!
//! Sealed is `NNpsk0`: both prove that they have the cluster key, and draw new keys for this connection, so that whoever
//! learns the cluster key later cannot read what was recorded before. Everything after these bytes, the hello first, goes
//! through the seal. The names are only for people: nobody has proved his yet.

use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::frame::{End, Frames};
use super::line::{Line, Out};
use super::seal::{PROOF_BYTES, halves};
use crate::cluster_key::ClusterKey;

const MAGIC: [u8; 8] = *b"UNDRLINK";
/// Raised when anything on the link changes in a way older nodes cannot read.
const VERSION: u16 = 10;
/// A longer name is cut.
const NAME_BYTES: usize = 200;
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Magic, version, a word and the length of a name.
const HEAD_BYTES: usize = 12;
/// A public key of the handshake and a proof.
const NOISE_BYTES: usize = 32 + PROOF_BYTES;

/// The word of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Word {
    Plain = 0,
    Sealed = 1,
    /// No: there is a key here and none there.
    KeyWanted = 2,
    /// No: there is no key here and one there.
    NoKeyHere = 3,
    /// No: the keys differ.
    OtherKey = 4,
    /// No: the versions differ.
    OtherVersion = 5,
}

impl Word {
    fn of(byte: u8) -> Option<Word> {
        let all =
            [Word::Plain, Word::Sealed, Word::KeyWanted, Word::NoKeyHere, Word::OtherKey, Word::OtherVersion];
        all.into_iter().find(|word| *word as u8 == byte)
    }
}

/// Who greets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Us<'a> {
    pub(super) name: &'a str,
    pub(super) key: Option<&'a ClusterKey>,
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// The two do not fit.
    Refused(String),
    /// The connection ended, or brought what no link says.
    Ended(End),
}

struct Head {
    version: u16,
    word: u8,
    name: String,
    /// As it came.
    bytes: Vec<u8>,
}

fn head(word: Word, name: &str) -> Vec<u8> {
    let name = &name.as_bytes()[..name.len().min(NAME_BYTES)];
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.push(word as u8);
    bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(name);
    bytes
}

async fn read_head(stream: &mut TcpStream) -> Result<Head, NoLine> {
    let mut bytes = vec![0; HEAD_BYTES];
    read(stream, &mut bytes).await?;
    let (magic, rest) = bytes.split_at(MAGIC.len());
    let &[high, low, word, name_bytes] = rest else { return Err(no_link()) };
    if magic != MAGIC {
        return Err(no_link());
    }
    let mut name = vec![0; usize::from(name_bytes)];
    read(stream, &mut name).await?;
    bytes.extend_from_slice(&name);
    // It may be anybody's text, and goes to people.
    let name = String::from_utf8_lossy(&name).escape_debug().collect();
    Ok(Head { version: u16::from_be_bytes([high, low]), word, name, bytes })
}

async fn read(stream: &mut TcpStream, into: &mut [u8]) -> Result<(), NoLine> {
    stream.read_exact(into).await.map(drop).map_err(|error| NoLine::Ended(End::by(&error)))
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), NoLine> {
    stream.write_all(bytes).await.map_err(|error| NoLine::Ended(End::by(&error)))
}

fn no_link() -> NoLine {
    NoLine::Ended(End::Ours("this is no consensus link".to_owned()))
}

fn broken(error: snow::Error) -> NoLine {
    NoLine::Ended(End::Ours(format!("the handshake failed: {error}")))
}

/// The handshake; what the dialler said in clear is part of it, so nobody in between can have changed that.
fn noise<'a>(key: &'a ClusterKey, said: &'a [u8]) -> Result<Builder<'a>, snow::Error> {
    Builder::new(PATTERN.parse()?).psk(0, key.bytes())?.prologue(said)
}

/// Greets the listener at the other end of a new connection.
pub(super) async fn dial(mut stream: TcpStream, us: Us<'_>, bound: usize) -> Result<Line, NoLine> {
    let mut out = head(if us.key.is_some() { Word::Sealed } else { Word::Plain }, us.name);
    let said = out.clone();
    let mut shaking: Option<HandshakeState> = match us.key {
        Some(key) => Some(noise(key, &said).and_then(Builder::build_initiator).map_err(broken)?),
        None => None,
    };
    if let Some(shaking) = &mut shaking {
        let mut first = [0; NOISE_BYTES];
        let bytes = shaking.write_message(&[], &mut first).map_err(broken)?;
        out.extend_from_slice(&first[..bytes]);
    }
    write(&mut stream, &out).await?;
    let answer = read_head(&mut stream).await?;
    let refused = |why: &str| NoLine::Refused(format!("node {:?} answered: {why}", answer.name));
    match (Word::of(answer.word), shaking) {
        (Some(Word::OtherVersion), _) => Err(refused(&other_version(answer.version))),
        (Some(Word::Plain), None) => Ok(line(stream, None, bound)),
        (Some(Word::KeyWanted), None) => {
            Err(refused("its links are sealed, and this node has no cluster key"))
        }
        (Some(Word::NoKeyHere), Some(_)) => Err(refused("it has no cluster key, and links are sealed here")),
        (Some(Word::OtherKey), Some(_)) => Err(refused("its cluster key is another one")),
        (Some(Word::Sealed), Some(mut shaking)) => {
            let mut second = [0; NOISE_BYTES];
            read(&mut stream, &mut second).await?;
            shaking.read_message(&second, &mut []).map_err(|_| refused("its cluster key is another one"))?;
            Ok(line(stream, Some(shaking.into_stateless_transport_mode().map_err(broken)?), bound))
        }
        _ => Err(refused("it does not say whether its links are sealed")),
    }
}

/// Hears the greeting of a connection that came in, and answers it.
pub(super) async fn accept(mut stream: TcpStream, us: Us<'_>, bound: usize) -> Result<Line, NoLine> {
    let greeted = read_head(&mut stream).await?;
    let is_sealed = greeted.word == Word::Sealed as u8;
    let no = match us.key {
        _ if greeted.version != VERSION => Some((Word::OtherVersion, other_version(greeted.version))),
        None if is_sealed => {
            Some((Word::NoKeyHere, "its links are sealed, and this node has no cluster key".to_owned()))
        }
        Some(_) if !is_sealed => {
            Some((Word::KeyWanted, "it has no cluster key, and links are sealed here".to_owned()))
        }
        _ => None,
    };
    if let Some((word, why)) = no {
        return Err(refuse(&mut stream, us, word, &greeted.name, &why).await);
    }
    let Some(key) = us.key else {
        write(&mut stream, &head(Word::Plain, us.name)).await?;
        return Ok(line(stream, None, bound));
    };
    let mut first = [0; NOISE_BYTES];
    read(&mut stream, &mut first).await?;
    let mut shaking = noise(key, &greeted.bytes).and_then(Builder::build_responder).map_err(broken)?;
    if shaking.read_message(&first, &mut []).is_err() {
        let why = "its cluster key is another one";
        return Err(refuse(&mut stream, us, Word::OtherKey, &greeted.name, why).await);
    }
    let mut out = head(Word::Sealed, us.name);
    let mut second = [0; NOISE_BYTES];
    let bytes = shaking.write_message(&[], &mut second).map_err(broken)?;
    out.extend_from_slice(&second[..bytes]);
    write(&mut stream, &out).await?;
    Ok(line(stream, Some(shaking.into_stateless_transport_mode().map_err(broken)?), bound))
}

fn other_version(theirs: u16) -> String {
    format!("the link has version {theirs} there and {VERSION} here")
}

/// Says no; the peer may be gone already, it is refused all the same.
async fn refuse(stream: &mut TcpStream, us: Us<'_>, word: Word, name: &str, why: &str) -> NoLine {
    let _ = write(stream, &head(word, us.name)).await;
    NoLine::Refused(format!("a node that calls itself {name:?} was refused: {why}"))
}

fn line(stream: TcpStream, sealed: Option<StatelessTransportState>, bound: usize) -> Line {
    let (read, to) = stream.into_split();
    let (sealer, opener) = sealed.map(halves).unzip();
    Line { frames: Frames::through(read, opener, bound), out: Out::new(to, sealer) }
}
