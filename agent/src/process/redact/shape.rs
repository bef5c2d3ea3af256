//! What a value looks like: a literal that may be a secret, or a stand-in, a number, a path.

use super::MARKER;
use super::text::{among, at, cut, ends_with_any, starts_with_any};

/// Words that stand where a secret would and are none.
#[rustfmt::skip]
const STAND_INS: &[&str] = &[
    "none", "null", "nil", "undefined", "nothing", "empty", "unset", "missing", "true", "false", "yes", "no", "on",
    "off", "enabled", "disabled", "enable", "disable", "required", "optional", "invalid", "valid", "expired",
    "wrong", "changed", "hidden", "redacted", "default", "auto", "always", "never", "stdin", "prompt", "ask",
    "trace", "debug", "info", "warn", "error", "simple", "basic", "bearer", "digest", "negotiate", "ntlm", "oauth",
    "oauth2", "oidc", "ldap", "jwt", "trust", "md5", "scram", "expire", "text", "string", "varchar", "bytes",
    "include", "omit", "inline", "self", "this", "user", "username", "pwd", "pw", "pass", "passphrase", "auth",
    "credentials", "password", "passwd", "token", "secret", "key",
];

/// Heads of a value that says where the secret is, or is an address (whose own secrets other rules find).
#[rustfmt::skip]
const REFERENCES: &[&str] = &[
    "file:", "fd:", "env:", "arn:", "op://", "vault:", "ssm:", "secretsmanager:", "ref+", "./", "../", "~/", "@/",
    "@.", "id=", "src=", "type=", "name=", "%s", "%d", "%v", "%q", "%-", "\\(", "\\w", "\\s", "\\d", ".*", ".+",
    "[^", "[[", "[a-", "[A-", "[0-", "(\\", "(.", "(?", "{{", "#{", "process.env", "os.", "sys.", "process.",
    "System.", "ENV", "$env:", "$(", "`", "config.", "settings.", "var.", "local.", "data.", "each.", "module.",
    "args.", "opts.", "options.", "params.", "self.",
];

/// Endings of files that hold keys and credentials: such a value is the file's name.
#[rustfmt::skip]
const FILE_ENDINGS: &[&str] = &[
    ".pem", ".key", ".crt", ".cer", ".der", ".pub", ".p12", ".pfx", ".jks", ".json", ".yaml", ".yml", ".toml",
    ".txt", ".ini", ".conf", ".cfg", ".env", ".pw", ".pass", ".cred", ".token", ".secret", ".gpg", ".asc", ".age",
    ".bin", ".sig", ".db", ".png", ".jpg", ".csv", ".tfstate", ".hcl", ".properties", ".keytab", ".kubeconfig",
];

/// Whether `value` is no literal: empty, a variable, a pattern, a word such as `none`, a reference to where the secret
/// is kept, or only punctuation.
pub(super) fn is_stand_in(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    value.is_empty()
        || value == MARKER
        || among(value, STAND_INS)
        || starts_with_any(value, REFERENCES)
        || is_mask(value)
        || is_expansion(value)
        || is_path(value)
        || (at(value, 0) == b'[' && value.ends_with(b"]"))
        || (at(value, 0) == b'<' && value.ends_with(b">"))
        || (at(value, 0) == b'%' && value.ends_with(b"%") && value.len() > 2)
        || has_scheme(value)
}

/// One sign over and over, or a few signs without a letter: a value that is masked, or the rest of a pattern.
fn is_mask(value: &[u8]) -> bool {
    let first = at(value, 0);
    let sign = first.is_ascii_punctuation() || matches!(first, b'x' | b'X');
    sign && (value.iter().all(|&byte| byte == first)
        || (value.len() <= 4 && value.iter().all(u8::is_ascii_punctuation)))
}

