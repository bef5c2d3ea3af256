//! Tokens that are known by their own shape, wherever they stand.
//!
//! The heads of `issuers.rs` are searched all at once with an automaton (crate `aho-corasick`), which costs one table
//! step per byte however long the table grows; what follows a head is then checked by hand.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::issuers::{ISSUERS, Issuer, Letters};
use super::shape::is_random;
use super::text::{Marks, Signs, Text, at, before, cut, find, run_end, run_start};

/// Nothing where the automaton could not be built, which the table is too small for; a test holds it to that.
static HEADS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(ISSUERS.iter().map(|issuer| issuer.head))
        .ok()
});

/// How much of a token with a common head is looked at for randomness, in bytes.
const SAMPLE: usize = 64;
/// The longest token with a common head, in bytes.
const LONGEST_COMMON: usize = 512;

/// Marks every token in `text`.
pub(super) fn scan(text: &Text<'_>, signs: Signs, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut start = 0;
    while let Some(found) = HEADS.as_ref().and_then(|heads| heads.find(cut(bytes, start..bytes.len()))) {
        let head = start + found.start();
        let issuer = ISSUERS.get(found.pattern().as_usize());
        start = match issuer.and_then(|issuer| token_end(bytes, head, issuer)) {
            Some(end) => {
                marks.add(text, head..end);
                end
            }
            None => head + 1,
        };
    }
    if signs.all(b"$") {
        scan_hashes(text, marks);
    }
    if bytes.len() >= 30 && signs.any(b".~:") {
        scan_infixes(text, marks);
    }
}

/// The end of the token whose head stands at `head`; nothing where it is part of a longer word, or too short.
///
/// At the end of an argument it may have been cut, so a few bytes are enough there.
fn token_end(bytes: &[u8], head: usize, issuer: &Issuer) -> Option<usize> {
    if !starts_word(bytes, head, issuer.common) {
        return None;
    }
    let body = head + issuer.head.len();
    let window = if issuer.common { cut(bytes, 0..bytes.len().min(body + LONGEST_COMMON)) } else { bytes };
    let mut end = run_end(window, body, |byte| accepts(issuer.letters, byte));
    while end > body && matches!(at(bytes, end - 1), b'.' | b':') {
        end -= 1;
    }
    let rest = cut(bytes, body..end);
    if issuer.common {
        // A common head may stand many times in one word: what is looked at stays short.
        let sample = rest.get(..rest.len().min(SAMPLE)).unwrap_or(rest);
        return is_random(sample, issuer.least).then_some(end);
    }
    let least = if end == bytes.len() { issuer.least.min(6) } else { issuer.least };
    let varied = rest.iter().any(u8::is_ascii_digit) || rest.iter().any(u8::is_ascii_uppercase);
    (rest.len() >= least && (varied || rest.len() >= 2 * least)).then_some(end)
}

/// Whether a word starts at `index`: no letter or digit before it, unless that ends an escape (`%3D`, `\n`, `\u0022`).
fn starts_word(bytes: &[u8], index: usize, strictly: bool) -> bool {
    let previous = before(bytes, index);
    if strictly && matches!(previous, b'_' | b'-' | b'.' | b'/' | b'+') {
        return false;
    }
    !previous.is_ascii_alphanumeric()
        || (index >= 3 && at(bytes, index - 3) == b'%')
        || (index >= 2 && at(bytes, index - 2) == b'\\')
        || (index >= 6 && cut(bytes, index - 6..index - 4) == b"\\u")
}

fn accepts(letters: Letters, byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || match letters {
            Letters::Alnum => false,
            Letters::Url => matches!(byte, b'-' | b'_'),
            Letters::Wide => b"-_.+/=~%:$".contains(&byte),
        }
}

/// Marks password hashes: `$6$salt$hash` and its kin, which can be attacked offline.
fn scan_hashes(text: &Text<'_>, marks: &mut Marks) {
    const SCHEMES: &[&[u8]] = &[
        b"1",
        b"2",
        b"2a",
        b"2b",
        b"2x",
        b"2y",
        b"5",
        b"6",
        b"7",
        b"y",
        b"gy",
        b"apr1",
        b"argon2i",
        b"argon2d",
        b"argon2id",
        b"scrypt",
        b"sha1",
        b"md5",
        b"P",
        b"H",
        b"S",
        b"pbkdf2",
        b"pbkdf2-sha256",
        b"pbkdf2-sha512",
    ];
    let bytes = text.bytes.as_ref();
    let mut index = 0;
    while let Some(found) = cut(bytes, index..bytes.len()).iter().position(|&byte| byte == b'$') {
        let start = index + found;
        let scheme_end = run_end(bytes, start + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
        index = start + 1;
        let known = SCHEMES.contains(&cut(bytes, start + 1..scheme_end)) && at(bytes, scheme_end) == b'$';
        if known {
            let end = run_end(bytes, scheme_end, |byte| {
                byte.is_ascii_alphanumeric() || b"$./,=+-_".contains(&byte)
            });
            let longest = cut(bytes, scheme_end..end).split(|&byte| byte == b'$').map(<[u8]>::len).max();
            if longest.is_some_and(|longest| longest >= 16) {
                marks.add(text, start..end);
            }
            index = end.max(index);
        }
    }
}

/// Marks tokens that issuers mark in their middle: Azure application secrets (`8Q~`), Terraform (`.atlasv1.`),
/// Telegram bots (`:AA` between the bot's number and 33 letters), Discord bots (three dotted parts).
fn scan_infixes(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    for (infix, least_before, least_after) in
        [(&b"8Q~"[..], 3, 20), (b"7Q~", 3, 20), (b".atlasv1.", 8, 20), (b":AA", 6, 24), (b":APA91b", 8, 40)]
    {
        let mut from = 0;
        while let Some(found) = find(bytes, from, infix) {
            from = found + 1;
            let telegram = infix == b":AA";
            let start = run_start(bytes, found, |byte| {
                if telegram { byte.is_ascii_digit() } else { accepts(Letters::Url, byte) || byte == b'.' }
            });
            let end = run_end(bytes, found + infix.len(), |byte| {
                accepts(Letters::Url, byte) || (!telegram && matches!(byte, b'.' | b'~'))
            });
            let least_after = if end == bytes.len() && telegram { 4 } else { least_after };
            if found - start >= least_before && end - found - infix.len() >= least_after {
                // The number of a bot is its public name.
                marks.add(text, if telegram { found + 1 } else { start }..end);
                from = end;
            }
        }
    }
    scan_dotted(text, marks);
}

/// Marks three parts in base64 joined by dots, the first and the last of them long.
fn scan_dotted(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut from = 0;
    while let Some(found) = cut(bytes, from..bytes.len()).iter().position(|&byte| byte == b'.') {
        let dot = from + found;
        from = dot + 1;
        let second = run_end(bytes, dot + 1, |byte| accepts(Letters::Url, byte));
        if at(bytes, second) != b'.' || !(5..=8).contains(&(second - dot - 1)) {
            continue;
        }
        let start = run_start(bytes, dot, |byte| accepts(Letters::Url, byte));
        let end = run_end(bytes, second + 1, |byte| accepts(Letters::Url, byte));
        if (22..=32).contains(&(dot - start))
            && (25..=50).contains(&(end - second - 1))
            && is_random(cut(bytes, start..end), 40)
        {
            marks.add(text, start..end);
            from = end;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_heads_fit_one_automaton() {
        assert!(super::HEADS.is_some());
    }
}
