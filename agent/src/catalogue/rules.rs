//! What the kernel's filter is told of the catalogue: literal names and suffixes that make a file a candidate.
//!
//! The filter has no globs. Of each pattern it gets the most telling literal part; userspace then matches the whole
//! path. Whatever a pattern matches the filter must let through: [`KernelRules::admits`] is the reference of what
//! `agent-ebpf` does, and a property test holds both against each other.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::keys::{RuleName, RuleSuffix, rule_name};
use agent_common::limits::{RULE_ANCESTORS, RULE_NAME_BYTES, RULE_NAMES, RULE_SUFFIX_BYTES, RULE_SUFFIXES};

use super::pattern::{Component, Pattern};

/// Longest literal that the kernel can tell from a longer name that begins with it: its copy needs a NUL and one
/// byte more.
const LITERAL_BYTES: usize = RULE_NAME_BYTES - 2;

/// Directories in which, or below which, too many innocent files lie.
const HOPELESS_DIRECTORIES: &[&str] = &[
    ".cache",
    ".config",
    ".local",
    "app",
    "bin",
    "boot",
    "build",
    "cache",
    "common",
    "conf",
    "config",
    "data",
    "db",
    "default",
    "dev",
    "dist",
    "docs",
    "etc",
    "fs",
    "home",
    "include",
    "kernel",
    "lib",
    "lib64",
    "locale",
    "local",
    "log",
    "main",
    "man",
    "media",
    "mnt",
    "modules",
    "net",
    "node_modules",
    "opt",
    "pods",
    "proc",
    "python3",
    "root",
    "run",
    "sbin",
    "share",
    "site-packages",
    "spool",
    "src",
    "srv",
    "state",
    "sys",
    "target",
    "test",
    "tests",
    "tmp",
    "usr",
    "user",
    "var",
    "volumes",
    "www",
];
/// Directories with few files of their own, and too many further below.
const HOPELESS_ANCESTORS: &[&str] = &["certs", "pki", "ssl"];
/// Names of files that are everywhere.
const HOPELESS_FILES: &[&str] = &[
    "Makefile",
    "README.md",
    "__init__.py",
    "cert",
    "config",
    "config.json",
    "config.toml",
    "config.yaml",
    "config.yml",
    "data",
    "group",
    "hosts",
    "index.js",
    "key",
    "main.py",
    "maps",
    "package.json",
    "passwd",
    "settings.json",
    "settings.xml",
    "stat",
    "status",
    "token",
];
/// Suffixes of which every program opens many.
const HOPELESS_SUFFIXES: &[&str] = &[
    ".a", ".c", ".cache", ".cfg", ".class", ".conf", ".crt", ".css", ".d", ".db", ".gz", ".h", ".html",
    ".ini", ".jar", ".js", ".json", ".lock", ".log", ".map", ".md", ".mjs", ".mo", ".o", ".png", ".py",
    ".pyc", ".rb", ".rs", ".service", ".sh", ".so", ".svg", ".toml", ".ts", ".txt", ".xml", ".yaml", ".yml",
    ".zip",
];

/// Names and suffixes for the kernel's maps, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelRules {
    /// Literal components with their [`rule_name`] flags.
    pub names: Vec<(RuleName, u32)>,
    /// Suffixes, dot included.
    pub suffixes: Vec<RuleSuffix>,
}

/// Why the kernel's filter cannot carry a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Nothing in it is literal enough.
    #[error(
        "the kernel's filter finds nothing telling in it: it needs a literal file name (`.netrc`), a literal directory \
         that few files are in (`.ssh/*`), or a suffix of at most {RULE_SUFFIX_BYTES} bytes (`*.pem`); names that are \
         everywhere (`config.json`, `lib`, `*.json`) do not count: name the files, or the directory that sets them apart"
    )]
    NothingTelling,
    /// A literal is too long.
    #[error(
        "`{0}` is longer than the {LITERAL_BYTES} bytes that the kernel's filter compares: use `*` for its end"
    )]
    TooLong(String),
    /// The literal directory is too far above the file.
    #[error(
        "the directory `{0}` is more than {RULE_ANCESTORS} levels above the file: name one that is nearer"
    )]
    TooFar(String),
    /// All entries together have too many names or suffixes.
    #[error(
        "all entries together have more than {RULE_NAMES} literal names or {RULE_SUFFIXES} suffixes: drop some"
    )]
    TooMany,
}

/// Gathers rules pattern by pattern.
#[derive(Debug, Default)]
pub struct RulesBuilder {
    names: BTreeMap<String, u32>,
    suffixes: BTreeSet<String>,
}

