//! Secrets in addresses: `scheme://user:password@host`, the same without a scheme, and webhooks whose path is the secret.

use std::ops::Range;

use super::shape::{is_passwordish, is_random, is_short_number, is_stand_in, is_uuid};
use super::text::{Marks, Signs, Text, at, before, cut, find, is_quote, run_end, run_start, starts_with_any};

/// The most bytes of one address that are looked at, so that the cost of a text full of `://` stays linear.
const LONGEST: usize = 512;

/// Marks the secrets of every address in `text`.
pub(super) fn scan(text: &Text<'_>, signs: Signs, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut from = if signs.all(b":/") { 0 } else { bytes.len() };
    while let Some(found) = find(bytes, from, b"://") {
        from = found + 3;
        let window = cut(bytes, 0..bytes.len().min(from + LONGEST));
        let end = run_end(window, from, |byte| {
            !byte.is_ascii_whitespace() && !is_quote(byte) && !matches!(byte, b'<' | b'>' | b'\\')
        });
        // `file:///…` and what is no address at all.
        if run_end(bytes, from, |byte| !matches!(byte, b'/' | b'?' | b'#')) < from + 2 {
            continue;
        }
        if let Some(userinfo) = userinfo(bytes, from..end) {
            mark_userinfo(text, userinfo, marks);
        }
        mark_path(text, found, from..end, marks);
    }
    if signs.all(b"@:/") {
        scan_oracle(text, marks);
    }
    if signs.all(b"%") {
        scan_encoded(text, marks);
    }
}

/// The part before the `@`. It ends at the last `@` before the path; a password with a bare `/`, `?` or `#` in it is
/// recognised by what follows the colon: no port.
fn userinfo(bytes: &[u8], address: Range<usize>) -> Option<Range<usize>> {
    let path = run_end(bytes, address.start, |byte| !matches!(byte, b'/' | b'?' | b'#')).min(address.end);
    let last_at = |end: usize| cut(bytes, address.start..end).iter().rposition(|&byte| byte == b'@');
    if let Some(sign) = last_at(path) {
        return Some(address.start..address.start + sign);
    }
    let authority = cut(bytes, address.start..path);
    let colon = authority.iter().position(|&byte| byte == b':')?;
    let port = cut(authority, colon + 1..authority.len());
    let first = port.split(|byte| b";=,&".contains(byte)).next().unwrap_or(port);
    let literal = at(port, 0).is_ascii_alphanumeric() || at(port, 0) >= 0x80;
    if path == bytes.len() && literal && !first.iter().all(u8::is_ascii_digit) {
        // Cut in the password.
        return Some(address.start..path);
    }
    let is_port = port.iter().all(u8::is_ascii_digit) || is_stand_in(port) || at(authority, 0) == b'[';
    // Only the next `@` counts here, so that a path with one further on is not taken for a password.
    let rest = cut(bytes, path..address.end);
    let sign = rest.iter().position(|&byte| byte == b'@')?;
    let host = cut(rest, sign + 1..rest.len());
    (!is_port && !starts_with_any(host, &["sha256:", "sha512:"])).then_some(address.start..path + sign)
}

/// Marks the password, and the user where the user is a token.
fn mark_userinfo(text: &Text<'_>, range: Range<usize>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let userinfo = cut(bytes, range.clone());
    let colon = userinfo.iter().position(|&byte| byte == b':').unwrap_or(userinfo.len());
    let user = cut(userinfo, 0..colon);
    if is_random(user, 20) && !is_uuid(user) {
        marks.add(text, range.start..range.start + colon);
    }
    let password = cut(userinfo, colon + 1..userinfo.len());
    if !is_stand_in_in_address(password) {
        marks.add(text, range.start + colon + 1..range.end);
    }
}

/// A password may start with what elsewhere is a path or a pattern; in an address only a variable and a mask stand in.
fn is_stand_in_in_address(password: &[u8]) -> bool {
    password.is_empty() || (is_stand_in(password) && b"$*xX<{[%`#".contains(&at(password, 0)))
}

