//! What the kernel's filter is told of credential sockets: names, beginnings of names and directories.
//!
//! Sockets are looked for apart from files: there are few of them, so names that are everywhere among files (`ssh`) are
//! telling here. The directories are those of the socket's own file system.

use std::collections::BTreeMap;

use agent_common::keys::{RuleName, rule_name};
use agent_common::limits::{RULE_NAME_BYTES, SOCKET_ANCESTORS, SOCKET_NAMES, SOCKET_PREFIX_BYTES};

use super::pattern::{Component, Pattern};
use super::rules::padded;

/// Longest literal that the kernel's copy holds whole.
const LITERAL_BYTES: usize = RULE_NAME_BYTES - 2;
/// Directories that hold sockets of all kinds.
const HOPELESS_DIRECTORIES: &[&str] = &["run", "tmp", "var", "home", "user", "lib", "etc", "opt", "root"];

/// Why the kernel's filter cannot carry a socket's pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketRuleError {
    /// Nothing in it is literal enough.
    #[error(
        "the kernel's filter finds nothing telling in it: it needs a literal file name (`docker.sock`), one that begins \
         with at least {SOCKET_PREFIX_BYTES} literal bytes (`agent.*`), or a literal directory of its own at most \
         {SOCKET_ANCESTORS} levels above"
    )]
    NothingTelling,
    /// A literal is too long.
    #[error(
        "`{0}` is longer than the {LITERAL_BYTES} bytes that the kernel's filter compares: use `*` for its end"
    )]
    TooLong(String),
    /// All entries together have too many names.
    #[error("all sockets together have more than {SOCKET_NAMES} names: drop some")]
    TooMany,
}

/// Gathers rules pattern by pattern.
#[derive(Debug, Default)]
pub struct SocketRules {
    names: BTreeMap<String, u32>,
}

impl SocketRules {
    /// Adds what makes the sockets of a pattern candidates.
    pub fn add(&mut self, pattern: &Pattern) -> Result<(), SocketRuleError> {
        let Some((last, above)) = pattern.components.split_last() else { return Ok(()) };
        match last {
            Component::Literal(name) => return self.name(name, rule_name::FILE),
            Component::Wild { glob, .. } => {
                if let Some(directory) = above.last().and_then(telling) {
                    return self.name(directory, rule_name::DIRECTORY);
                }
                let literal = glob.split(['*', '?', '[']).next().unwrap_or_default();
                if let Some(prefix) = literal.get(..SOCKET_PREFIX_BYTES) {
                    return self.name(prefix, rule_name::PREFIX);
                }
            }
            Component::Deep => {}
        }
        let nearest = above.iter().rev().take(SOCKET_ANCESTORS as usize).find_map(telling);
        self.name(nearest.ok_or(SocketRuleError::NothingTelling)?, rule_name::ANCESTOR)
    }

    fn name(&mut self, name: &str, flag: u32) -> Result<(), SocketRuleError> {
        if name.len() > LITERAL_BYTES {
            return Err(SocketRuleError::TooLong(name.to_owned()));
        }
        *self.names.entry(name.to_owned()).or_default() |= flag;
        if self.names.len() > SOCKET_NAMES as usize { Err(SocketRuleError::TooMany) } else { Ok(()) }
    }

    /// For the kernel's map.
    pub fn names(&self) -> Vec<(RuleName, u32)> {
        self.names.iter().map(|(name, flags)| (RuleName(padded(name.as_bytes())), *flags)).collect()
    }
}

fn telling(component: &Component) -> Option<&str> {
    component.literal().filter(|name| !HOPELESS_DIRECTORIES.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str) -> Result<Vec<(String, u32)>, SocketRuleError> {
        let mut rules = SocketRules::default();
        for pattern in Pattern::parse(path).unwrap() {
            rules.add(&pattern)?;
        }
        Ok(rules.names.into_iter().collect())
    }

    #[test]
    fn each_form_has_its_rule() {
        let one = |name: &str, flag| Ok(vec![(name.to_owned(), flag)]);
        assert_eq!(rules("/run/docker.sock"), one("docker.sock", rule_name::FILE));
        assert_eq!(rules("/tmp/ssh-*/agent.*"), one("agent.", rule_name::PREFIX));
        assert_eq!(rules("~/.ssh/agent/*"), one("agent", rule_name::DIRECTORY));
        assert_eq!(rules("/run/spire/**/*.sock"), one("spire", rule_name::ANCESTOR));
        assert_eq!(rules("/run/*.sock"), Err(SocketRuleError::NothingTelling));
        let long = format!("/run/{}", "x".repeat(63));
        assert!(matches!(rules(&long), Err(SocketRuleError::TooLong(_))));
    }
}