impl RulesBuilder {
    /// Adds what makes the files of a pattern candidates.
    pub fn add(&mut self, pattern: &Pattern) -> Result<(), RuleError> {
        let Some((last, above)) = pattern.components.split_last() else { return Ok(()) };
        match last {
            Component::Literal(file) => {
                if let Some(Component::Literal(directory)) = above.last() {
                    self.name(file, rule_name::FILE_IN_DIRECTORY)?;
                    return self.name(directory, rule_name::DIRECTORY_OF_FILE);
                }
                if is_telling(file, &[HOPELESS_FILES]) {
                    return self.name(file, rule_name::FILE);
                }
                self.ancestor(above)
            }
            Component::Wild { glob, .. } => {
                if let Some(directory) = above.last().and_then(Component::literal)
                    && is_telling(directory, &[HOPELESS_DIRECTORIES])
                {
                    return self.name(directory, rule_name::DIRECTORY);
                }
                match (self.ancestor(above), suffix(glob)) {
                    (Err(RuleError::NothingTelling), Some(suffix)) => {
                        self.suffixes.insert(suffix.to_owned());
                        Ok(())
                    }
                    (result, _) => result,
                }
            }
            Component::Deep => self.ancestor(above),
        }
    }

    /// Everything below the nearest telling directory.
    fn ancestor(&mut self, above: &[Component]) -> Result<(), RuleError> {
        let telling = |component: &&Component| {
            component
                .literal()
                .is_some_and(|name| is_telling(name, &[HOPELESS_DIRECTORIES, HOPELESS_ANCESTORS]))
        };
        let nearest = above.iter().rev().enumerate().find(|(_, component)| telling(component));
        let Some((levels, Component::Literal(name))) = nearest else { return Err(RuleError::NothingTelling) };
        if levels >= RULE_ANCESTORS as usize {
            return Err(RuleError::TooFar(name.clone()));
        }
        self.name(name, rule_name::ANCESTOR)
    }

    fn name(&mut self, name: &str, flag: u32) -> Result<(), RuleError> {
        if name.len() > LITERAL_BYTES {
            return Err(RuleError::TooLong(name.to_owned()));
        }
        *self.names.entry(name.to_owned()).or_default() |= flag;
        Ok(())
    }

    /// The rules of all patterns added.
    pub fn build(self) -> Result<KernelRules, RuleError> {
        if self.names.len() > RULE_NAMES as usize || self.suffixes.len() > RULE_SUFFIXES as usize {
            return Err(RuleError::TooMany);
        }
        Ok(KernelRules {
            names: self
                .names
                .iter()
                .map(|(name, flags)| (RuleName(padded(name.as_bytes())), *flags))
                .collect(),
            suffixes: self.suffixes.iter().map(|suffix| RuleSuffix(padded(suffix.as_bytes()))).collect(),
        })
    }
}

fn is_telling(name: &str, hopeless: &[&[&str]]) -> bool {
    !hopeless.iter().any(|list| list.contains(&name))
}

/// The literal end of a glob from its last dot on, where the kernel can look for it.
fn suffix(glob: &str) -> Option<&str> {
    let suffix = glob.get(glob.rfind('.')?..)?;
    let literal = !suffix.contains(['*', '?', '[', ']']);
    let fits = (2..=RULE_SUFFIX_BYTES).contains(&suffix.len());
    (literal && fits && is_telling(suffix, &[HOPELESS_SUFFIXES])).then_some(suffix)
}

/// NUL padded; what does not fit is cut, so callers check the length.
pub(super) fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

impl KernelRules {
    /// Whether the kernel's filter takes a file for a candidate by its name: the reference for `agent-ebpf`.
    ///
    /// `components` is the path that the kernel walks to, from the root of the process, mounts crossed; the file's own
    /// name last. A component counts as literal up to 62 bytes. The suffix is what follows the last dot, dot
    /// included, if those are at most 8 bytes. Of the directories, the nearest [`RULE_ANCESTORS`] are looked at: a
    /// file deeper below a directory of the form `directory/**` is not found by name.
    pub fn admits(&self, components: &[&[u8]]) -> bool {
        let Some((file, directories)) = components.split_last() else { return false };
        let own = self.flags(file);
        if own & rule_name::FILE != 0 || self.has_suffix(file) {
            return true;
        }
        if let Some(directory) = directories.last() {
            let flags = self.flags(directory);
            let pair = own & rule_name::FILE_IN_DIRECTORY != 0 && flags & rule_name::DIRECTORY_OF_FILE != 0;
            if flags & rule_name::DIRECTORY != 0 || pair {
                return true;
            }
        }
        let mut ancestors = directories.iter().rev().take(RULE_ANCESTORS as usize);
        ancestors.any(|directory| self.flags(directory) & rule_name::ANCESTOR != 0)
    }

    fn flags(&self, component: &[u8]) -> u32 {
        if component.len() > LITERAL_BYTES {
            return 0;
        }
        let key = RuleName(padded(component));
        self.names.iter().find(|(name, _)| *name == key).map_or(0, |(_, flags)| *flags)
    }

    fn has_suffix(&self, file: &[u8]) -> bool {
        let Some(dot) = file.iter().rposition(|&byte| byte == b'.') else { return false };
        let suffix = file.get(dot..).unwrap_or_default();
        suffix.len() <= RULE_SUFFIX_BYTES && self.suffixes.contains(&RuleSuffix(padded(suffix)))
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
