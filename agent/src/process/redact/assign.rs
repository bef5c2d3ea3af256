//! Names and values joined by a sign, in any text: forms and queries, JSON, YAML, TOML, HCL, headers, connection
//! strings, option lists, assignments of a shell and of program text, and what of these is percent-encoded.
//!
//! Grammars are not parsed: the text may be cut anywhere and is often one language inside another. Around each `=` and
//! `:` the name before it is read, and where that promises a secret, the value after it.

use std::ops::Range;

use super::name::{Kind, kind};
use super::shape::{is_passwordish, is_random};
use super::text::{Marks, Text, among, at, before, cut, ends_with_any, find, is_quote, run_end, run_start};
use super::value;

/// The most secret-sounding names that are followed up in one text. Nothing honest has as many; what comes after is
/// hidden whole, so that the work stays bounded and nothing slips through.
const MOST_NAMES: usize = 400;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 96;

/// The most bytes of a member that may be a name or a value that are looked at.
const LONGEST_MEMBER: usize = 1024;

/// Members that name a thing whose value is in another member, and those other members.
const NAME_MEMBERS: &[&str] = &[
    "name",
    "type",
    "path",
    "attribute",
    "property",
    "key",
    "parameterkey",
    "parametername",
    "variable",
    "var",
    "option_name",
    "field",
    "id",
    "k",
    "header",
];
const VALUE_MEMBERS: &[&str] = &[
    "value",
    "val",
    "parametervalue",
    "stringvalue",
    "content",
    "data",
    "v",
    "plaintext",
    "option_value",
    "text",
    "default",
    "string_value",
    "secretvalue",
    "values",
];

/// What joins a name and a value.
struct Separator {
    end: usize,
    colon: bool,
    encoded: bool,
}

/// Marks the values of every secret-sounding name in `text`.
pub(super) fn scan(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut from = 0;
    let mut followed = 0;
    let mut members = Members::default();
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
        let kind = promise(bytes, &name).filter(|_| !is_other_use(bytes, &name, &separator));
        let member = members.role(cut(bytes, name.clone()));
        if kind.is_none() && member.is_none() {
            continue;
        }
        followed += usize::from(kind.is_some());
        if followed > MOST_NAMES {
            marks.add(text, separator.end..bytes.len());
            return;
        }
        let near = cut(bytes, 0..bytes.len().min(separator.end + LONGEST_MEMBER));
        let found =
            find_value(if kind.is_some() { bytes } else { near }, &name, sign, &separator, kind, list_sign);
        if let Some(kind) = kind {
            from = mark_found(text, kind, &found, marks).max(from);
        }
        members.hear(text, member, &found, marks);
    }
}

/// What the name promises. The `p` of a query beside a `u` is a password.
fn promise(bytes: &[u8], name: &Range<usize>) -> Option<Kind> {
    let text = cut(bytes, name.clone());
    let beside_user = text == b"p"
        && matches!(before(bytes, name.start), b'&' | b'?')
        && ["?u=", "&u="].iter().any(|user| find(bytes, 0, user.as_bytes()).is_some());
    if beside_user { Some(Kind::Secret) } else { kind(text) }
}

