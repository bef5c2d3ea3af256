//! Credentials after the name of their scheme (`Bearer …`, `Authorization: token …`) and in cookies.

use std::ops::Range;

use super::name::{Kind, kind};
use super::shape::{is_random, is_stand_in};
use super::text::{Marks, Text, among, at, before, cut, find, is_quote, run_end, run_start};

/// Names of schemes, with how long and random what follows must be where no header announces it.
#[rustfmt::skip]
const SCHEMES: &[(&str, usize)] = &[
    ("bearer", 12), ("basic", 10), ("apikey", 12), ("api-key", 12), ("ssws", 16), ("geniekey", 16),
    ("negotiate", 16), ("ntlm", 16), ("splunk", 16), ("bot", 24), ("oauth", 16), ("jwt", 16), ("auth", 20),
    ("sso-key", 16),
];

/// The value of an `Authorization` header: everything but the scheme.
pub(super) fn mark_authorization(text: &Text<'_>, value: Range<usize>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let scheme_end = run_end(bytes, value.start, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let scheme = cut(bytes, value.start..scheme_end);
    let mut start = scheme_end;
    loop {
        match at(bytes, start) {
            b' ' | b'\t' | b'+' => start += 1,
            b'%' if cut(bytes, start..start + 3) == b"%20" => start += 3,
            _ => break,
        }
    }
    let has_scheme = start > scheme_end && scheme_end <= value.end;
    if !has_scheme && SCHEMES.iter().any(|(name, _)| scheme.eq_ignore_ascii_case(name.as_bytes())) {
        return;
    }
    let range = if has_scheme && start < value.end { start..value.end } else { value };
    let credentials = cut(bytes, range.clone());
    if !is_stand_in(credentials) && !is_stand_in(cut(credentials, 0..credentials.len().min(2))) {
        marks.add(text, range);
    }
}

/// Marks what follows the name of a scheme and looks random, in any text.
pub(super) fn scan_schemes(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut from = 0;
    while let Some(space) =
        cut(bytes, from..bytes.len()).iter().position(|byte| matches!(byte, b' ' | b'%' | b'+'))
    {
        let space = from + space;
        from = space + 1;
        let start = match at(bytes, space) {
            b'%' if cut(bytes, space..space + 3) == b"%20" => space + 3,
            b'%' => continue,
            _ => space + 1,
        };
        let name_end = if before(bytes, space) == b',' { space - 1 } else { space };
        let name_start =
            run_start(cut(bytes, 0..name_end), name_end, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = cut(bytes, name_start..name_end);
        let Some((_, least)) =
            SCHEMES.iter().find(|(scheme, _)| name.eq_ignore_ascii_case(scheme.as_bytes()))
        else {
            continue;
        };
        let end = run_end(bytes, start, |byte| {
            !byte.is_ascii_whitespace() && !is_quote(byte) && !matches!(byte, b'\\' | b'<' | b'>' | b'&')
        });
        if is_random(cut(bytes, start..end), *least) {
            marks.add(text, start..end);
            from = end;
        }
    }
}

/// Marks the values of a cookie's pairs that name a session or a secret, or look random.
pub(super) fn mark_cookie(text: &Text<'_>, value: Range<usize>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut start = value.start;
    let mut paired = false;
    for crumb in cut(bytes, value.clone()).split(|&byte| byte == b';') {
        if let Some(equals) = crumb.iter().position(|&byte| byte == b'=') {
            paired = true;
            let name = cut(crumb, 0..equals).trim_ascii();
            let content = cut(crumb, equals + 1..crumb.len());
            let is_session = ["sess", "sid", "auth", "token", "remember", "csrf", "xsrf", "jwt", "login"]
                .iter()
                .any(|part| find(name, 0, part.as_bytes()).is_some());
            let telling = is_session || kind(name).is_some_and(|kind| kind != Kind::User);
            let secret = (telling && content.len() >= 6) || is_random(content, 10) || content.len() >= 24;
            if secret && !is_stand_in(content) {
                marks.add(text, start + equals + 1..start + crumb.len());
            }
        }
        start += crumb.len() + 1;
    }
    if !paired && is_random(cut(bytes, value.clone()), 16) {
        marks.add(text, value);
    }
}

/// Marks passwords that a script of `expect` sends: what follows `send` after it has waited for a prompt.
pub(super) fn scan_expect(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let prompts: [&[u8]; 6] = [b"word:", b"assword", b"assphrase", b"passcode", b"ogin token", b"PIN"];
    let Some(mut from) = prompts.iter().filter_map(|prompt| find(bytes, 0, prompt)).min() else { return };
    while let Some(found) = find(bytes, from, b"send") {
        from = found + 4;
        let boundary = !before(bytes, found).is_ascii_alphanumeric();
        let argument = run_end(bytes, from, |byte| {
            matches!(byte, b' ' | b'-' | b'(' | b'_') || byte.is_ascii_lowercase()
        });
        let quote = at(bytes, argument);
        if !boundary || !is_quote(quote) {
            continue;
        }
        let start = argument + 1;
        let end = run_end(bytes, start, |byte| byte != quote && byte != b'\\');
        let sent = cut(bytes, start..end);
        if !is_stand_in(sent) && !among(sent, &["y", "n", "exit"]) && !sent.contains(&b' ') {
            marks.add(text, start..end);
        }
        from = end;
    }
}

/// Whether the kind asks for a reader of this file.
pub(super) fn mark_by_kind(text: &Text<'_>, found: Kind, value: Range<usize>, marks: &mut Marks) -> bool {
    match found {
        Kind::Header => mark_authorization(text, value, marks),
        Kind::Cookie => mark_cookie(text, value, marks),
        _ => return false,
    }
    true
}

/// Whether `word` names a scheme of authorization.
pub(super) fn is_scheme(word: &[u8]) -> bool {
    SCHEMES.iter().any(|(scheme, _)| word.eq_ignore_ascii_case(scheme.as_bytes()))
}