/// Hosts (or ends of them) whose paths hold a secret, and what stands before it. Everything after is secret.
#[rustfmt::skip]
const SECRET_PATHS: &[(&str, &str)] = &[
    ("hooks.slack.com", "/services/"), ("hooks.slack.com", "/workflows/"), ("hooks.slack.com", "/triggers/"),
    ("discord.com", "/webhooks/"), ("discordapp.com", "/webhooks/"), ("webhook.office.com", "/IncomingWebhook/"),
    ("outlook.office.com", "/IncomingWebhook/"), ("outlook.office365.com", "/IncomingWebhook/"),
    ("hooks.zapier.com", "/catch/"), ("hook.eu1.make.com", "/"), ("hook.us1.make.com", "/"),
    ("hook.integromat.com", "/"), ("maker.ifttt.com", "/with/key/"), ("hc-ping.com", "/"),
    ("open.feishu.cn", "/hook/"), ("open.larksuite.com", "/hook/"), ("infura.io", "/v3/"), ("alchemy.com", "/v2/"),
    ("alchemyapi.io", "/v2/"), ("quiknode.pro", "/"), ("api.day.app", "/"), ("sctapi.ftqq.com", "/"),
    ("events.pagerduty.com", "/integration/"), ("webhook.site", "/"), ("api.telegram.org", "/bot"),
    ("chat.googleapis.com", "/messages?"), ("smee.io", "/"), ("betteruptime.com", "/heartbeat/"),
    ("betterstack.com", "/heartbeat/"),
];

/// Segments after which a random one is a secret, on any host.
#[rustfmt::skip]
const SECRET_SEGMENTS: &[&str] = &[
    "hook", "hooks", "webhook", "webhooks", "webhookb2", "services", "incomingwebhook", "invite", "magic",
    "api-key", "apikey", "key", "token", "secret", "auth", "feed", "private", "reset", "reset-password",
    "password-reset", "verify", "confirm", "share", "rest", "live2", "collect",
];

fn mark_path(text: &Text<'_>, scheme_end: usize, address: Range<usize>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let scheme_start = run_start(bytes, scheme_end, |byte| byte.is_ascii_alphanumeric());
    let scheme = cut(bytes, scheme_start..scheme_end);
    let host_end = run_end(bytes, address.start, |byte| !matches!(byte, b'/' | b'?' | b'#')).min(address.end);
    let host = cut(bytes, address.start..host_end);
    let path = cut(bytes, host_end..address.end);
    if host.len() < 3 || path.len() < 6 {
        return;
    }
    for (name, marker) in SECRET_PATHS {
        if !super::text::ends_with_any(host, &[name]) {
            continue;
        }
        let Some(found) = find(path, 0, marker.as_bytes()) else { continue };
        let start = host_end + found + marker.len();
        let end = run_end(bytes, start, |byte| byte.is_ascii_alphanumeric() || b"-_/@.".contains(&byte));
        // A bot's token is followed by the method: its own shape marks it.
        let least = if end == bytes.len() { 6 } else { 12 };
        if end - start >= least && !marker.ends_with("bot") {
            marks.add(text, start..end.min(address.end));
        }
    }
    let mut segment_start = host_end;
    let mut previous: &[u8] = &[];
    for segment in path.split(|&byte| matches!(byte, b'/' | b'?' | b'#' | b'&' | b';')) {
        let named = super::text::among(previous, SECRET_SEGMENTS);
        if named && is_random(segment, 16) && !is_uuid(segment) && !segment.contains(&b'=') {
            marks.add(text, segment_start..segment_start + segment.len());
        }
        previous = segment;
        segment_start += segment.len() + 1;
    }
    // The key of a live stream is the last part of its path: `rtmp://host/app/key`.
    if scheme.starts_with(b"rtmp") {
        let last = path.iter().rposition(|&byte| byte == b'/').filter(|&last| last > 0);
        if let Some(last) =
            last.filter(|last| path.len() - last > 8 && !is_stand_in(cut(path, last + 1..path.len())))
        {
            marks.add(text, host_end + last + 1..address.end);
        }
    }
}

/// `jdbc:oracle:thin:user/password@host`.
fn scan_oracle(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    for driver in [&b"oracle:thin:"[..], b"oracle:oci:", b"oracle:oci8:"] {
        let Some(found) = find(bytes, 0, driver) else { continue };
        let start = found + driver.len();
        let end = run_end(bytes, start, |byte| byte != b'@' && !byte.is_ascii_whitespace());
        let slash = run_end(bytes, start, |byte| byte != b'/');
        if at(bytes, end) == b'@' && slash < end {
            marks.add(text, slash + 1..end);
        }
    }
}

