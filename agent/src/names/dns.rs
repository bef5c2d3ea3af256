//! A DNS answer: the name that was asked for, and its addresses.
//!
//! What is read is what the answer says of *its question*: aliases are followed from the name that was asked for, and
//! addresses of other names are passed over. So nobody who answers for one name can give addresses to another.
//!
//! The crate `domain` reads the message: it goes over the records one by one without copying any, so that the budget is
//! this module's own, and its compression pointers lead backwards only. (`hickory-proto` and `simple-dns` make a tree of
//! the whole message first; `dns-parser` is no longer kept.)

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::{Message, ParsedName};
use domain::rdata::{A, Aaaa, Cname};

/// Records of one answer that are looked at.
pub const RECORDS: usize = 64;
/// Aliases of one answer that are followed: resolvers give up sooner.
pub const ALIASES: usize = 16;
/// Bytes of a name as text: 255 on the wire, each at most four characters.
pub const NAME_BYTES: usize = 1024;

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for, in lower case.
    pub name: Arc<str>,
    /// Its addresses, each with its time to live.
    pub addresses: Vec<(IpAddr, Duration)>,
}

/// It is no answer to one question, or its beginning cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer of a DNS server")]
pub struct NoAnswer;

/// Reads a message, or its beginning.
///
/// # Errors
/// [`NoAnswer`], where its header or question cannot be read. What cannot be read behind them ends the answer.
pub fn read(message: &[u8]) -> Result<Answer, NoAnswer> {
    let message = Message::from_octets(message).map_err(|_| NoAnswer)?;
    let header = message.header();
    if !header.qr() || header.opcode() != Opcode::QUERY || message.header_counts().qdcount() != 1 {
        return Err(NoAnswer);
    }
    let question =
        message.first_question().filter(|question| question.qclass() == Class::IN).ok_or(NoAnswer)?;
    let name = text(question.qname()).ok_or(NoAnswer)?;
    let mut answer = Answer { name, addresses: Vec::new() };
    if header.rcode() != Rcode::NOERROR {
        return Ok(answer);
    }
    let mut aliases = Vec::new();
    let mut addresses = Vec::new();
    let Ok(records) = message.answer() else { return Ok(answer) };
    for record in records.take(RECORDS) {
        let Ok(record) = record else { break };
        if record.class() != Class::IN {
            continue;
        }
        let (owner, ttl) = (record.owner(), record.ttl().as_secs());
        if let Ok(Some(found)) = record.to_record::<A>() {
            addresses.push((owner, IpAddr::V4(found.data().addr()), ttl));
        } else if let Ok(Some(found)) = record.to_record::<Aaaa>() {
            addresses.push((owner, IpAddr::V6(found.data().addr()).to_canonical(), ttl));
        } else if let Ok(Some(found)) = record.into_record::<Cname<ParsedName<_>>>() {
            aliases.push((owner, *found.data().cname(), ttl));
        }
    }
    let (mut here, mut alias_ttl) = (*question.qname(), u32::MAX);
    for _ in 0..=ALIASES {
        let of_here = addresses.iter().filter(|(owner, _, _)| *owner == here);
        answer.addresses.extend(
            of_here.map(|(_, address, ttl)| (*address, Duration::from_secs(alias_ttl.min(*ttl).into()))),
        );
        let Some((_, target, ttl)) = aliases.iter().find(|(owner, _, _)| *owner == here) else { break };
        (here, alias_ttl) = (*target, alias_ttl.min(*ttl));
    }
    answer.addresses.truncate(RECORDS);
    Ok(answer)
}

/// A name as text; the root has none.
fn text(name: &ParsedName<&[u8]>) -> Option<Arc<str>> {
    let mut text = String::new();
    for label in name.iter().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        super::push_text(&mut text, label.as_slice(), b".");
    }
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
