//! The program whose words are read, and its rules applied to them.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::name::kind;
use super::programs::{PROGRAMS, Program, Rule};
use super::shape::is_variable;
use super::shell::{Lead, Word};
use super::text::{Marks, Text, among, at, cut, starts_with_any};

/// Names of `name=value` pairs that hold no secret even where secrets are stored.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "username", "user", "login", "host", "hostname", "port", "url", "uri", "endpoint", "server", "db", "dbname",
    "database", "schema", "name", "email", "region", "role", "ttl", "type", "engine", "driver", "mount", "env",
    "environment", "id", "description", "issuer", "policies", "owner", "account", "namespace", "scheme", "protocol",
    "address", "domain", "realm", "project", "mode", "path", "version", "enabled", "debug", "log_level", "loglevel",
];

/// The lines of the table for each name.
static BY_NAME: LazyLock<HashMap<&'static [u8], Vec<&'static Program>>> = LazyLock::new(|| {
    let mut programs: HashMap<&'static [u8], Vec<&'static Program>> = HashMap::new();
    for program in PROGRAMS {
        for name in program.names {
            programs.entry(name.as_bytes()).or_default().push(program);
        }
    }
    programs
});

/// What is known of the program at work.
#[derive(Default)]
pub(super) struct Running {
    rules: Vec<&'static Rule>,
    name: Vec<u8>,
    /// Where its name stands.
    at: usize,
    wrapping: bool,
    started: bool,
}

impl Running {
    /// Takes the word at `index` for a program; answers whether it is a known one. The first word always is taken.
    pub(super) fn start(&mut self, name: &[u8], words: &[Word<'_>], index: usize) -> bool {
        let mut known = false;
        let mut rules = Vec::new();
        for program in BY_NAME.get(name).into_iter().flatten() {
            known = true;
            if applies(program, words.get(index + 1..).unwrap_or_default()) {
                rules.extend(program.rules);
            }
        }
        if is_impacket(name) {
            known = true;
        }
        if known || !self.started {
            self.rules = rules;
            self.name = name.to_ascii_lowercase();
            self.at = index;
            self.wrapping = false;
            self.started = true;
        }
        known
    }

    /// Notes that this program runs another one.
    pub(super) fn wrap(&mut self) {
        self.wrapping = true;
    }

    /// Whether a program that was named earlier runs another one.
    pub(super) fn is_wrapping(&self) -> bool {
        self.wrapping
    }

    /// Whether this is one of `names`.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        among(&self.name, names)
    }

