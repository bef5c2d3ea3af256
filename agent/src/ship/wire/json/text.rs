//! Strings in JSON: bytes that are not UTF-8, and characters that a terminal obeys.

use std::borrow::Cow;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::ser::Formatter;

use crate::model::bytes::is_unprintable;
use crate::model::time::WallTime;
use crate::ship::wire::bytes::WireBytes;

/// Compact JSON in which what steers a terminal or breaks a line is written `\u…`: a reader gets it back exactly.
pub(super) struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, hostile)) = rest.char_indices().find(|(_, c)| is_unprintable(*c)) {
            let (before, after) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            for unit in hostile.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = after.split_at(hostile.len_utf8()).1;
        }
        out.write_all(rest.as_bytes())
    }
}

/// The text of bytes and, where they are not UTF-8, the bytes in base64; nothing where there are none.
pub(super) fn text(bytes: &WireBytes) -> (Option<Cow<'_, str>>, Option<String>) {
    if bytes.is_empty() {
        return (None, None);
    }
    let (text, exact) = always(bytes);
    (Some(text), exact)
}

/// The same, also for none.
pub(super) fn always(bytes: &WireBytes) -> (Cow<'_, str>, Option<String>) {
    match std::str::from_utf8(bytes.as_bytes()) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => (Cow::Owned(bytes.0.to_string()), Some(STANDARD.encode(bytes.as_bytes()))),
    }
}

/// The same for an array: the base64 of those that are not UTF-8, at their places.
pub(super) fn texts(all: &[WireBytes]) -> (Vec<Cow<'_, str>>, Option<Vec<String>>) {
    let (texts, exact): (Vec<_>, Vec<_>) = all.iter().map(always).unzip();
    let any = exact.iter().any(Option::is_some);
    (texts, any.then(|| exact.into_iter().map(Option::unwrap_or_default).collect()))
}

/// RFC 3339 in UTC with nanoseconds.
pub(super) fn rfc3339(time: WallTime) -> String {
    // Any i64 of nanoseconds is within jiff's range (years -9999 to 9999).
    jiff::Timestamp::from_nanosecond(time.unix_ns.into())
        .map_or_else(|_| String::new(), |time| format!("{time:.9}"))
}
