//! Names and values joined by a sign, in any text: forms and queries, JSON, YAML, TOML, HCL, headers, connection
//! strings, option lists, assignments of a shell and of program text, and what of these is percent-encoded.
//!
//! Grammars are not parsed: the text may be cut anywhere and is often one language inside another. Around each `=` and
//! `:` the name before it is read, and where that promises a secret, the value after it.

use std::ops::Range;

use super::members::{self, Members, Role};
use super::name::{Kind, kind};
use super::shape::{is_passwordish, is_random};
use super::span::{Found, LONGEST_NAME, Separator, find_value, quoted_end, substitution_sign};
use super::text::{Marks, Text, among, at, before, cut, ends_with_any, find, is_quote, run_end, run_start};
use super::value;

/// The most secret-sounding names that are followed up in one text. Nothing honest has as many; what comes after is
/// hidden whole, so that the work stays bounded and nothing slips through.
const MOST_NAMES: usize = 128;

/// Marks the values of every secret-sounding name in `text`.
pub(super) fn scan(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut from = 0;
    let mut followed = 0;
    let mut heard = Members::default();
    let beside_user = ["?u=", "&u="].iter().any(|user| find(bytes, 0, user.as_bytes()).is_some());
    let list_sign = if at(bytes, 0) == b':' { Some(b':') } else { substitution_sign(bytes) };
    while let Some(found) =
        bytes.get(from..).and_then(|rest| rest.iter().position(|byte| matches!(byte, b'=' | b':' | b'%')))
    {
        let sign = from + found;
        let separator = match separator(bytes, sign) {
            Ok(separator) => separator,
            Err(next) => {
                from = next;
                continue;
            }
        };
        from = separator.end;
        let Some(name) = name_before(bytes, sign) else { continue };
        let kind = promise(bytes, &name, beside_user).filter(|_| !is_other_use(bytes, &name, &separator));
        let member = Members::role(cut(bytes, name.clone()));
        if kind.is_none() && member.is_none() {
            continue;
        }
        followed += usize::from(kind.is_some());
        if followed > MOST_NAMES {
            marks.add(text, separator.end..bytes.len());
            return;
        }
        let near = cut(bytes, 0..bytes.len().min(separator.end + members::LONGEST));
        let whole = kind.is_some() || (member == Some(Role::Value) && heard.await_value());
        let found = find_value(if whole { bytes } else { near }, &name, &separator, kind, list_sign);
        if let Some(kind) = kind {
            from = mark_found(text, kind, &found, marks).max(from);
        }
        heard.hear(text, member, &found, marks);
    }
}

/// What the name promises. The `p` of a query beside a `u` is a password.
fn promise(bytes: &[u8], name: &Range<usize>, beside_user: bool) -> Option<Kind> {
    let text = cut(bytes, name.clone());
    let short = beside_user && text == b"p" && matches!(before(bytes, name.start), b'&' | b'?');
    if short { Some(Kind::Secret) } else { kind(text) }
}

/// The separator at `sign`, or where to go on.
fn separator(bytes: &[u8], sign: usize) -> Result<Separator, usize> {
    let next = at(bytes, sign + 1);
    match at(bytes, sign) {
        b'=' if before(bytes, sign) == b'!' => Err(sign + 1),
        // A comparison; without spaces it is a field of a query to httpie.
        b'=' if next == b'=' && (before(bytes, sign) == b' ' || at(bytes, sign + 2) == b'=') => Err(sign + 2),
        b'=' if matches!(next, b'=' | b'>') => {
            Ok(Separator { start: sign, end: sign + 2, colon: false, encoded: false })
        }
        b'=' => Ok(Separator { start: sign, end: sign + 1, colon: false, encoded: false }),
        b':' if next == b':' => Err(sign + 2),
        b':' if cut(bytes, sign + 1..sign + 3) == b"//" => Err(sign + 3),
        // `${NAME:-value}` and `${NAME:=value}` of a shell, `name := value` of Go and make.
        // A list of paths.
        b':' if next == b'/' && !is_quote(before(bytes, sign)) => Err(sign + 1),
        b':' if next == b'=' => Ok(Separator { start: sign, end: sign + 2, colon: false, encoded: false }),
        b':' if next == b'-' && is_default(bytes, sign) => {
            Ok(Separator { start: sign, end: sign + 2, colon: false, encoded: false })
        }
        b':' => Ok(Separator { start: sign, end: sign + 1, colon: true, encoded: false }),
        _ => {
            let start = if cut(bytes, sign + 1..sign + 3) == b"25" { sign + 3 } else { sign + 1 };
            let code = cut(bytes, start..start + 2);
            if code.eq_ignore_ascii_case(b"3d") || code.eq_ignore_ascii_case(b"3a") {
                Ok(Separator {
                    start: sign,
                    end: start + 2,
                    colon: code.eq_ignore_ascii_case(b"3a"),
                    encoded: true,
                })
            } else {
                Err(sign + 1)
            }
        }
    }
}

