//! The server name of a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! Own code: rustls, which is here already, refuses hellos that servers accept (it wants extensions that it knows, and
//! names that are host names), so its answer would be "no name" where there is one. tls-parser would bring nom and a dozen
//! crates, and wants the message in one piece: putting pieces together, where names are hidden, would be left. What is
//! read here is bounded by what the kernel copies, without recursion or allocation but for one copy of it.

use std::sync::Arc;

/// Bytes of a server name that are kept; host names have at most 253.
const NAME_BYTES: usize = 255;
/// `ContentType.handshake`.
const HANDSHAKE: u8 = 22;
/// First byte of a record's version.
const SSL_3: u8 = 3;
/// `HandshakeType.client_hello`, the extension `server_name` and its `NameType.host_name`.
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the beginning of a connection says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The server name. As in [`crate::model::name::Claim::name`].
    Name(Arc<str>),
    /// There is none, or this is no ClientHello.
    Nameless,
    /// It is not all there.
    Unfinished,
}

/// Reads what a connection begins with, as far as it is there.
pub fn read(begin: &[u8]) -> Hello {
    let mut message = Vec::with_capacity(begin.len());
    let whole = join_records(begin, &mut message);
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Hello::Nameless;
    }
    match (server_name(&message), whole) {
        (Ok(Some(name)), _) => Hello::Name(name),
        (Err(Missing), Joined::MayGoOn) => Hello::Unfinished,
        (Ok(None) | Err(Missing), _) => Hello::Nameless,
    }
}

/// Whether more may follow what was joined.
enum Joined {
    MayGoOn,
    Ended,
}

/// Takes the handshake message out of its records, of which it may have many.
fn join_records(mut rest: &[u8], message: &mut Vec<u8>) -> Joined {
    loop {
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE) {
            return Joined::Ended;
        }
        let Some(&[_, major, _, high, low]) = rest.first_chunk::<5>() else { return Joined::MayGoOn };
        if major != SSL_3 {
            return Joined::Ended;
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        // A record of a handshake is never empty: a thousand of them would be work for nothing.
        if length == 0 {
            return Joined::Ended;
        }
        let body = rest.get(5..).unwrap_or_default();
        let (fragment, behind) = body.split_at_checked(length).unwrap_or((body, &[]));
        message.extend_from_slice(fragment);
        // What follows the message in its record is not of it.
        if let Some(&[_, a, b, c]) = message.first_chunk::<4>()
            && message.len() >= 4 + u32::from_be_bytes([0, a, b, c]) as usize
        {
            message.truncate(4 + u32::from_be_bytes([0, a, b, c]) as usize);
            return Joined::Ended;
        }
        if fragment.len() < length {
            return Joined::MayGoOn;
        }
        rest = behind;
    }
}

/// The message ends before what is looked for.
struct Missing;

/// Bytes that are taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Missing> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Missing)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Missing> {
        self.take(1)?.first().copied().ok_or(Missing)
    }

    fn short(&mut self) -> Result<u16, Missing> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)).ok_or(Missing)
    }
}

fn server_name(message: &[u8]) -> Result<Option<Arc<str>>, Missing> {
    /// Kind and length of the message, version, random.
    const BEFORE_SESSION: usize = 4 + 2 + 32;
    let mut hello = Reader(message);
    hello.take(BEFORE_SESSION)?;
    let session = hello.byte()?;
    hello.take(session.into())?;
    let ciphers = hello.short()?;
    hello.take(ciphers.into())?;
    let compressions = hello.byte()?;
    hello.take(compressions.into())?;
    if hello.0.is_empty() {
        // Without extensions, if this is the end; that is for the caller to know.
        return Err(Missing);
    }
    let mut room = usize::from(hello.short()?);
    while let Some(rest) = room.checked_sub(4) {
        let (kind, length) = (hello.short()?, usize::from(hello.short()?));
        if kind == SERVER_NAME {
            let mut list = Reader(hello.take(length)?);
            return Ok(first_host_name(&mut list).unwrap_or_default());
        }
        hello.take(length)?;
        let Some(rest) = rest.checked_sub(length) else { break };
        room = rest;
    }
    Ok(None)
}

fn first_host_name(list: &mut Reader<'_>) -> Result<Option<Arc<str>>, Missing> {
    list.short()?;
    while !list.0.is_empty() {
        let kind = list.byte()?;
        let length = list.short()?;
        let name = list.take(length.into())?;
        if kind == HOST_NAME {
            return Ok(text(name));
        }
    }
    Ok(None)
}

/// A name as text; an empty one is none.
fn text(name: &[u8]) -> Option<Arc<str>> {
    let name = name.get(..NAME_BYTES).unwrap_or(name);
    let name = name.strip_suffix(b".").unwrap_or(name);
    let mut text = String::with_capacity(name.len());
    super::push_text(&mut text, name, b"");
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
