//! Secrets in program text that no sign joins to a name: arguments of calls, statements of SQL, elements of XML.

use std::ops::Range;

use super::name::{Kind, kind};
use super::shape::{is_passwordish, is_random, is_stand_in};
use super::text::{Marks, Text, among, at, before, cut, find, is_quote, run_end, run_start, starts_with_any};
use super::value;

/// Calls whose last literal is a password.
#[rustfmt::skip]
const LOGINS: &[&str] = &[
    "login", "auth", "authenticate", "basicauth", "httpbasicauth", "basic_auth", "setbasicauth", "set_basic_auth",
    "httpdigestauth", "simple_bind", "simple_bind_s", "networkcredential", "pscredential", "usernamepassword",
    "passwordauthentication", "changeuserpassword", "createuser", "setpassword", "set_password", "withcredentials",
    "with_credentials", "signin", "sign_in", "setcredentials", "set_credentials", "userpass", "credentials",
    "plainauth", "fernet", "htpasswd",
];

/// Calls that open a connection, and which of their literals is the password.
#[rustfmt::skip]
const CONNECTIONS: &[(&str, usize)] = &[
    ("connect", 3), ("mysqli_connect", 3), ("mysql_connect", 3), ("mysqli", 3), ("pdo", 3), ("getconnection", 3),
    ("oci_connect", 2), ("ssh2_auth_password", 2), ("ftp_login", 2), ("ldap_bind", 2), ("imap_open", 3),
    ("pgp_sym_encrypt", 1), ("pgp_sym_decrypt", 1), ("encryptbypassphrase", 1),
];

/// Heads of calls that ask for a secret, look one up or make one, and are given none.
#[rustfmt::skip]
const ASKING: &[&str] = &[
    "get", "ask", "read", "prompt", "check", "has", "is", "find", "delete", "remove", "validate", "verify", "input",
    "list", "print", "fetch", "load", "gen", "create_token", "token_", "secrets.", "new_", "test", "describe", "it",
    "expect", "assert", "revoke", "lookup", "search",
];

/// Words before a literal that is a secret: `IDENTIFIED BY 'x'`, `ConvertTo-SecureString 'x'`.
#[rustfmt::skip]
const BEFORE_LITERAL: &[&str] = &[
    "identified by", "identified with", "securestring", "securestring -string", "securestring -asplaintext",
    "identified by password", "encrypted password", "unencrypted password", "encryption by password =",
    "decryption by password =", "pragma key =", "pragma key=", "pragma rekey =", "pragma rekey=", "requirepass",
    "masterauth", "masteruser", "replace", "set role",
];

/// Marks what `text` has of these.
pub(super) fn scan(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut index = 0;
    let mut last: Option<Range<usize>> = None;
    let is_sql = ["create ", "alter ", "identified", "set password", "attach ", "grant "]
        .iter()
        .any(|word| find(bytes, 0, word.as_bytes()).is_some());
    while let Some(found) = bytes
        .get(index..)
        .and_then(|rest| rest.iter().position(|&byte| is_quote(byte) || matches!(byte, b'(' | b'>')))
    {
        let sign = index + found;
        index = sign + 1;
        match at(bytes, sign) {
            b'(' => scan_call(text, sign, marks),
            b'>' => scan_element(text, sign, marks),
            quote => {
                let end = literal_end(bytes, sign + 1, quote);
                let literal = sign + 1..end;
                if is_announced(bytes, sign, is_sql) && !is_stand_in(cut(bytes, literal.clone())) {
                    marks.add(text, literal.clone());
                } else if let Some(name) = last.take().filter(|name| is_comma(bytes, name.end + 1..sign)) {
                    mark_pair(text, &name, &literal, marks);
                }
                last = Some(literal);
            }
        }
    }
}

/// The end of a literal: the same quote, or of the text.
fn literal_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    run_end(bytes, start, |byte| byte != quote && byte != b'\n')
}

fn is_comma(bytes: &[u8], between: Range<usize>) -> bool {
    let between = cut(bytes, between);
    between.contains(&b',') && between.iter().all(|byte| matches!(byte, b',' | b' '))
}

