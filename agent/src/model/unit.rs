//! Units of the system's service manager, as their files say.

use std::sync::Arc;

use super::container::Answer;

/// What a unit's files say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnitFacts {
    /// The file that systemd loads for it; of an instance it may be the template's.
    pub fragment: Arc<str>,
    /// `Description=`.
    pub description: Option<Arc<str>>,
    /// `Owner=` of the section `X-Telltale`.
    pub owner: Option<Arc<str>>,
    /// The timer that runs it, where it has no other way to be started than that and by hand.
    pub timer: Option<UnitTimer>,
}

/// A timer that runs a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnitTimer {
    /// Its name, with its suffix.
    pub unit: Arc<str>,
    /// Its file.
    pub fragment: Arc<str>,
}

/// A unit that was looked up: kept by recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFound {
    /// Its name, with its suffix.
    pub unit: Arc<str>,
    /// What is known.
    pub answer: Answer<UnitFacts>,
}

/// The system's unit that a process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUnit {
    /// Its name, with its suffix.
    pub unit: Arc<str>,
    /// What its files say, where that is known.
    pub facts: Option<Arc<UnitFacts>>,
}

/// Longest name of a unit: `UNIT_NAME_MAX` of systemd, with its end.
pub const UNIT_NAME_BYTES: usize = 255;

/// Whether a unit can have such a name: characters of `src/basic/unit-name.c`, <https://github.com/systemd/systemd>. None
/// leads out of a directory.
pub fn is_unit_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    (1..=UNIT_NAME_BYTES).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.')
}

/// The name of a unit in its parts: `postgresql@15-main.service` is `postgresql`, `15-main`, `service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitName<'a> {
    /// What comes before the `@`, or before the suffix.
    pub prefix: &'a str,
    /// What comes behind the `@`, for an instance; empty for a template.
    pub instance: Option<&'a str>,
    /// What comes behind the last `.`.
    pub suffix: &'a str,
}

impl<'a> UnitName<'a> {
    /// Reads one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, suffix) = text.rsplit_once('.').filter(|_| is_unit_name(text))?;
        let (prefix, instance) =
            name.split_once('@').map_or((name, None), |(prefix, instance)| (prefix, Some(instance)));
        (!prefix.is_empty()).then_some(Self { prefix, instance, suffix })
    }

    /// The template that it is an instance of.
    pub fn template(&self) -> Option<String> {
        self.template_with_suffix(self.suffix)
    }

    /// The template of another kind that is called the same.
    pub fn template_with_suffix(&self, suffix: &str) -> Option<String> {
        let Self { prefix, instance, suffix: _ } = self;
        instance.filter(|instance| !instance.is_empty()).map(|_| format!("{prefix}@.{suffix}"))
    }

    /// The unit of another kind that is called the same.
    pub fn with_suffix(&self, suffix: &str) -> String {
        let Self { prefix, instance, suffix: _ } = self;
        instance
            .map_or_else(|| format!("{prefix}.{suffix}"), |instance| format!("{prefix}@{instance}.{suffix}"))
    }
}