/// The separator at `sign`, or where to go on.
fn separator(bytes: &[u8], sign: usize) -> Result<Separator, usize> {
    let next = at(bytes, sign + 1);
    match at(bytes, sign) {
        b'=' if before(bytes, sign) == b'!' => Err(sign + 1),
        b'=' if matches!(next, b'=' | b'>') => Ok(Separator { end: sign + 2, colon: false, encoded: false }),
        b'=' => Ok(Separator { end: sign + 1, colon: false, encoded: false }),
        b':' if next == b':' => Err(sign + 2),
        b':' if cut(bytes, sign + 1..sign + 3) == b"//" => Err(sign + 3),
        // `${NAME:-value}` and `${NAME:=value}` of a shell, `name := value` of Go and make.
        b':' if next == b'=' => Ok(Separator { end: sign + 2, colon: false, encoded: false }),
        b':' if next == b'-' && is_default(bytes, sign) => {
            Ok(Separator { end: sign + 2, colon: false, encoded: false })
        }
        b':' => Ok(Separator { end: sign + 1, colon: true, encoded: false }),
        _ => {
            let start = if cut(bytes, sign + 1..sign + 3) == b"25" { sign + 3 } else { sign + 1 };
            let code = cut(bytes, start..start + 2);
            if code.eq_ignore_ascii_case(b"3d") || code.eq_ignore_ascii_case(b"3a") {
                Ok(Separator { end: start + 2, colon: code.eq_ignore_ascii_case(b"3a"), encoded: true })
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

/// A value, and whether it stood in quotes.
struct Found {
    range: Range<usize>,
    quoted: bool,
    /// Whether it follows a colon at once, as a tag or a port does too.
    tight: bool,
}

/// The value after `separator`.
fn find_value(
    bytes: &[u8],
    name: &Range<usize>,
    sign: usize,
    separator: &Separator,
    kind: Option<Kind>,
    list_sign: Option<u8>,
) -> Found {
    let mut start = separator.end;
    let spaces = run_end(bytes, start, |byte| matches!(byte, b' ' | b'\t'));
    let spaced = separator.colon || before(bytes, sign) == b' ' || is_quote(at(bytes, spaces));
    if spaced {
        start = spaces;
    }
    if let Some(block) = yaml_block(bytes, start).filter(|_| separator.colon) {
        return Found { range: block, quoted: true, tight: false };
    }
    if is_quote(at(bytes, start + 1)) && b"bBrRfFuUN@$".contains(&at(bytes, start)) {
        start += 1;
    }
    if separator.encoded {
        start += run_end(cut(bytes, start..bytes.len()), 0, |byte| byte == b'+');
        if cut(bytes, start..start + 3) == b"%22" {
            start += 3;
        }
    }
    let slashes = run_end(bytes, start, |byte| byte == b'\\') - start;
    let quote = at(bytes, start + slashes);
    let closes = is_quote(quote) && slashes == 0 && separator.colon && is_open(bytes, name, sign, quote);
    if closes {
        return Found { range: start..start, quoted: true, tight: false };
    }
    if is_quote(quote) && slashes < 8 {
        let open = start + slashes + 1;
        return Found { range: open..quoted_end(bytes, open, quote, slashes), quoted: true, tight: false };
    }
    let lead = if separator.encoded { b'%' } else { lead(bytes, name) };
    if lead == b';' && at(bytes, start) == b'{' {
        // ODBC puts a value with signs in it between braces.
        let end = run_end(bytes, start, |byte| byte != b'}');
        return Found { range: start + 1..end, quoted: true, tight: false };
    }
    let header = kind == Some(Kind::Header) || (kind == Some(Kind::Cookie) && separator.colon);
    let end = if header && !separator.encoded {
        line_end(bytes, name.start, start)
    } else {
        unquoted_end(bytes, start, lead, list_sign)
    };
    let in_quotes = is_quote(before(bytes, sign));
    let tight = separator.colon && !separator.encoded && start == separator.end && !in_quotes;
    Found { range: start..end, quoted: false, tight }
}

/// Whether `quote` after the sign ends the text that the name is in, as in `'Password: '`: the name has none after it,
/// and the line an odd number before it.
fn is_open(bytes: &[u8], name: &Range<usize>, sign: usize, quote: u8) -> bool {
    if cut(bytes, name.end..sign).contains(&quote) {
        return false;
    }
    let line = run_start(bytes, name.start, |byte| byte != b'\n');
    cut(bytes, line..name.start).iter().filter(|&&byte| byte == quote).count() % 2 == 1
}

/// The byte that stands before a name and its quotes: it tells which list the name is in.
fn lead(bytes: &[u8], name: &Range<usize>) -> u8 {
    let start = run_start(bytes, name.start, |byte| is_quote(byte) || matches!(byte, b'\\' | b' ' | b'-'));
    match before(bytes, start) {
        b',' | b'{' | b'(' | b'[' if start < name.start => before(bytes, start),
        _ => before(bytes, name.start),
    }
}

/// The end of a quoted value: the same quote after as many backslashes, or the text's end.
fn quoted_end(bytes: &[u8], open: usize, quote: u8, slashes: usize) -> usize {
    let mut index = open;
    let mut run = 0;
    while index < bytes.len() {
        match at(bytes, index) {
            b'\\' => run += 1,
            byte if byte == quote && run <= slashes => return index - run,
            _ => run = 0,
        }
        // Without escaped quotes, a backslash takes the next byte with it.
        if slashes == 0 && run == 1 {
            run = 0;
            index += 1;
        }
        index += 1;
    }
    bytes.len()
}

/// The end of a header's value: of the line, or the quote that encloses it.
fn line_end(bytes: &[u8], name: usize, start: usize) -> usize {
    let mut index = start;
    let in_quotes = cut(bytes, 0..name).iter().any(|&byte| is_quote(byte));
    while index < bytes.len() {
        match at(bytes, index) {
            b'\n' | b'\r' => break,
            byte if in_quotes && is_quote(byte) => break,
            b'\\' if matches!(at(bytes, index + 1), b'n' | b'r' | b'"' | b'\'') => break,
            _ => index += 1,
        }
    }
    index
}

/// The end of a value without quotes. Which signs end it depends on the list it is in, which `lead` tells; others end
/// it only where they can be seen to: a password may have any of them.
pub(super) fn unquoted_end(bytes: &[u8], start: usize, lead: u8, list_sign: Option<u8>) -> usize {
    let mut index = start;
    while index < bytes.len() {
        let byte = at(bytes, index);
        let next = at(bytes, index + 1);
        if byte.is_ascii_whitespace() || is_quote(byte) || Some(byte) == list_sign {
            break;
        }
        if byte == b'\\' {
            if is_quote(next) || matches!(next, b'n' | b'r') {
                break;
            }
            index += 2;
            continue;
        }
        let ends = match lead {
            b'&' | b'?' | b'#' => matches!(byte, b'&' | b'#'),
            b';' => matches!(byte, b';' | b'?'),
            b',' => matches!(byte, b',' | b';' | b')' | b'}' | b']'),
            b'(' | b'{' | b'[' => matches!(byte, b',' | b';' | b')' | b'}' | b']'),
            b'%' => byte == b'&' || (byte == b'%' && is_encoded_end(bytes, index)),
            _ => false,
        };
        if ends || (b"&,;)}]|<>".contains(&byte) && is_end(bytes, index)) {
            break;
        }
        index += 1;
    }
    index.min(bytes.len())
}

/// Whether a sign ends a value: nothing, a space, a quote, another sign, or the next name follows.
pub(super) fn is_end(bytes: &[u8], sign: usize) -> bool {
    let next = at(bytes, sign + 1);
    if sign + 1 >= bytes.len()
        || next.is_ascii_whitespace()
        || is_quote(next)
        || b"&,;)}]|<>\\".contains(&next)
    {
        return true;
    }
    let end = run_end(cut(bytes, 0..bytes.len().min(sign + LONGEST_NAME)), sign + 1, |byte| {
        byte.is_ascii_alphanumeric() || b"_-.[]%".contains(&byte)
    });
    end > sign + 1 && at(bytes, end) == b'='
}

/// `%26`, `%22`, `%2C`, `%3B`, `%20`, `%7D`, and each encoded once more.
fn is_encoded_end(bytes: &[u8], sign: usize) -> bool {
    let start = if cut(bytes, sign + 1..sign + 3) == b"25" { sign + 3 } else { sign + 1 };
    among(cut(bytes, start..start + 2), &["26", "22", "2c", "3b", "20", "7d", "23", "0a"])
}

/// The sign between the parts of a substitution, `s/old/new/`, which also ends a value in it.
fn substitution_sign(bytes: &[u8]) -> Option<u8> {
    let sign = at(bytes, 1);
    let parts = bytes.iter().filter(|&&byte| byte == sign).count();
    (matches!(at(bytes, 0), b's' | b'y') && b"/|#,@!~".contains(&sign) && parts >= 3).then_some(sign)
}

/// The lines of a block (`password: |`): those that are indented.
fn yaml_block(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let line = run_end(bytes, start + 1, |byte| matches!(byte, b'-' | b'+' | b' ') || byte.is_ascii_digit());
    if !matches!(at(bytes, start), b'|' | b'>') || at(bytes, line) != b'\n' {
        return None;
    }
    let mut end = line;
    while at(bytes, end) == b'\n' && at(bytes, end + 1) == b' ' {
        end = run_end(bytes, end + 1, |byte| byte != b'\n');
    }
    let content = run_end(bytes, line, |byte| byte.is_ascii_whitespace());
    (content < end).then_some(content..end)
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
    end > start && at(bytes, start).is_ascii_alphabetic() && matches!(at(bytes, end), b'(' | b'[')
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

/// The part that a name plays where names and values are members of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Value,
}

/// What was last heard of such members, up to the end of the object.
#[derive(Default)]
struct Members {
    /// The kind that a name member's content promised, and where.
    promised: Option<(Kind, usize)>,
    /// A value member that came before its name.
    waiting: Option<Range<usize>>,
}

impl Members {
    fn role(&self, name: &[u8]) -> Option<Role> {
        if among(name, NAME_MEMBERS) {
            Some(Role::Name)
        } else {
            among(name, VALUE_MEMBERS).then_some(Role::Value)
        }
    }

    fn hear(&mut self, text: &Text<'_>, role: Option<Role>, found: &Found, marks: &mut Marks) {
        let bytes = text.bytes.as_ref();
        let Some(role) = role else { return };
        let Range { start, end } = found.range.clone();
        let closed =
            |from: usize| from > start || cut(bytes, from..start).contains(&b'}') || start - from > 400;
        match role {
            Role::Name => {
                let Some(kind) = kind(cut(bytes, start..end)) else {
                    self.promised = None;
                    return;
                };
                if let Some(value) = self.waiting.take().filter(|value| !closed(value.end)) {
                    value::mark(text, kind, value, marks);
                }
                self.promised = Some((kind, end));
            }
            Role::Value => {
                if let Some((kind, _)) = self.promised.take().filter(|(_, from)| !closed(*from)) {
                    value::mark(text, kind, found.range.clone(), marks);
                } else {
                    self.waiting = Some(start..end);
                }
            }
        }
    }
}