    /// Applies the program's rules to the word at `index`.
    pub(super) fn scan(&self, words: &[Word<'_>], index: usize, marks: &mut Marks) {
        for rule in &self.rules {
            self.apply(rule, words, index, marks);
        }
    }

    fn apply(&self, rule: &Rule, words: &[Word<'_>], index: usize, marks: &mut Marks) {
        let Some(word) = words.get(index) else { return };
        match rule {
            Rule::Value(flags) => {
                if let Some((text, start)) = operand(words, index, flags, true) {
                    mark_literal(text, start, marks);
                }
            }
            Rule::Exact(flags) => {
                if let Some((text, start)) = operand(words, index, flags, false) {
                    mark_literal(text, start, marks);
                }
            }
            Rule::Glued(heads) => {
                let bytes = word.text.bytes.as_ref();
                if let Some(head) = heads.iter().find(|head| bytes.starts_with(head.as_bytes())) {
                    mark_literal(&word.text, head.len(), marks);
                }
            }
            Rule::Pair(sign, []) if index > self.at && !at(&word.text.bytes, 0).eq(&b'-') => {
                if !word.text.bytes.windows(3).any(|window| window == b"://") {
                    mark_after(&word.text, 0, *sign, marks);
                }
            }
            Rule::Pair(sign, flags) => {
                if let Some((text, start)) = operand(words, index, flags, true) {
                    mark_after(text, start, *sign, marks);
                }
            }
            Rule::From(after, nth) => {
                if self.position(words, index, after).is_some_and(|position| position >= *nth) {
                    mark_literal(&word.text, 0, marks);
                }
            }
            Rule::Nth(after, nth) => {
                if self.position(words, index, after) == Some(*nth) {
                    mark_literal(&word.text, 0, marks);
                }
            }
            Rule::Slash => mark_slash(&word.text, marks),
            Rule::Assignments(after) => {
                if self.follows(words, index, after) {
                    mark_assignment(&word.text, marks);
                }
            }
        }
    }

    /// Which word the one at `index` is after `after`, flags not counted; nothing for a flag, or before `after`.
    fn position(&self, words: &[Word<'_>], index: usize, after: &str) -> Option<usize> {
        let word = words.get(index).filter(|word| !is_flag(&word.text.bytes) && word.lead == Lead::Space)?;
        let mut count = None;
        for earlier in words.get(self.at..index)? {
            let bytes = earlier.text.bytes.as_ref();
            count = match count {
                None if after.is_empty() || bytes.eq_ignore_ascii_case(after.as_bytes()) => Some(0),
                Some(count) if !is_flag(bytes) => Some(count + 1),
                other => other,
            };
        }
        (!word.text.bytes.is_empty()).then_some(count? + 1)
    }

    fn follows(&self, words: &[Word<'_>], index: usize, after: &str) -> bool {
        words
            .get(self.at..index)
            .is_some_and(|earlier| earlier.iter().any(|word| word.text.bytes.as_ref() == after.as_bytes()))
    }
}

fn is_flag(bytes: &[u8]) -> bool {
    at(bytes, 0) == b'-' && bytes.len() > 1
}

fn applies(program: &Program, words: &[Word<'_>]) -> bool {
    program.when.is_empty() || words.iter().any(|word| among(&word.text.bytes, program.when))
}

/// The tools of Impacket, which take `domain/user:password@host`; `url::scan_bare` reads that.
fn is_impacket(name: &[u8]) -> bool {
    starts_with_any(name, &["impacket-"])
}

/// The operand of one of `flags` at `index`: the next word, what follows `=`, or, for a short flag and where `glue`
/// allows it, the rest of the word. Short flags may be bundled: `-sSu`.
fn operand<'w, 'a>(
    words: &'w [Word<'a>],
    index: usize,
    flags: &[&str],
    glue: bool,
) -> Option<(&'w Text<'a>, usize)> {
    let word = words.get(index)?;
    let bytes = word.text.bytes.as_ref();
    let next = || words.get(index + 1).filter(|next| next.lead == Lead::Space).map(|next| (&next.text, 0));
    for flag in flags {
        let flag = flag.as_bytes();
        if bytes == flag {
            return next();
        }
        let short = flag.len() == 2 && flag.starts_with(b"-");
        if bytes.starts_with(flag) && at(bytes, flag.len()) == b'=' {
            return Some((&word.text, flag.len() + 1));
        }
        if short && glue && bytes.starts_with(flag) {
            return Some((&word.text, 2));
        }
        let bundled = short && glue && (3..=6).contains(&bytes.len()) && bytes.ends_with(cut(flag, 1..2));
        if bundled
            && bytes.starts_with(b"-")
            && cut(bytes, 1..bytes.len()).iter().all(u8::is_ascii_alphabetic)
        {
            return next();
        }
    }
    None
}

/// Marks `text` from `start` on, quotes left out, unless it is a variable or nothing.
pub(super) fn mark_literal(text: &Text<'_>, start: usize, marks: &mut Marks) {
    if !is_variable(cut(&text.bytes, start..text.bytes.len())) {
        marks.add(text, start..text.bytes.len());
    }
}

/// Marks what follows the first `sign` after `start`.
fn mark_after(text: &Text<'_>, start: usize, sign: u8, marks: &mut Marks) {
    let rest = cut(&text.bytes, start..text.bytes.len());
    if let Some(found) = rest.iter().position(|&byte| byte == sign) {
        // A drive letter or a path before the sign is the file of a certificate.
        mark_literal(text, start + found + 1, marks);
    }
}

/// `user/password@where`.
fn mark_slash(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let Some(slash) = bytes.iter().position(|&byte| byte == b'/').filter(|&slash| slash > 0) else { return };
    let end =
        bytes.iter().rposition(|&byte| byte == b'@').filter(|&sign| sign > slash).unwrap_or(bytes.len());
    let start =
        cut(bytes, 0..slash).iter().rposition(|&byte| matches!(byte, b'=' | b' ')).map_or(0, |sign| sign + 1);
    let user = cut(bytes, start..slash);
    let plain = user.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"_$#\"".contains(&byte));
    if plain
        && !user.is_empty()
        && !is_variable(cut(bytes, slash + 1..end))
        && !matches!(at(bytes, 0), b'@' | b'-')
    {
        marks.add(text, slash + 1..end);
    }
}

/// The value of `name=value`, also behind a flag: `--from-literal=name=value`.
fn mark_assignment(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let head = if is_flag(bytes) {
        let Some(head) =
            ["--from-literal=", "--data=", "--set="].iter().find(|head| bytes.starts_with(head.as_bytes()))
        else {
            return;
        };
        head.len()
    } else {
        0
    };
    let Some(equals) = cut(bytes, head..bytes.len()).iter().position(|&byte| byte == b'=') else { return };
    let name = cut(bytes, head..head + equals);
    let start = head + equals + 1;
    let reference = matches!(at(bytes, start), b'@' | b'/') || cut(bytes, start..bytes.len()).is_empty();
    if !among(name, HARMLESS) && !reference && (kind(name).is_some() || !name.is_empty()) {
        mark_literal(text, start, marks);
    }
}
