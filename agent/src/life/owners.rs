//! Who owns an identity: the registry that an operator keeps as a file, and what else may say so.
//!
//! ```toml
//! version = 1
//!
//! [[owner]]
//! identity = "agent/claude-code@human/alice*"
//! owner = "human/alice"
//! comment = "alice's laptop and her builds"
//! ```
//!
//! `identity` is a canonical string, or a pattern of it: `*` is anything, `?` any character, `{a,b}` one of these. The first
//! entry that matches counts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use crate::model::identity::{Owner, OwnerSource};
use crate::operator::entries::Entries;
use crate::operator::file::{self, FileError};
use crate::operator::rules::Rules;

/// Where the registry is, unless it is not there: then there is none.
pub const REGISTRY: &str = "/etc/telltale/owners.toml";

/// Entries, at most.
const ENTRIES: usize = 10_000;
/// Bytes of an owner's name.
pub const OWNER_BYTES: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    owner: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    identity: String,
    owner: String,
    #[serde(default)]
    #[expect(dead_code, reason = "it is there for who reads the file")]
    comment: String,
}

/// Patterns of identities, and who owns them.
#[derive(Default)]
pub struct Registry {
    /// One automaton for all: who owns what is asked on the event path.
    patterns: GlobSet,
    /// Of each pattern.
    owners: Vec<Arc<str>>,
}

/// Everything that says who owns what.
#[derive(Clone, Default)]
pub struct Owners {
    decided: Arc<HashMap<String, Arc<str>>>,
    registry: Arc<Registry>,
    rules: Arc<Rules>,
    entries: Arc<Entries>,
}

/// What else says who owns an identity.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grounds<'a> {
    /// The rule that held.
    pub rule: Option<&'a str>,
    /// Who owns it as whoever deployed it says, and where that is said.
    pub declared: Option<(&'a str, OwnerSource)>,
    /// The human behind it.
    pub human: Option<&'a str>,
}

impl Owners {
    /// Takes another registry.
    pub fn set_registry(&mut self, registry: Registry) {
        self.registry = Arc::new(registry);
    }

    /// An operator says who owns an identity, or that what was said counts no more.
    pub fn decide(&mut self, identity: String, owner: Option<String>) {
        let decided = Arc::make_mut(&mut self.decided);
        match owner {
            Some(owner) => drop(decided.insert(identity, owner.into())),
            None => drop(decided.remove(&identity)),
        }
    }

    /// Takes other rules.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = Arc::new(rules);
    }

    /// Takes other entries of SPIRE.
    pub fn set_entries(&mut self, entries: Entries) {
        self.entries = Arc::new(entries);
    }

    /// Entries of SPIRE.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who owns an identity with this canonical string: as an operator says, else as the grounds do, in their order, with the
    /// registry behind rules. `None`: an orphan.
    pub fn of(&self, identity: &str, grounds: Grounds<'_>) -> Option<Owner> {
        let Grounds { rule, declared, human } = grounds;
        let decided = self.decided.get(identity).cloned();
        let decided = decided.map(|name| Owner { name, source: OwnerSource::Operator });
        let ruled = || {
            let name = self.rules.owner(rule?)?.clone();
            Some(Owner { name, source: OwnerSource::Rule })
        };
        let registered = || {
            let name = self.registry.owner_of(identity)?.clone();
            Some(Owner { name, source: OwnerSource::Registry })
        };
        let of_deployer = || {
            let (name, source) = declared?;
            Some(Owner { name: name.into(), source })
        };
        let starter = || Some(Owner { name: human?.into(), source: OwnerSource::Starter });
        decided.or_else(ruled).or_else(registered).or_else(of_deployer).or_else(starter)
    }
}

/// Reads the registry in a file; an empty one where it is not there.
///
/// # Errors
/// Where it cannot be read, or is wrong.
pub fn load(path: &Path) -> Result<Registry, FileError> {
    file::load("registry of owners", path, Registry::parse)
}

