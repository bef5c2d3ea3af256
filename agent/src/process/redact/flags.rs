//! Secrets that the form of a command's words gives away, whatever the program: `--password x`, `NAME=x`, `set name x`,
//! `--name n --value x`, `-u user:x`.

use std::ops::Range;

use super::name::{Kind, kind};
use super::positional;
use super::program::{Running, mark_literal};
use super::programs::{ASKS_FOR_PASSWORD, NAMES_SECRETS};
use super::shape::{has_scheme, is_passwordish, is_random, is_stand_in};
use super::shell::{Lead, Word};
use super::span::is_end;
use super::text::{Marks, Text, among, at, cut, exactly, run_end, run_start};
use super::url;
use super::value;

/// Flags that give a variable to a program: what follows the name is the value, spaces and all.
#[rustfmt::skip]
const VARIABLE_FLAGS: &[&str] = &[
    "-e", "--env", "--build-arg", "-v", "--var", "-var", "--set", "--set-string", "--setenv", "-E", "-D",
    "--define", "--from-literal", "--secret", "-s", "--add-env", "--property", "-p", "--label",
];

/// Flags that take a user and a password, or a user alone.
const USER_FLAGS: &[&str] = &["-u", "--user", "-U", "--username", "-a", "--account", "--proxy-user", "-usr"];

/// How far from a user a password may be given, in words.
const NEAR: usize = 8;

/// Programs whose `-u` takes a user and a group.
const USER_AND_GROUP: &[&str] =
    &["docker", "podman", "nerdctl", "chown", "setpriv", "chroot", "install", "crictl", "kubectl"];

/// Flags that name what another flag gives the value of, and those.
const NAME_FLAGS: &[&str] = &[
    "--name",
    "-n",
    "--key",
    "-k",
    "--variable",
    "--param",
    "--parameter",
    "--attribute",
    "/v",
    "--var-name",
    "-u",
];
const VALUE_FLAGS: &[&str] =
    &["--value", "-v", "--val", "--data", "--plaintext", "--string-value", "/d", "--body", "-b"];

/// Flags that take a name and a value as two words.
const PAIR_FLAGS: &[&str] = &["--arg", "--argjson", "--stringparam", "--setparam"];

/// What the command around a word is.
pub(super) struct Context<'r> {
    pub(super) running: &'r Running,
    /// Whether the words are an argument vector, and not cut from a text.
    pub(super) top: bool,
    /// Whether the command sets something.
    pub(super) sets: bool,
}

