//! Whether a value is the secret that its name promises, and which part of it.

use std::ops::Range;

use super::header::mark_by_kind;
use super::name::{Kind, kind};
use super::shape::{
    has_scheme, is_file, is_key_groups, is_passwordish, is_pgp_id, is_random, is_short_number, is_stand_in,
};
use super::text::{Marks, Text, at, cut, is_quote};

/// The fewest bytes of a value that must look random.
const RANDOM: usize = 16;

/// Marks `range` of `text`, the value of a name of kind `found`, or the secret part of it.
pub(super) fn mark(text: &Text<'_>, found: Kind, range: Range<usize>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let range = unquoted(bytes, range);
    if mark_by_kind(text, found, range.clone(), marks) {
        return;
    }
    let value = cut(bytes, range.clone());
    if found == Kind::User {
        mark_user(text, range, marks);
    } else if found == Kind::Login {
        mark_login(text, range, marks);
    } else if is_secret(found, value) {
        marks.add(text, range);
    }
}

/// `range` without quotes that enclose it.
fn unquoted(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let value = cut(bytes, range.clone());
    let quote = at(value, 0);
    if is_quote(quote) && value.len() >= 2 && value.last() == Some(&quote) {
        range.start + 1..range.end - 1
    } else {
        range
    }
}

/// Whether `value` can be the secret of a name of kind `found`.
pub(super) fn is_secret(found: Kind, value: &[u8]) -> bool {
    if is_stand_in(value) {
        return false;
    }
    match found {
        Kind::Secret => !is_short_number(value, 4) && !is_name_of_secret(value),
        Kind::Key => !is_short_number(value, 6) && !is_file(value) && !is_pgp_id(value) && value.len() >= 3,
        Kind::Pass => !is_short_number(value, 4) && !is_time(value),
        Kind::Random | Kind::Login | Kind::Header | Kind::Cookie => {
            let random = |part: &[u8]| is_random(part, RANDOM) || is_key_groups(part) || is_mixed(part);
            !is_file(value) && !is_pgp_id(value) && value.split(|&byte| byte == b',').any(random)
        }
        Kind::User => false,
    }
}

/// The name under which a secret is kept, such as `db-password`: small words joined by signs, of which one means a
/// secret.
fn is_name_of_secret(value: &[u8]) -> bool {
    let plain = value.iter().all(|&byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_' | b'/'));
    plain && value.iter().any(|byte| matches!(byte, b'-' | b'_')) && kind(value).is_some()
}

/// Long, with letters of both cases, digits and signs: random, of more signs than encodings use.
fn is_mixed(value: &[u8]) -> bool {
    let has = |class: fn(&u8) -> bool| value.iter().any(class);
    value.len() >= 24
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
        && !has(u8::is_ascii_whitespace)
        && value.iter().any(|byte| b"!#^&*(){}[]|<>?;@".contains(byte))
}

/// A time or a size: digits and a short unit, as in `30s` or `8Gi`.
fn is_time(value: &[u8]) -> bool {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && digits < value.len() && value.len() - digits <= 2 && value.len() <= 6
}

/// A password after a user. Groups stand there too, so that it must look chosen.
fn mark_user(text: &Text<'_>, range: Range<usize>, marks: &mut Marks) {
    let value = cut(&text.bytes, range.clone());
    let Some(colon) = value.iter().position(|&byte| byte == b':').filter(|_| !has_scheme(value)) else {
        return;
    };
    if is_passwordish(cut(value, colon + 1..value.len())) {
        marks.add(text, range.start + colon + 1..range.end);
    }
}

/// `user:password`: the password. A value without a colon must look random.
fn mark_login(text: &Text<'_>, range: Range<usize>, marks: &mut Marks) {
    let value = cut(&text.bytes, range.clone());
    if is_stand_in(value) {
        return;
    }
    match value.iter().position(|byte| matches!(byte, b':' | b'%')).filter(|&colon| colon > 0) {
        Some(colon) if !has_scheme(value) => mark_second(text, range.start + colon + 1..range.end, marks),
        _ if is_random(value, 12) || is_key_groups(value) || (is_passwordish(value) && value.len() >= 12) => {
            marks.add(text, range);
        }
        _ => {}
    }
}

/// Marks what stands after a user and a separator, unless it is a stand-in or a number such as a port.
pub(super) fn mark_second(text: &Text<'_>, range: Range<usize>, marks: &mut Marks) {
    let password = cut(&text.bytes, range.clone());
    if !is_stand_in(password) && !is_short_number(password, 4) {
        marks.add(text, range);
    }
}
