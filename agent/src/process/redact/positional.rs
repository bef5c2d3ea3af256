//! Secrets that the order of words gives away: `set name value`, `login user password value`, `vault login <token>`.

use super::flags::{is_flag_like, is_named_list, is_plausible, mark_value_flag};
use super::name::{Kind, kind};
use super::program::mark_literal;
use super::shape::{is_file, is_number, is_passwordish, is_random, is_stand_in, is_uuid};
use super::shell::{Lead, Word};
use super::text::{Marks, Text, among, at, ends_with_any, exactly, starts_with_any};
use super::value;

/// Words that set a thing to a value.
#[rustfmt::skip]
const SETTERS: &[&str] = &[
    "set", "put", "add", "config", "configure", "connect", "modify", "write", "update", "edit", "setenv", "setx",
    "env:set", "config:set", "set-string", "--set", "set-value", "store", "save", "setconf", "assign",
];

/// Words that ask for a thing, take it away, or are about it.
#[rustfmt::skip]
const ASKERS: &[&str] = &[
    "get", "list", "ls", "show", "describe", "lookup", "delete", "rm", "unset", "remove", "find", "grep", "rg", "search",
    "cat", "generate", "rotate", "read", "view", "revoke", "inspect", "enable", "disable", "man", "which", "echo",
    "printf",
];

/// Words after which a random word is a credential.
#[rustfmt::skip]
const LOGINS: &[&str] = &[
    "login", "auth", "authtoken", "add-authtoken", "unseal", "unwrap", "activate", "unlock", "register", "join", "token",
    "set-token", "authenticate", "apikey", "api-key", "obscure", "setapikey", "authorize", "enroll", "link",
    "auth:token", "signin", "subscribe", "add-token", "import-key", "authorize-account", "service",
];

/// Words for a user and for a password that follow each other: `login ci password x`.
const USER_WORDS: &[&str] = &["login", "user", "username", "account", "name", "machine", "identity"];
const PASSWORD_WORDS: &[&str] = &["password", "passwd", "passphrase", "secret", "psk"];

/// How many words before a name may say that it is set.
const NEAR: usize = 6;

/// Whether a command has a word that sets a thing, and none that asks for one.
pub(super) fn may_set(words: &[Word<'_>]) -> bool {
    words.iter().any(is_setter) && !words.iter().any(|word| among(&word.text.bytes, ASKERS))
}

fn is_setter(word: &Word<'_>) -> bool {
    among(&word.text.bytes, SETTERS) || ends_with_any(&word.text.bytes, &[":set", ":add", ":put"])
}

/// A word, and the one after it.
struct Pair<'w, 'a> {
    words: &'w [Word<'a>],
    index: usize,
    name: &'w [u8],
    next: &'w Text<'a>,
    /// Whether the words are an argument vector.
    top: bool,
}