/// Marks what the word at `index` shows to be secret: in itself, or in the word after it.
pub(super) fn scan(words: &[Word<'_>], index: usize, context: &Context<'_>, marks: &mut Marks) {
    let Context { running, top, sets } = *context;
    let Some(word) = words.get(index) else { return };
    let bytes = word.text.bytes.as_ref();
    let previous = index.checked_sub(1).and_then(|previous| words.get(previous));
    let next = words.get(index + 1).filter(|next| next.lead == Lead::Space);
    if !names_secret(bytes, running) {
        assignment(word, previous, top, marks);
    }
    if bytes.starts_with(b"pass:") && bytes.len() > 5 {
        mark_literal(&word.text, 5, marks);
    }
    if bytes.contains(&b'@') && !bytes.contains(&b' ') {
        url::scan_bare(&word.text, marks);
    }
    if let Some(next) = next {
        if at(bytes, 0) == b'-' || exactly(bytes, NAME_FLAGS) {
            flag(words, index, &next.text, running, marks);
        } else if bytes.len() < 64 {
            positional::scan(words, index, &next.text, top, sets, marks);
        }
    }
    if index > 0 && at(bytes, 0) != b'-' {
        positional::after_login(words, index, marks);
    }
}

/// `--name=value`, `-Dname=value`, `NAME=value`, `/Name:value`: the value is the rest of the word.
fn assignment(word: &Word<'_>, previous: Option<&Word<'_>>, top: bool, marks: &mut Marks) {
    let bytes = word.text.bytes.as_ref();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_-./:[]@".contains(&byte);
    let equals = run_end(bytes, 0, |byte| is_name(byte) && byte != b'=');
    let flagged = matches!(at(bytes, 0), b'-' | b'/');
    let colon = run_end(bytes, 1, |byte| byte != b':');
    if flagged
        && colon < equals
        && !cut(bytes, 1..colon).contains(&b'/')
        && named(cut(bytes, 0..colon)).is_some()
    {
        return mark_rest(word, colon + 1, named(cut(bytes, 0..colon)), previous, top, marks);
    }
    if at(bytes, equals) != b'=' {
        return;
    }
    let start = equals + 1 + usize::from(at(bytes, equals + 1) == b'=');
    let name = cut(bytes, 0..equals);
    if let Some(kind) = named(name) {
        return mark_rest(word, start, Some(kind), previous, top, marks);
    }
    // A flag that takes an assignment: `--from-literal=password=x`, `--env=TOKEN=x`.
    let second =
        run_end(bytes, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if flagged && at(bytes, second) == b'=' {
        mark_rest(word, second + 1, named(cut(bytes, start..second)), previous, top, marks);
    }
}

/// `--secret=name` of a program whose secrets are kept elsewhere.
fn names_secret(bytes: &[u8], running: &Running) -> bool {
    let Some(name) = bytes.strip_prefix(b"--secret=") else { return false };
    running.is(NAMES_SECRETS) && !is_random(name, 16)
}

/// What a name promises; the letter of a flag that is glued to it (`-Dname`, `-eNAME`) is left off where that helps.
fn named(name: &[u8]) -> Option<Kind> {
    if name.contains(&b':') || name.is_empty() {
        return name.starts_with(b"//").then(|| kind(name)).flatten();
    }
    let glued = at(name, 0) == b'-' && at(name, 1).is_ascii_alphabetic();
    kind(name).or_else(|| glued.then(|| kind(cut(name, 2..name.len()))).flatten())
}

fn mark_rest(
    word: &Word<'_>,
    start: usize,
    kind: Option<Kind>,
    previous: Option<&Word<'_>>,
    top: bool,
    marks: &mut Marks,
) {
    let bytes = word.text.bytes.as_ref();
    let Some(kind) = kind else { return };
    let variable = previous.is_some_and(|previous| exactly(&previous.text.bytes, VARIABLE_FLAGS));
    let options = previous.is_some_and(|previous| exactly(&previous.text.bytes, &["-o", "-O", "--options"]));
    let whole = variable || at(bytes, 0) == b'-';
    let mut end = rest_end(bytes, start, whole, options);
    if !top && !word.text.is_unquoted() {
        // In program text that is read as if a shell's, a sign may follow.
        end = run_start(bytes, end, |byte| matches!(byte, b',' | b']' | b'}')).max(start);
    }
    if at(bytes, start) == b'{' && (!top || matches!(at(bytes, start + 1), b'"' | b' ' | b'\n')) {
        // The members of an object have names of their own, but all of a secret is secret.
        if matches!(kind, Kind::Secret | Kind::Key | Kind::Pass) && top {
            mark_object(&word.text, start..end, marks);
        }
        return;
    }
    value::mark(&word.text, kind, start..end, marks);
}

/// The end of a value that may be all of the rest: before the next name, the next option, the next line, or the
/// command that follows an assignment.
fn rest_end(bytes: &[u8], start: usize, whole: bool, options: bool) -> usize {
    let quote = at(bytes, start);
    if matches!(quote, b'"' | b'\'') {
        return run_end(bytes, start + 1, |byte| byte != quote).saturating_add(1).min(bytes.len());
    }
    for (index, byte) in bytes.iter().enumerate().skip(start) {
        let next_is_name = || is_end(bytes, index) && !cut(bytes, index + 1..bytes.len()).is_empty();
        let ends = match byte {
            b',' if options => true,
            b'&' | b',' | b';' => starts_name(bytes, index + 1) && next_is_name(),
            b'\n' => true,
            b' ' => {
                starts_name(bytes, index + 1) && next_is_name()
                    || (!whole && starts_command(bytes, index + 1))
            }
            _ => false,
        };
        if ends {
            return index;
        }
    }
    bytes.len()
}

fn starts_name(bytes: &[u8], index: usize) -> bool {
    let byte = at(bytes, index);
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Whether what follows looks like a command: a path, an operator, or words with a flag or a path among them.
fn starts_command(bytes: &[u8], index: usize) -> bool {
    let rest = cut(bytes, index..bytes.len());
    rest.split(|&byte| byte == b' ').take(12).any(|word| {
        matches!(word, b"&&" | b"||" | b"|" | b";")
            || (at(word, 0) == b'-' && word.len() > 1)
            || (word.contains(&b'/') && !is_random(word, 16))
            || word.windows(2).any(|window| window == b".s" || window == b".j" || window == b".p")
    })
}

/// A whole object as a secret: the values in it whose names are not harmless.
fn mark_object(text: &Text<'_>, range: Range<usize>, marks: &mut Marks) {
    const HARMLESS: &[&str] = &[
        "username",
        "user",
        "host",
        "hostname",
        "port",
        "engine",
        "dbname",
        "database",
        "dbinstanceidentifier",
        "name",
        "type",
        "url",
        "uri",
        "endpoint",
        "region",
        "email",
        "project_id",
        "client_email",
        "client_id",
    ];
    let bytes = text.bytes.as_ref();
    let mut index = range.start;
    let mut name: &[u8] = &[];
    while index < range.end {
        if at(bytes, index) == b'"' {
            let end = run_end(bytes, index + 1, |byte| byte != b'"').min(range.end);
            let content = cut(bytes, index + 1..end);
            let after = run_end(bytes, end + 1, |byte| byte == b' ');
            if at(bytes, after) == b':' {
                name = content;
            } else if !among(name, HARMLESS) && !is_stand_in(content) {
                marks.add(text, index + 1..end);
            }
            index = end;
        }
        index += 1;
    }
}

/// A flag, and the word after it.
fn flag(words: &[Word<'_>], index: usize, next: &Text<'_>, running: &Running, marks: &mut Marks) {
    let Some(word) = words.get(index) else { return };
    let bytes = word.text.bytes.as_ref();
    let operand = next.bytes.as_ref();
    if exactly(bytes, PAIR_FLAGS) {
        if let (Some(kind), Some(content)) = (kind(operand), words.get(index + 2)) {
            value::mark(&content.text, kind, 0..content.text.bytes.len(), marks);
        }
        return;
    }
    if exactly(bytes, NAME_FLAGS) && kind(operand).is_some() {
        mark_value_flag(words, index, kind(operand), marks);
    }
    if among(bytes, &["--type"]) && operand.eq_ignore_ascii_case(b"SecureString") {
        mark_value_flag(words, 0, Some(Kind::Secret), marks);
    }
    if exactly(bytes, USER_FLAGS) {
        mark_user(words, index, next, running, marks);
    }
    if bytes.contains(&b'=') || operand.is_empty() || is_flag_like(operand) {
        return;
    }
    let name = bytes.get(run_end(bytes, 0, |byte| byte == b'-')..).unwrap_or_default();
    let asks = running.is(ASKS_FOR_PASSWORD) && among(name, &["password"]);
    let names = running.is(NAMES_SECRETS) && among(name, &["secret", "token", "password", "auth"]);
    if asks || (names && !is_random(operand, 16)) || name.len() < 2 {
        return;
    }
    if !name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"-_.".contains(&byte)) {
        return;
    }
    let Some(kind) = kind(name) else { return };
    if at(operand, 0) == b'{' && operand.ends_with(b"}") && kind != Kind::Random {
        return mark_object(next, 0..operand.len(), marks);
    }
    // Of several named values in one word, their own names tell.
    let listed = matches!(kind, Kind::Secret | Kind::Login) && is_named_list(operand);
    if !listed {
        value::mark(next, kind, 0..operand.len(), marks);
    }
}

/// `a=b,c=d` or `NAME=value`.
pub(super) fn is_named_list(bytes: &[u8]) -> bool {
    let end = run_end(bytes, 0, |byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    end > 1 && at(bytes, end) == b'=' && end + 1 < bytes.len() && at(bytes, end + 1) != b'='
}

/// Whether an operand is rather the next flag.
pub(super) fn is_flag_like(operand: &[u8]) -> bool {
    let rest = cut(operand, 1..operand.len());
    at(operand, 0) == b'-'
        && (rest.iter().all(|&byte| byte.is_ascii_alphabetic() || b"-_:=.".contains(&byte))
            || !is_passwordish(rest))
}

/// The value flag of the same command.
pub(super) fn mark_value_flag(words: &[Word<'_>], from: usize, kind: Option<Kind>, marks: &mut Marks) {
    let Some(kind) = kind else { return };
    for (position, word) in words.iter().enumerate().skip(from) {
        let bytes = word.text.bytes.as_ref();
        if exactly(bytes, VALUE_FLAGS) {
            if let Some(content) = words.get(position + 1) {
                value::mark(&content.text, kind, 0..content.text.bytes.len(), marks);
            }
        } else if bytes.starts_with(b"--value=") {
            value::mark(&word.text, kind, 8..bytes.len(), marks);
        }
    }
}

/// `-u user:password`, and a password in `-p` beside a user in `-u`, of a program that is not known.
fn mark_user(words: &[Word<'_>], index: usize, next: &Text<'_>, running: &Running, marks: &mut Marks) {
    let operand = next.bytes.as_ref();
    let grouped = running.is(USER_AND_GROUP);
    if let Some(sign) = operand.iter().position(|&byte| byte == b':') {
        let password = cut(operand, sign + 1..operand.len());
        if !grouped && sign > 0 && !has_scheme(operand) && is_passwordish(password) {
            marks.add(next, sign + 1..operand.len());
        }
    }
    let other = words.iter().take(4).any(|word| among(&word.text.bytes, OTHER_P));
    if grouped || other || running.is(ASKS_FOR_PASSWORD) || running.is(OTHER_P) {
        return;
    }
    for (position, word) in words.iter().enumerate().skip(index.saturating_sub(NEAR)).take(2 * NEAR) {
        let bytes = word.text.bytes.as_ref();
        let flag = matches!(bytes, b"-p" | b"-P" | b"-w" | b"-pw" | b"-pass");
        let content = words.get(position + 1).filter(|content| flag && is_plausible(&content.text.bytes));
        if let Some(content) = content {
            mark_literal(&content.text, 0, marks);
        }
    }
}

/// Whether an operand beside a user can be a password: not a number, a mapping, a list or a path.
pub(super) fn is_plausible(operand: &[u8]) -> bool {
    let word =
        operand.len() >= 6 && operand.iter().all(|&byte| byte.is_ascii_alphabetic() || b"-_".contains(&byte));
    is_passwordish(operand) || (word && at(operand, 0) != b'-' && !is_stand_in(operand))
}

/// Programs that take `-u` and, in `-p`, no password.
#[rustfmt::skip]
const OTHER_P: &[&str] = &[
    "[", "[[", "test", "ssh", "scp", "sftp", "sudo", "su", "doas", "rsync", "lsof", "ps", "top", "htop", "pgrep",
    "pkill", "git", "tar", "systemd-run", "systemctl", "journalctl", "mount", "useradd", "usermod", "conmon",
    "memcached", "wget", "dig", "logger", "make", "cargo", "go", "docker-compose", "tmux", "strace", "gunicorn",
    "uvicorn", "dnsmasq", "kcat", "python", "python3", "node", "mkdir", "cp", "gcloud", "find", "xargs", "screen",
    "pytest",
];