impl Registry {
    fn parse(text: &str) -> Result<Self, String> {
        let File { version, owner } = toml::from_str(text).map_err(|error| error.to_string())?;
        if version != 1 {
            return Err(format!("its version is {version}, and this build knows 1"));
        }
        if owner.len() > ENTRIES {
            return Err(format!("it has {} entries, more than {ENTRIES}", owner.len()));
        }
        let (mut patterns, mut owners) = (GlobSetBuilder::new(), Vec::new());
        for Row { identity, owner, comment: _ } in owner {
            check_owner(&owner).map_err(|why| format!("the owner of {identity:?}: {why}"))?;
            let glob = GlobBuilder::new(&identity).build();
            patterns.add(glob.map_err(|error| format!("the pattern {identity:?}: {error}"))?);
            owners.push(owner.into());
        }
        let patterns = patterns.build().map_err(|error| format!("all patterns together: {error}"))?;
        Ok(Self { patterns, owners })
    }

    /// Who owns an identity, by its canonical string.
    pub fn owner_of(&self, identity: &str) -> Option<&Arc<str>> {
        let first = self.patterns.matches(identity).into_iter().min()?;
        self.owners.get(first)
    }
}

/// Whether somebody can be named so.
///
/// # Errors
/// What is wrong with the name.
pub fn check_owner(owner: &str) -> Result<(), String> {
    if owner.trim().is_empty() {
        return Err("it is empty; name a person (human/alice), a team or an address".to_owned());
    }
    if owner.len() > OWNER_BYTES {
        return Err(format!("it has more than {OWNER_BYTES} bytes"));
    }
    if owner.chars().any(char::is_control) {
        return Err("it has control characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = r#"
        version = 1
        [[owner]]
        identity = "agent/claude-code@human/alice"
        owner = "human/alice"
        [[owner]]
        identity = "agent/*"
        owner = "team: ai-platform"
        comment = "all others"
        [[owner]]
        identity = "svc/postgres*"
        owner = "dba@example.com"
    "#;

    #[test]
    fn the_first_entry_that_matches_counts() {
        let registry = Registry::parse(FILE).unwrap();
        let owners = [
            ("agent/claude-code@human/alice", Some("human/alice")),
            ("agent/claude-code@human/bob", Some("team: ai-platform")),
            ("agent/codex@agent/claude-code@human/bob", Some("team: ai-platform")),
            ("svc/postgresql%4015-main", Some("dba@example.com")),
            ("svc/nginx", None),
            ("user-svc/alice/postgres", None),
        ];
        for (identity, owner) in owners {
            assert_eq!(registry.owner_of(identity).map(AsRef::as_ref), owner, "{identity}");
        }
    }

    #[test]
    fn as_many_entries_as_there_may_be_are_one_automaton() {
        let rows = (0..ENTRIES).map(|number| {
            let pattern = if number % 2 == 0 { format!("svc/{number}-*") } else { format!("*/{number}") };
            format!("[[owner]]\nidentity = \"{pattern}\"\nowner = \"{number}\"\n")
        });
        let text: String = std::iter::once("version = 1\n".to_owned()).chain(rows).collect();
        let registry = Registry::parse(&text).unwrap();
        for (identity, owner) in [("svc/4000-x", "4000"), ("human/9999", "9999")] {
            assert_eq!(registry.owner_of(identity).unwrap().as_ref(), owner);
        }
        assert_eq!(registry.owner_of("svc/x"), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("", "version"),
            ("version = 2\n", "version is 2"),
            ("version = 1\n[[owner]]\nidentity = \"svc/x\"\n", "owner"),
            ("version = 1\n[[owner]]\nidentity = \"svc/[\"\nowner = \"a\"\n", "svc/["),
            ("version = 1\n[[owner]]\nidentity = \"svc/x\"\nowner = \" \"\n", "empty"),
            ("version = 1\n[[owner]]\nidentity = \"svc/x\"\nowner = \"a\\u001b[2J\"\n", "control"),
            ("version = 1\n[[owner]]\nidentity = \"svc/x\"\nowner = \"a\"\ntem = 1\n", "tem"),
        ];
        for (text, part) in wrong {
            let message = Registry::parse(text).err().unwrap();
            assert!(message.contains(part), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_registry_or_wrong(text in ".{0,200}") {
            let _ = Registry::parse(&text);
        }
    }
}
