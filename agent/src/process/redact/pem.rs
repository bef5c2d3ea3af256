//! Private keys in their armour, whole or cut, in one argument or word by word over several.

use super::text::{Marks, Text, at, cut, find};

/// What ends the first line of a private key, before the dashes: also `PGP PRIVATE KEY BLOCK`.
const OPENINGS: &[&[u8]] =
    &[b"PRIVATE KEY-----", b"PRIVATE KEY BLOCK-----", b"OpenVPN Static key V1-----", b"Private-Lines:"];

/// Marks what lies between the lines of each private key in `text`; to the end where the last line is missing.
pub(super) fn scan(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    if bytes.len() < 24 {
        return;
    }
    for opening in OPENINGS {
        let mut from = 0;
        while let Some(found) = find(bytes, from, opening) {
            let start = found + opening.len();
            from = start;
            let Some(body) = body_start(bytes, start) else { continue };
            let end = find(bytes, body, b"-----END").unwrap_or(bytes.len());
            if is_closing(bytes, found) {
                continue;
            }
            marks.add(text, body..end);
            from = end;
        }
    }
}

/// Whether the words at `found` belong to the last line of a key.
fn is_closing(bytes: &[u8], found: usize) -> bool {
    cut(bytes, found.saturating_sub(24)..found).windows(8).any(|window| window == b"-----END")
}

/// The first byte after the line's end, real or escaped; nothing where the text ends with the line, as in a search for
/// such lines.
fn body_start(bytes: &[u8], mut start: usize) -> Option<usize> {
    loop {
        match at(bytes, start) {
            b'\n' | b'\r' | b' ' => start += 1,
            b'\\' if matches!(at(bytes, start + 1), b'n' | b'r') => start += 2,
            byte if byte.is_ascii_alphanumeric() => return Some(start),
            _ => return None,
        }
    }
}

/// Marks the arguments of a key that a shell has split at its spaces: from after `KEY-----` to before `-----END`.
pub(super) fn scan_split(arguments: &[Text<'_>], marks: &mut Marks) {
    let mut previous: &[u8] = &[];
    let mut inside = false;
    for argument in arguments {
        let bytes = argument.bytes.as_ref();
        if bytes.starts_with(b"-----END") {
            inside = false;
        } else if inside {
            marks.add_all(argument);
        } else if previous.ends_with(b"PRIVATE") && bytes == b"KEY-----" {
            inside = true;
        }
        previous = bytes;
    }
}
