//! Where the value beside a name starts and ends.

use std::ops::Range;

use super::name::Kind;
use super::text::{among, at, before, cut, is_quote, run_end, run_start};

/// The longest name, in bytes.
pub(super) const LONGEST_NAME: usize = 96;

/// What joins a name and a value.
pub(super) struct Separator {
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after it.
    pub(super) end: usize,
    /// Whether it is a colon.
    pub(super) colon: bool,
    /// Whether it is percent-encoded.
    pub(super) encoded: bool,
}

/// A value, and whether it stood in quotes.
pub(super) struct Found {
    pub(super) range: Range<usize>,
    pub(super) quoted: bool,
    /// Whether it follows a colon at once, as a tag or a port does too.
    pub(super) tight: bool,
}

/// The value after `separator`. `kind` is what the name promises; `list_sign` a sign that ends every value here.
pub(super) fn find_value(
    bytes: &[u8],
    name: &Range<usize>,
    separator: &Separator,
    kind: Option<Kind>,
    list_sign: Option<u8>,
) -> Found {
    let sign = separator.start;
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
    let closes = is_quote(quote)
        && slashes == 0
        && !at(bytes, start + 1).is_ascii_alphanumeric()
        && b" ),;+.$]}&|\n\0".contains(&at(bytes, start + 1))
        && is_open(bytes, name, sign, quote);
    // What a shell puts between backticks is a command; a script of JavaScript has its templates after a colon.
    if closes || (quote == b'`' && !separator.colon && kind != Some(Kind::Header)) {
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
pub(super) fn quoted_end(bytes: &[u8], open: usize, quote: u8, slashes: usize) -> usize {
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
fn unquoted_end(bytes: &[u8], start: usize, lead: u8, list_sign: Option<u8>) -> usize {
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
pub(super) fn substitution_sign(bytes: &[u8]) -> Option<u8> {
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
