//! What the files of the system's units say of them, looked up beside the event path.
//!
//! Files alone are read: D-Bus would ask systemd itself, which can be slow, and who may ask there may ask for more than is
//! wanted here. Each file counts only where root alone can write it (`trusted.rs`). Units of users are not looked at:
//! their files are theirs.
//!
//! What systemd has loaded is what its files said then (`daemon-reload`): between the two this says what the next start does.

mod file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use super::HostRoot;
use super::lookup::Lookup;
use super::trusted::{Silent, list, read};
use crate::life::owners::OWNER_BYTES;
use crate::model::container::Answer;
use crate::model::unit::{UnitFacts, UnitFound, UnitName, UnitTimer, is_unit_name};

use file::{UnitText, expand};

/// Where systemd looks for units of the system, the first that has one first: systemd.unit(5),
/// <https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html>. `/lib` is that of hosts where it is no link.
const DIRECTORIES: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// Largest file of a unit that is read.
const FILE_BYTES: u64 = 256 << 10;
/// Entries of one directory that are looked at: distributions have 400 units.
const ENTRIES: usize = 4_096;
/// Drop-ins of one unit.
const DROP_INS: usize = 64;
/// Names with a `-` below which drop-ins are looked for: `a-b-c.service` has `a-.service.d` and `a-b-.service.d`.
const PREFIXES: usize = 8;
/// Timers that are looked at for what they run.
const TIMERS: usize = 512;

/// Looks units up: one by its name, or, without one, all that timers run.
pub type UnitLookup = Lookup<Option<Arc<str>>, Vec<UnitFound>>;

/// Starts to, with the privileges that the caller has now.
///
/// # Errors
/// Where no thread can be had.
pub fn start(host: Arc<HostRoot>) -> io::Result<UnitLookup> {
    Lookup::start("units", move |unit: Option<Arc<str>>| match unit {
        Some(unit) => vec![UnitFound { answer: look(&host, &unit), unit }],
        None => all_timed(&host),
    })
}

/// What is known of a unit.
pub fn look(host: &HostRoot, unit: &str) -> Answer<UnitFacts> {
    answer(Files::list(host).and_then(|files| files.facts(unit)))
}

/// All services that timers run, so that the first that they do is told by the timer.
fn all_timed(host: &HostRoot) -> Vec<UnitFound> {
    let Ok(files) = Files::list(host) else { return Vec::new() };
    let services = files.timers().filter_map(|timer| triggered(timer, &files.load(timer).ok()?.1));
    services.map(|unit| UnitFound { answer: answer(files.facts(&unit)), unit: unit.into() }).collect()
}

fn answer(facts: Result<UnitFacts, Silent>) -> Answer<UnitFacts> {
    match facts {
        Ok(facts) => Answer::Found(Arc::new(facts)),
        Err(Silent::Absent) => Answer::NotFound,
        Err(Silent::TooLarge) => Answer::TooLarge,
        Err(Silent::Refused) => Answer::Refused,
        Err(Silent::Unreadable) => Answer::Unreadable,
    }
}

/// What there is where systemd looks for units.
struct Files<'a> {
    host: &'a HostRoot,
    /// By name the directories that have it, the first that counts first.
    by_name: BTreeMap<String, Vec<&'static str>>,
}

impl<'a> Files<'a> {
    fn list(host: &'a HostRoot) -> Result<Self, Silent> {
        let mut by_name: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for directory in DIRECTORIES {
            let names = match list(host, directory, ENTRIES) {
                Err(Silent::Absent) => continue,
                // A unit of root's further behind may be none that systemd loads.
                other => other?,
            };
            for name in names.into_iter().filter_map(|name| name.into_string().ok()) {
                by_name.entry(name).or_default().push(directory);
            }
        }
        Ok(Self { host, by_name })
    }

    fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All timers, without instances of templates that have no file of their own.
    fn timers(&self) -> impl Iterator<Item = &str> {
        let names = self.by_name.keys().map(String::as_str);
        names.filter(|name| name.ends_with(".timer") && is_unit_name(name)).take(TIMERS)
    }