/// Marks what the word at `index`, which is no flag, shows of the word after it. `sets` is what [`may_set`] says.
pub(super) fn scan(
    words: &[Word<'_>],
    index: usize,
    next: &Text<'_>,
    top: bool,
    sets: bool,
    marks: &mut Marks,
) {
    let Some(word) = words.get(index) else { return };
    let name = word.text.bytes.as_ref();
    if let Some(name) = name.strip_suffix(b"=") {
        // `sc config service password= x`: the program takes the value as a word of its own.
        let operand = next.bytes.as_ref();
        if top && kind(name).is_some_and(|kind| value::is_secret(kind, operand)) && !is_flag_like(operand) {
            marks.add_all(next);
        }
        return;
    }
    let pair = Pair { words, index, name, next, top };
    if pair.protocol(marks) {
        return;
    }
    let tells = among(name, PASSWORD_WORDS);
    let setenv = pair.before(1).is_some_and(|word| exactly(&word.text.bytes, &["setenv", "setx"]));
    if (sets || tells || setenv) && !is_path(name) {
        pair.named(tells, setenv, sets, marks);
    }
}

/// A path to a file of keys, or one from here.
fn is_path(name: &[u8]) -> bool {
    (name.contains(&b'/') && is_file(name)) || starts_with_any(name, &["../", "./"])
}

impl Pair<'_, '_> {
    fn before(&self, distance: usize) -> Option<&Word<'_>> {
        self.index.checked_sub(distance).and_then(|position| self.words.get(position))
    }

    /// Lines of protocols that a script writes: POP and FTP (`PASS x`, `user name x`), IMAP (`tag LOGIN name x`).
    /// Answers whether it was one.
    fn protocol(&self, marks: &mut Marks) -> bool {
        let short =
            self.words.first().is_some_and(|word| word.lead == Lead::Command) && self.words.len() <= 3;
        let operand = self.next.bytes.as_ref();
        let after = self.words.get(self.index + 2);
        match self.name {
            b"PASS" if !self.top && short && is_plausible(operand) => mark_literal(self.next, 0, marks),
            b"LOGIN" if !self.top && self.index <= 1 => {
                if let Some(password) = after {
                    mark_literal(&password.text, 0, marks);
                }
            }
            b"user" if self.words.len() == 3 && self.index == 0 && at(operand, 0).is_ascii_alphabetic() => {
                let verb = among(operand, ASKERS)
                    || among(operand, SETTERS)
                    || among(operand, &["create", "del", "mod", "info"]);
                if let Some(password) = after.filter(|word| !verb && is_plausible(&word.text.bytes)) {
                    marks.add_all(&password.text);
                }
            }
            _ => return false,
        }
        true
    }

    /// A secret-sounding name, and its value.
    fn named(&self, tells: bool, setenv: bool, sets: bool, marks: &mut Marks) {
        let operand = self.next.bytes.as_ref();
        let last = self.name.rsplit(|&byte| byte == b'/').next().unwrap_or(self.name);
        let plain =
            self.name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"_-./:[]\"".contains(&byte));
        let Some(kind) = kind(last).filter(|_| plain) else { return };
        let earlier = self.words.get(self.index.saturating_sub(NEAR)..self.index).unwrap_or_default();
        let sets = sets && earlier.iter().any(is_setter);
        let after_user = tells && self.follows_user();
        // A digit between says how the password is encoded, on the consoles of switches.
        let coded = operand.len() == 1 && operand.iter().all(u8::is_ascii_digit);
        if let (true, true, Some(content)) = (coded, after_user, self.words.get(self.index + 2)) {
            return mark_literal(&content.text, 0, marks);
        }
        if at(operand, 0) == b'-' {
            if sets {
                mark_value_flag(self.words, self.index, Some(kind), marks);
            }
            return;
        }
        if !value::is_secret(kind, operand) || is_named_list(operand) {
            return;
        }
        let repeated = tells
            && self
                .before(1)
                .is_some_and(|word| ends_with_any(&word.text.bytes, &["password", "password_again"]));
        let alone = !self.top
            && self.words.len() == 2
            && among(self.name, &["password", "passphrase"])
            && is_plausible(operand);
        let given =
            sets && (is_passwordish(operand) || (self.top && self.index >= 2 && !self.follows_flag()));
        let counted = is_number(operand) || kind == Kind::User;
        if repeated || alone || setenv || (!counted && (after_user || given)) {
            marks.add_all(self.next);
        }
    }

    /// Whether this is the password of `login <user> password <value>`.
    fn follows_user(&self) -> bool {
        self.before(2).is_some_and(|word| among(&word.text.bytes, USER_WORDS))
            && !self.before(1).is_some_and(|word| among(&word.text.bytes, &["and", "or"]))
            && !self.next.bytes.iter().all(u8::is_ascii_uppercase)
    }

    fn follows_flag(&self) -> bool {
        self.before(1).is_some_and(|word| at(&word.text.bytes, 0) == b'-')
    }
}

/// Marks a random word after one that logs in, joins or unlocks.
pub(super) fn after_login(words: &[Word<'_>], index: usize, marks: &mut Marks) {
    let Some(word) = words.get(index) else { return };
    let bytes = word.text.bytes.as_ref();
    if !is_random(bytes, 16) || is_uuid(bytes) || is_stand_in(bytes) || bytes.contains(&b'=') {
        return;
    }
    let earlier = words.get(index.saturating_sub(NEAR)..index).unwrap_or_default();
    if earlier.iter().any(|word| among(&word.text.bytes, LOGINS)) {
        marks.add_all(&word.text);
    }
}