/// An address: `scheme://`.
pub(super) fn has_scheme(value: &[u8]) -> bool {
    let end =
        super::text::run_end(value, 0, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'));
    end > 1 && at(value, 0).is_ascii_alphabetic() && cut(value, end..end + 3) == b"://"
}

/// Only variables of a shell, with separators between them: `$TOKEN`, `${USER}-${ID}`, `$1`. A name in lower case
/// with a digit in it is rather a password that starts with a dollar sign.
fn is_expansion(value: &[u8]) -> bool {
    let mut index = 0;
    while at(value, index) == b'$' {
        index += 1;
        let start = index;
        if at(value, index) == b'{' {
            let Some(length) = cut(value, index..value.len()).iter().position(|&byte| byte == b'}') else {
                return true;
            };
            index += length + 1;
        } else if at(value, index).is_ascii_digit() || matches!(at(value, index), b'@' | b'*' | b'?' | b'#') {
            index += 1;
        } else {
            index = super::text::run_end(value, index, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let name = cut(value, start..index);
            let shouted = !name.iter().any(u8::is_ascii_lowercase);
            if name.is_empty() || (!shouted && name.iter().any(u8::is_ascii_digit)) {
                return false;
            }
            if cut(value, index..index + 2) == b"->" {
                return true;
            }
        }
        while matches!(at(value, index), b'-' | b'_' | b'.' | b'/' | b':' | b'@' | b'"') {
            index += 1;
        }
    }
    index > 0 && index >= value.len()
}

/// A path: from the root, or of a drive. Base64 may start with `/` too, so what looks random is none.
fn is_path(value: &[u8]) -> bool {
    let drive = at(value, 0).is_ascii_alphabetic() && at(value, 1) == b':' && at(value, 2) == b'\\';
    let key_material = value.len() >= 24
        && value.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        && is_random(cut(value, 1..value.len()), 16);
    drive || (at(value, 0) == b'/' && !key_material)
}

/// Whether `value` is the name of a file, where a key or a credential is meant.
pub(super) fn is_file(value: &[u8]) -> bool {
    ends_with_any(value, FILE_ENDINGS) && !is_random(value, 40)
}

/// Digits, perhaps with a unit, a separator or a sign: a count, a time, a size, a port, a version.
pub(super) fn is_number(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"v").unwrap_or(value);
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    at(value, 0).is_ascii_digit()
        && letters <= 2
        && digits
            + letters
            + value.iter().filter(|byte| matches!(byte, b'.' | b':' | b',' | b'-' | b'/')).count()
            == value.len()
        && (letters == 0 || value.last().is_some_and(u8::is_ascii_alphabetic))
}

/// Only decimal digits, fewer than `limit`.
pub(super) fn is_short_number(value: &[u8], limit: usize) -> bool {
    value.len() < limit && value.iter().all(u8::is_ascii_digit)
}

/// Whether `value` looks chosen as a password rather than named as a thing: long enough, and with digits among letters,
/// letters of both cases, or a sign that names do not have.
pub(super) fn is_passwordish(value: &[u8]) -> bool {
    let signs = value
        .iter()
        .any(|&byte| byte >= 0x80 || (byte.is_ascii_punctuation() && !b"-_./:,@+=".contains(&byte)));
    let lower = value.iter().any(u8::is_ascii_lowercase);
    let upper = value.iter().any(u8::is_ascii_uppercase);
    let digit = value.iter().any(u8::is_ascii_digit);
    value.len() >= 6
        && !is_stand_in(value)
        && !is_number(value)
        && !value.contains(&b' ')
        && (signs || (digit && (lower || upper)) || (lower && upper))
}

/// A UUID: 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// An OpenPGP key id or fingerprint: 8, 16 or 40 hexadecimal digits in capitals.
pub(super) fn is_pgp_id(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"0x").unwrap_or(value);
    matches!(value.len(), 8 | 16 | 40)
        && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'A'..=b'F'))
}

/// Groups of capitals and digits, as printed on a licence or a recovery sheet: four groups or more.
pub(super) fn is_key_groups(value: &[u8]) -> bool {
    let mut groups = 0;
    let regular = value.split(|&byte| byte == b'-').all(|group| {
        groups += 1;
        (4..=8).contains(&group.len())
            && group.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    });
    regular && groups >= 4
}

/// Whether `value` looks drawn at random: at least `least` long, of the letters that encodings use, and changing
/// between small letters, capitals and digits far more often than names do. A capital that starts a word is no change.
pub(super) fn is_random(value: &[u8], least: usize) -> bool {
    if value.len() < least
        || !value.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-_+/=.~%:$".contains(&byte))
    {
        return false;
    }
    let (mut letters, mut changes, mut previous) = (0usize, 0usize, 0u8);
    for &byte in value {
        let class = match byte {
            b'a'..=b'z' => 1,
            b'A'..=b'Z' => 2,
            b'0'..=b'9' => 3,
            _ => 0,
        };
        letters += usize::from(class != 0);
        let capitalised = previous == 2 && class == 1;
        changes += usize::from(class != 0 && previous != 0 && class != previous && !capitalised);
        previous = class;
    }
    changes >= 3 && changes * 6 >= letters && letters * 5 >= least * 4
}

/// Whether `value` is certainly no literal where a program is known to take a secret: empty, a variable, a template, a
/// mask, or a lone dash.
pub(super) fn is_variable(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    value.is_empty()
        || value == MARKER
        || value == b"-"
        || is_expansion(value)
        || starts_with_any(value, &["$(", "`", "{{", "${", "%{"])
        || (at(value, 0) == b'<' && value.ends_with(b">"))
        || (at(value, 0) == b'%' && value.ends_with(b"%") && value.len() > 2)
        || (value.len() >= 3 && value.iter().all(|&byte| byte == b'*'))
}