/// `setenv('API_TOKEN', 'value')`: a literal after one that is a name.
fn mark_pair(text: &Text<'_>, name: &Range<usize>, literal: &Range<usize>, marks: &mut Marks) {
    let name = cut(&text.bytes, name.clone());
    if name.contains(&b' ') {
        return;
    }
    let content = cut(&text.bytes, literal.clone());
    if kind(name).is_some_and(|kind| value::is_secret(kind, content)) && is_passwordish(content) {
        marks.add(text, literal.clone());
    }
}

/// Whether the words before a quote announce a secret.
fn is_announced(bytes: &[u8], quote: usize, is_sql: bool) -> bool {
    let end = run_start(bytes, quote, |byte| matches!(byte, b' ' | b'N' | b'\\') && byte != 0);
    if end == quote && before(bytes, quote) != b'=' {
        return false;
    }
    let head = cut(bytes, end.saturating_sub(32)..end);
    if super::text::ends_with_any(head, BEFORE_LITERAL) {
        return true;
    }
    let word_start = run_start(head, head.len(), |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let word = cut(head, word_start..head.len());
    if !is_sql {
        return false;
    }
    if matches!(kind(word), Some(Kind::Secret | Kind::Key)) {
        return true;
    }
    // `IDENTIFIED WITH plugin BY 'x'`, `… USING 'x'`, `SET PASSWORD FOR 'user' = 'x'`.
    let statement = cut(bytes, end.saturating_sub(120)..end);
    (among(word, &["by", "as", "using"]) && find(statement, 0, b"identified").is_some())
        || (head.ends_with(b"=") && find(statement, 0, b"set password").is_some())
}

/// Marks the password among the literals of a call.
fn scan_call(text: &Text<'_>, open: usize, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let start = run_start(bytes, open, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let name = cut(bytes, start.max(open.saturating_sub(64))..open);
    if name.is_empty() || starts_with_any(name, ASKING) {
        return;
    }
    let logs_in = among(name, LOGINS);
    let place = CONNECTIONS
        .iter()
        .find(|(call, _)| name.eq_ignore_ascii_case(call.as_bytes()))
        .map(|(_, place)| *place);
    if !logs_in && place.is_none() && !matches!(kind(name), Some(Kind::Secret | Kind::Key)) {
        return;
    }
    let mut literals = 0;
    let mut last = None;
    let mut index = open + 1;
    let limit = bytes.len().min(open + 400);
    while index < limit && !matches!(at(bytes, index), b')' | b'{' | b'[' | b'=') {
        let quote = at(bytes, index);
        if is_quote(quote) {
            let end = literal_end(bytes, index + 1, quote);
            literals += 1;
            if place.is_none_or(|place| place == literals) {
                last = Some(index + 1..end);
            }
            index = end;
        }
        index += 1;
    }
    let Some(literal) = last else { return };
    let content = cut(bytes, literal.clone());
    let named = matches!(kind(name), Some(Kind::Secret | Kind::Key));
    let fits = if logs_in && !named {
        literals > 1
            || (before(bytes, literal.start - 1) != b'(' && is_passwordish(content))
            || is_random(content, 20)
    } else {
        !content.contains(&b' ')
    };
    if fits && !is_stand_in(content) {
        marks.add(text, literal);
    }
}

/// `<password>value</password>`.
fn scan_element(text: &Text<'_>, close: usize, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let window = close.saturating_sub(160);
    let open = run_start(bytes, close, |byte| !matches!(byte, b'<' | b'>' | b'\n')).max(window);
    if before(bytes, open) != b'<' || matches!(before(bytes, close), b'/' | b'-' | b'?') {
        return;
    }
    let name_end = run_end(bytes, open, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'>' | b'/'));
    let name = cut(bytes, open..name_end);
    let name = name.rsplit(|&byte| byte == b':').next().unwrap_or(name);
    let Some(kind) = kind(name) else { return };
    let end = run_end(bytes, close + 1, |byte| byte != b'<');
    let cut_off = end == bytes.len() && !cut(bytes, close + 1..end).iter().any(u8::is_ascii_whitespace);
    if cut(bytes, end..end + 2) == b"</" || cut_off {
        value::mark(text, kind, close + 1..end, marks);
    }
}