    fn facts(&self, unit: &str) -> Result<UnitFacts, Silent> {
        let name = UnitName::parse(unit).ok_or(Silent::Absent)?;
        let (fragment, text) = self.load(unit)?;
        let told = |text: &str| Some(expand(text, unit)).filter(|text| !text.is_empty()).map(Into::into);
        let is_owner =
            |owner: &&str| owner.len() <= OWNER_BYTES && !owner.chars().any(|letter| letter.is_control());
        Ok(UnitFacts {
            fragment: fragment.into(),
            description: text.description.as_deref().and_then(told),
            owner: text.owner.as_deref().filter(is_owner).map(Into::into),
            timer: if text.is_wanted { None } else { self.timer_of(unit, &name) },
        })
    }

    /// The timer that runs a service; none where a socket or a path of its name may start it, too. Of several that one that is
    /// called as the service is, else the first.
    fn timer_of(&self, unit: &str, name: &UnitName<'_>) -> Option<UnitTimer> {
        let with_suffix = |suffix: &str| (name.with_suffix(suffix), name.template_with_suffix(suffix));
        let is_started_otherwise = ["socket", "path"].map(with_suffix).iter().any(|(unit, template)| {
            self.has(unit) || template.as_ref().is_some_and(|template| self.has(template))
        });
        if name.suffix != "service" || is_started_otherwise {
            return None;
        }
        let own = name.with_suffix("timer");
        let others = self.timers().filter(|timer| **timer != own);
        std::iter::once(own.as_str()).chain(others).find_map(|timer| {
            let (fragment, text) = self.load(timer).ok()?;
            let runs = triggered(timer, &text)? == unit;
            runs.then(|| UnitTimer { unit: timer.into(), fragment: fragment.into() })
        })
    }

    /// A unit's file, and what it and the unit's drop-ins say.
    fn load(&self, unit: &str) -> Result<(String, UnitText), Silent> {
        let name = UnitName::parse(unit).ok_or(Silent::Absent)?;
        let template = name.template();
        let mut names = std::iter::once(unit).chain(template.as_deref());
        // Whatever lies behind the first: this is what systemd loads.
        let (file, directory) =
            names.find_map(|file| Some((file, self.by_name.get(file)?.first()?))).ok_or(Silent::Absent)?;
        let fragment = format!("{directory}/{file}");
        let mut text = UnitText::default();
        text.read(&read(self.host, &fragment, FILE_BYTES)?);
        for path in self.drop_ins(unit, &name)? {
            text.read(&read(self.host, &path, FILE_BYTES)?);
        }
        Ok((fragment, text))
    }

    /// A unit's drop-ins in the order in which they count: by their own names, of several with one name the first
    /// (`unit_file_find_dropin_paths` of `src/shared/dropin.c`, <https://github.com/systemd/systemd>).
    fn drop_ins(&self, unit: &str, name: &UnitName<'_>) -> Result<Vec<String>, Silent> {
        let prefixes = name.prefix.rmatch_indices('-').take(PREFIXES);
        let prefixes =
            prefixes.filter_map(|(at, _)| Some(format!("{}.{}", name.prefix.get(..=at)?, name.suffix)));
        let names = std::iter::once(unit.to_owned()).chain(name.template()).chain(prefixes);
        let mut found: BTreeMap<OsString, String> = BTreeMap::new();
        for directory in names.chain([name.suffix.to_owned()]).map(|name| format!("{name}.d")) {
            for above in self.by_name.get(&directory).into_iter().flatten() {
                let files = match list(self.host, &format!("{above}/{directory}"), ENTRIES) {
                    Err(Silent::Absent) => Vec::new(),
                    listed => listed?,
                };
                for file in files {
                    let Some(text) = file.to_str().filter(|file| file.ends_with(".conf")) else { continue };
                    let path = format!("{above}/{directory}/{text}");
                    found.entry(file).or_insert(path);
                    if found.len() > DROP_INS {
                        return Err(Silent::TooLarge);
                    }
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// The service that a timer runs. Templates run none.
fn triggered(timer: &str, text: &UnitText) -> Option<String> {
    let name = UnitName::parse(timer).filter(|name| name.instance.is_none_or(|it| !it.is_empty()))?;
    let unit = match &text.triggers {
        Some(unit) => expand(unit, timer),
        None => name.with_suffix("service"),
    };
    is_unit_name(&unit).then_some(unit)
}

#[cfg(test)]
mod tests;