/// Whether the name before `sign` is that of a variable in `${…}`.
fn is_default(bytes: &[u8], sign: usize) -> bool {
    let start = run_start(bytes, sign, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    cut(bytes, start.saturating_sub(2)..start) == b"${"
}

/// The name that ends before `sign`: perhaps in quotes, perhaps with a space or a bracket after it.
fn name_before(bytes: &[u8], sign: usize) -> Option<Range<usize>> {
    let mut end = run_start(bytes, sign, |byte| byte == b' ').max(sign.saturating_sub(3));
    if end == sign && at(bytes, sign) == b'=' && matches!(before(bytes, sign), b'+' | b'?') {
        end -= 1;
    }
    for _ in 0..6 {
        if matches!(before(bytes, end), b'"' | b'\'' | b']' | b'\\' | b'`' | b'}') {
            end -= 1;
        } else if end >= 3 && among(cut(bytes, end - 3..end), &["%22", "%5D", "%27"]) {
            end -= 3;
        } else {
            break;
        }
    }
    let window = end.saturating_sub(LONGEST_NAME);
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'_' | b'-' | b'.');
    let mut start = run_start(bytes, end, is_name).max(window);
    // The digits of the escape before the name: `%26token`.
    while before(bytes, start) == b'%' && end - start > 2 {
        start += 2;
        if cut(bytes, start - 2..start) != b"25" {
            break;
        }
    }
    let name = cut(bytes, start..end);
    let trimmed = name.iter().position(|byte| !matches!(byte, b'-' | b'.')).unwrap_or(name.len());
    (start + trimmed < end).then_some(start + trimmed..end)
}

/// Whether the name is part of something else: a tag of an image, a part of an ARN, the checksum of a secret.
fn is_other_use(bytes: &[u8], name: &Range<usize>, separator: &Separator) -> bool {
    let lead = before(bytes, name.start);
    let head = cut(bytes, 0..name.start);
    (separator.colon && matches!(lead, b':' | b'/' | b'@') && !separator.encoded && name.start > 1)
        || (lead == b'/' && ends_with_any(head, &["checksum/", "hash/", "sha256/", "digest/"]))
}

/// Marks a value, or the literals in it; answers where to go on.
fn mark_found(text: &Text<'_>, kind: Kind, found: &Found, marks: &mut Marks) -> usize {
    let bytes = text.bytes.as_ref();
    let Range { start, end } = found.range.clone();
    if !found.quoted {
        match at(bytes, start) {
            b'[' => return mark_literals(text, start, b']', kind, marks),
            b'(' => return mark_literals(text, start, b')', kind, marks),
            b'{' => return start,
            _ => {}
        }
        if is_expression(bytes, start) || is_prose(bytes, start, end) {
            return start;
        }
        if found.tight && !is_passwordish(cut(bytes, start..end)) {
            return start;
        }
    }
    if matches!(kind, Kind::Header | Kind::Cookie) && found.quoted {
        value::mark(text, kind, found.range.clone(), marks);
        return end;
    }
    let earlier = marks.len();
    value::mark(text, kind, found.range.clone(), marks);
    if marks.len() > earlier { end } else { start }
}

/// Program text that computes the value: a name that is called or indexed.
fn is_expression(bytes: &[u8], start: usize) -> bool {
    let end = run_end(bytes, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    end > start && !at(bytes, start).is_ascii_digit() && matches!(at(bytes, end), b'(' | b'[')
}

/// A sentence after a colon: a word in small letters, and another.
fn is_prose(bytes: &[u8], start: usize, end: usize) -> bool {
    before(bytes, start) == b' '
        && cut(bytes, start..end).iter().all(|byte| byte.is_ascii_lowercase())
        && at(bytes, end) == b' '
        && at(bytes, end + 1).is_ascii_lowercase()
        && !bytes.contains(&b'\n')
}

/// Marks the quoted literals of an array or a tuple: of a login the last one, which is the password.
fn mark_literals(text: &Text<'_>, open: usize, close: u8, kind: Kind, marks: &mut Marks) -> usize {
    let bytes = text.bytes.as_ref();
    let mut index = open + 1;
    let mut last = None;
    if at(bytes, run_end(bytes, index, |byte| byte.is_ascii_whitespace())) == b'{' {
        return open;
    }
    mark_bare_items(text, index, close, marks);
    while index < bytes.len() && at(bytes, index) != close {
        let quote = at(bytes, index);
        if is_quote(quote) {
            let end = quoted_end(bytes, index + 1, quote, 0);
            let literal = index + 1..end;
            let content = cut(bytes, literal.clone());
            if kind != Kind::Login && value::is_secret(kind, content) && is_passwordish(content) {
                marks.add(text, literal.clone());
            }
            last = Some(literal);
            index = end;
        }
        index += 1;
    }
    if let (Some(literal), Kind::Login) = (last, kind) {
        value::mark_second(text, literal, marks);
    }
    index.min(bytes.len())
}

/// Marks the random words of a list without quotes: `CREDS=(user x)`.
fn mark_bare_items(text: &Text<'_>, start: usize, close: u8, marks: &mut Marks) {
    let end = run_end(&text.bytes, start, |byte| byte != close);
    let mut item = start;
    for part in cut(&text.bytes, start..end).split(|byte| matches!(byte, b' ' | b',')) {
        if is_random(part, 16) {
            marks.add(text, item..item + part.len());
        }
        item += part.len() + 1;
    }
}