/// An address percent-encoded inside another: `https%3A%2F%2Fuser%3Apassword%40host`.
fn scan_encoded(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let mut from = 0;
    while let Some(found) = find(bytes, from, b"%3A%2F%2F") {
        from = found + 9;
        let end = run_end(bytes, from, |byte| byte.is_ascii_alphanumeric() || b"-._~%!*".contains(&byte));
        let path = find(cut(bytes, 0..end), from, b"%2F").unwrap_or(end);
        let authority = cut(bytes, 0..path);
        let (Some(colon), Some(sign)) = (find(authority, from, b"%3A"), find(authority, from, b"%40")) else {
            continue;
        };
        if colon < sign {
            marks.add(text, colon + 3..sign);
        }
    }
}

/// Words before a colon and an address of mail that do not make a user and a password of them.
#[rustfmt::skip]
const NOT_USERS: &[&str] = &[
    "mailto", "sip", "sips", "xmpp", "acct", "im", "user", "users", "group", "serviceaccount", "domain", "email",
    "mail", "to", "from", "cc", "bcc", "smtp", "author", "member", "npm", "jsr", "pkg", "git", "ssh", "file",
    "path", "docker", "http", "https", "image", "owner", "principal", "deleted", "s", "d", "by", "gem", "cargo",
    "pypi", "golang",
];

/// Marks the password of a word `user:password@host`, as database drivers and tools of administrators take it.
pub(super) fn scan_bare(word: &Text<'_>, marks: &mut Marks) {
    let bytes = word.bytes.as_ref();
    for transport in [&b"@tcp("[..], b"@unix(", b"@udp(", b"@tcp6("] {
        if let (Some(sign), false) =
            (find(bytes, 0, transport), bytes.windows(3).any(|window| window == b"://"))
        {
            let start = run_start(bytes, sign, |byte| !matches!(byte, b'=' | b' '));
            let colon = run_end(bytes, start, |byte| byte != b':');
            if colon < sign && !is_stand_in_in_address(cut(bytes, colon + 1..sign)) {
                marks.add(word, colon + 1..sign);
            }
            return;
        }
    }
    let Some(sign) = bytes.iter().rposition(|&byte| byte == b'@') else { return };
    let head = if bytes.starts_with(b":pserver:") { 9 } else { 0 };
    let colon = run_end(bytes, head, |byte| byte != b':');
    if colon >= sign || at(bytes, colon + 1) == b'/' || before(bytes, colon) == b':' {
        return;
    }
    let start = run_start(bytes, colon, |byte| byte != b'=').max(head);
    let (user, password) = (cut(bytes, start..colon), cut(bytes, colon + 1..sign));
    let user = user.rsplit(|&byte| matches!(byte, b'/' | b'\\')).next().unwrap_or(user);
    let plain_user = user.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte));
    let chosen = is_passwordish(password) || (password.len() >= 8 && !password.contains(&b'.'));
    if !user.is_empty()
        && plain_user
        && !super::text::among(user, NOT_USERS)
        && !is_stand_in(password)
        && !is_short_number(password, 6)
        && !password.contains(&b'/')
        && chosen
        && is_host(cut(bytes, sign + 1..bytes.len()))
    {
        marks.add(word, colon + 1..sign);
    }
}

/// A host: an address, `localhost`, a name with a dot whose last part is letters, or any name with a port.
fn is_host(bytes: &[u8]) -> bool {
    let end = run_end(bytes, 0, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let name = cut(bytes, 0..end);
    let last = name.rsplit(|&byte| byte == b'.').next().unwrap_or(name);
    let dotted = last.len() < name.len();
    let lettered = last.len() >= 2 && last.iter().all(u8::is_ascii_alphabetic);
    let address = name.split(|&byte| byte == b'.').count() == 4
        && name.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    let port = at(bytes, end) == b':' && at(bytes, end + 1).is_ascii_digit();
    let rest = matches!(at(bytes, end), 0 | b':' | b'/' | b'?');
    rest && !name.is_empty() && (address || name == b"localhost" || (dotted && lettered) || (port && !dotted))
}
