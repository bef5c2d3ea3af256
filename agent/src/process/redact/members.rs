//! Names and values that are members of their own: `{"name":"API_TOKEN","value":"x"}`,
//! `ParameterKey=DbPassword,ParameterValue=x`.

use std::ops::Range;

use super::name::{Kind, kind};
use super::span::Found;
use super::text::{Marks, Text, among, cut, is_quote, run_end};
use super::value;

/// Members that name a thing whose value is in another member.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "name", "type", "path", "attribute", "property", "key", "parameterkey", "parametername", "variable", "var",
    "option_name", "field", "id", "k", "header",
];
/// Those other members.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "value", "val", "parametervalue", "stringvalue", "content", "data", "v", "plaintext", "option_value", "text",
    "default", "string_value", "secretvalue", "values",
];

/// The most bytes of a member that are looked at before it is known to hold a secret.
pub(super) const LONGEST: usize = 256;

/// The part that a name plays where names and values are members of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Name,
    Value,
}

/// What was last heard of such members, up to the end of the object.
#[derive(Default)]
pub(super) struct Members {
    /// The kind that a name member's content promised, and where.
    promised: Option<(Kind, usize)>,
    /// A value member that came before its name.
    waiting: Option<Range<usize>>,
}

impl Members {
    /// The part that a member of this name plays.
    pub(super) fn role(name: &[u8]) -> Option<Role> {
        if among(name, NAMES) { Some(Role::Name) } else { among(name, VALUES).then_some(Role::Value) }
    }

    /// Whether the next value member is the value of a secret.
    pub(super) fn await_value(&self) -> bool {
        self.promised.is_some()
    }

    /// Takes in a member; marks its value, or an earlier one, where name and value have come together.
    pub(super) fn hear(&mut self, text: &Text<'_>, role: Option<Role>, found: &Found, marks: &mut Marks) {
        let bytes = text.bytes.as_ref();
        let Some(role) = role else { return };
        let Range { start, end } = found.range.clone();
        let closed = |from: usize| {
            from > start || cut(bytes, from..start).contains(&b'}') || start - from > LONGEST + 400
        };
        match role {
            Role::Name => {
                let Some(kind) = kind(cut(bytes, start..end)) else {
                    self.promised = None;
                    return;
                };
                if let Some(value) = self.waiting.take().filter(|value| !closed(value.end)) {
                    // Of a long one only the start was looked at.
                    let end = run_end(bytes, value.end, |byte| !is_quote(byte));
                    let end = if value.len() + 8 >= LONGEST { end } else { value.end };
                    value::mark(text, kind, value.start..end, marks);
                }
                self.promised = Some((kind, end));
            }
            Role::Value => {
                if let Some((kind, _)) = self.promised.take().filter(|(_, from)| !closed(*from)) {
                    value::mark(text, kind, found.range.clone(), marks);
                } else {
                    self.waiting = Some(start..end);
                }
            }
        }
    }
}
