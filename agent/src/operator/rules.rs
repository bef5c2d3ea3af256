//! An operator's rules: which identity evidence makes, instead of the one that [`crate::attribute::precedence`] finds.
//!
//! ```toml
//! version = 1
//!
//! [[rule]]
//! name = "nightly backup"
//! when.identity = "exe/opt/backup/*@uid:0"
//! when.evidence = { unit = "backup-*.service" }
//! identity = "svc/backup"
//! owner = "team: storage"
//! ```
//!
//! A rule that holds makes nothing more certain: the attribution has the confidence of the weakest thing that the rule
//! rests on, and what is only claimed makes no rule hold.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use super::file::{self, FileError};
use crate::life::owners::check_owner;
use crate::model::identity::{Confidence, Evidence, Identity};
use crate::ship::wire::names::{KINDS, identity_kind};

/// Where the rules are, unless they are not there: then there are none.
pub const RULES: &str = "/etc/telltale/identities.toml";

/// Before a pattern of who somebody is.
const IDENTITY: &str = "identity";
/// Rules, at most.
const MOST: usize = 1_000;
/// Conditions on evidence, of one rule.
const CONDITIONS: usize = 16;
/// Bytes of a rule's name.
const NAME_BYTES: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    rule: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    when: When,
    identity: Option<String>,
    prefer: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "it is there for who reads the file")]
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    identity: Option<String>,
    #[serde(default)]
    evidence: std::collections::BTreeMap<String, String>,
}

/// Rules, in the order in which they are tried.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// All patterns, each with what it is of before it: what is found is looked at once, whatever their number.
    patterns: GlobSet,
    /// Kinds of evidence that some rule asks for.
    kinds: HashSet<String>,
}

struct Rule {
    name: Arc<str>,
    /// Of [`Rules::patterns`].
    when: Vec<usize>,
    becomes: Becomes,
    owner: Option<Arc<str>>,
}

enum Becomes {
    /// It stays who it is: the rule is about its owner.
    Same,
    Identity(Identity),
    /// The one of this kind among those that apply.
    Kind(&'static str),
}

/// What a rule says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The rule.
    pub name: Arc<str>,
    /// Who it is.
    pub identity: Identity,
    /// How firmly that may be believed: never more than without the rule.
    pub confidence: Confidence,
    /// Who owns it, if the rule says so.
    pub owner: Option<Arc<str>>,
}

/// Evidence that a rule held: its detail begins with the rule's name.
pub const EVIDENCE: &str = "rule";

/// Reads the rules of a file; none where it is not there.
///
/// # Errors
/// Where it cannot be read, or is wrong.
pub fn load(path: &Path) -> Result<Rules, FileError> {
    file::load("rules of identities", path, Rules::parse)
}

impl Rules {
    /// Understands rules.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let File { version, rule: rows } = toml::from_str(text).map_err(|error| error.to_string())?;
        if version != 1 {
            return Err(format!("its version is {version}, and this build knows 1"));
        }
        if rows.len() > MOST {
            return Err(format!("it has {} rules, more than {MOST}", rows.len()));
        }
        let (mut patterns, mut count) = (GlobSetBuilder::new(), 0);
        let (mut rules, mut kinds, mut names) = (Vec::new(), HashSet::new(), HashSet::new());
        for row in rows {
            let name = row.name.clone();
            if !names.insert(name.clone()) {
                return Err(format!("two rules are called {name:?}: events name the one that holds"));
            }
            let wrong = |why: String| format!("the rule {name:?}: {why}");
            let rule = Rule::of(row, |kind, pattern| {
                let glob = GlobBuilder::new(&format!("{kind}={pattern}")).build();
                patterns.add(glob.map_err(|error| format!("the pattern {pattern:?}: {error}"))?);
                kinds.insert(kind.to_owned());
                count += 1;
                Ok(count - 1)
            });
            rules.push(rule.map_err(wrong)?);
        }
        let patterns = patterns.build().map_err(|error| format!("all patterns together: {error}"))?;
        Ok(Self { rules, patterns, kinds })
    }

    /// The owner whom a rule names.
    pub fn owner(&self, name: &str) -> Option<&Arc<str>> {
        self.rules.iter().find(|rule| &*rule.name == name)?.owner.as_ref()
    }

    /// What the first rule that holds says of somebody who is `identity` with this confidence, for this evidence.
    /// `others` may be the key too.
    pub fn apply(
        &self,
        identity: &Identity,
        confidence: Confidence,
        evidence: &[Evidence],
        others: &[(&Identity, Confidence)],
    ) -> Option<Said> {
        if self.rules.is_empty() {
            return None;
        }
        // Of each pattern that holds, the best evidence.
        let mut held: Vec<Option<Confidence>> = vec![None; self.patterns.len()];
        let relied =
            |found: &&Evidence| found.confidence > Confidence::Claimed && self.kinds.contains(found.kind);
        let evidence = evidence.iter().filter(relied);
        let evidence = evidence.map(|found| (format!("{}={}", found.kind, found.detail), found.confidence));
        let known =
            (confidence > Confidence::Claimed).then(|| (format!("{IDENTITY}={identity}"), confidence));
        for (text, known) in evidence.chain(known) {
            for at in self.patterns.matches(text) {
                if let Some(best) = held.get_mut(at) {
                    *best = (*best).max(Some(known));
                }
            }
        }
        self.rules.iter().find_map(|rule| {
            let weakest = rule.when.iter().map(|at| held.get(*at).copied().flatten()).min()??;
            let (identity, confidence) = match &rule.becomes {
                Becomes::Same => (identity.clone(), confidence),
                Becomes::Identity(given) => (given.clone(), confidence),
                Becomes::Kind(kind) => {
                    let all = std::iter::once((identity, confidence)).chain(others.iter().copied());
                    let (other, known) = all.into_iter().find(|(other, _)| identity_kind(other) == *kind)?;
                    (other.clone(), known)
                }
            };
            let (name, owner) = (rule.name.clone(), rule.owner.clone());
            Some(Said { name, identity, confidence: confidence.min(weakest), owner })
        })
    }
}

impl Rule {
    fn of(row: Row, mut pattern: impl FnMut(&str, &str) -> Result<usize, String>) -> Result<Self, String> {
        let Row { name, when, identity, prefer, owner, comment: _ } = row;
        if name.trim().is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
            return Err(format!("a name has 1 to {NAME_BYTES} bytes and no control characters"));
        }
        if when.identity.is_none() && when.evidence.is_empty() {
            return Err("`when` says nothing, so that it would hold for everybody; \
                        name an identity, evidence or both"
                .to_owned());
        }
        if when.evidence.len() > CONDITIONS {
            return Err(format!("it asks for more than {CONDITIONS} kinds of evidence"));
        }
        let becomes = match (identity, prefer) {
            (Some(_), Some(_)) => return Err("`identity` and `prefer` exclude each other".to_owned()),
            (Some(given), None) => Becomes::Identity(may_be_given(&given)?),
            (None, Some(kind)) => {
                let known = KINDS.iter().find(|known| **known == kind);
                let known =
                    known.ok_or_else(|| format!("there is no kind {kind:?}: {}", KINDS.join(", ")))?;
                Becomes::Kind(known)
            }
            (None, None) if owner.is_some() => Becomes::Same,
            (None, None) => {
                return Err("it changes nothing: give `identity`, `prefer` or `owner`".to_owned());
            }
        };
        if let Some(owner) = &owner {
            check_owner(owner).map_err(|why| format!("its owner: {why}"))?;
        }
        if when.evidence.contains_key(IDENTITY) {
            return Err("`identity` is no kind of evidence: write when.identity".to_owned());
        }
        let when = when
            .evidence
            .iter()
            .map(|(kind, text)| (kind.as_str(), text))
            .chain(when.identity.iter().map(|text| (IDENTITY, text)));
        let when = when.map(|(kind, text)| pattern(kind, text)).collect::<Result<_, _>>()?;
        Ok(Self { name: name.into(), when, becomes, owner: owner.map(Into::into) })
    }
}

/// An identity that a rule may give. A human is who logged in, and an agent is known by its session: neither is given.
fn may_be_given(text: &str) -> Result<Identity, String> {
    let identity: Identity = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
    match identity {
        Identity::Human { .. } => Err(format!("{text:?}: who a human is, the login uid says alone")),
        Identity::Agent { .. } | Identity::McpServer { .. } => {
            Err(format!("{text:?}: an agent is known by its program and its session alone"))
        }
        given => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evidence(kind: &'static str, detail: &str, confidence: Confidence) -> Evidence {
        Evidence { kind, detail: detail.to_owned(), confidence }
    }

    fn apply(
        rules: &str,
        identity: &str,
        evidence: &[Evidence],
        others: &[&str],
    ) -> Option<(String, Confidence)> {
        let rules = Rules::parse(&format!("version = 1\n[[rule]]\nname = \"r\"\n{rules}")).unwrap();
        let others: Vec<Identity> = others.iter().map(|other| other.parse().unwrap()).collect();
        let others: Vec<_> = others.iter().map(|other| (other, Confidence::Observed)).collect();
        let said = rules.apply(&identity.parse().unwrap(), Confidence::Observed, evidence, &others)?;
        Some((said.identity.to_string(), said.confidence))
    }

    #[test]
    fn all_conditions_must_hold() {
        let rule = "when.identity = \"exe/opt/*\"\nwhen.evidence = { uid = \"0\", exe = \"/opt/{a,b}/*\" }\nidentity = \"svc/backup\"\n";
        let (root, user) =
            (evidence("uid", "0", Confidence::Observed), evidence("uid", "1000", Confidence::Observed));
        let exe = |path| evidence("exe", path, Confidence::Observed);
        let backup = Some(("svc/backup".to_owned(), Confidence::Observed));
        assert_eq!(apply(rule, "exe/opt/a/x@uid:0", &[root.clone(), exe("/opt/a/x")], &[]), backup);
        assert_eq!(apply(rule, "exe/opt/a/x@uid:0", &[user, exe("/opt/a/x")], &[]), None);
        assert_eq!(apply(rule, "exe/opt/c/x@uid:0", &[root.clone(), exe("/opt/c/x")], &[]), None);
        assert_eq!(apply(rule, "exe/usr/x@uid:0", &[root, exe("/opt/a/x")], &[]), None);
    }

    #[test]
    fn a_rule_makes_nothing_more_certain_and_claims_make_none_hold() {
        let rule = "when.evidence = { image = \"docker.io/*\", uid = \"0\" }\nidentity = \"svc/x\"\n";
        let found = |confidence| {
            [evidence("image", "docker.io/x", confidence), evidence("uid", "0", Confidence::Attested)]
        };
        let applied =
            |confidence| apply(rule, "svc/y", &found(confidence), &[]).map(|(_, confidence)| confidence);
        assert_eq!(applied(Confidence::Claimed), None);
        assert_eq!(applied(Confidence::Declared), Some(Confidence::Declared));
        assert_eq!(applied(Confidence::Observed), Some(Confidence::Observed));
        assert_eq!(applied(Confidence::Attested), Some(Confidence::Observed));
    }

    #[test]
    fn a_kind_is_preferred_where_it_applies() {
        let rule = "when.identity = \"agent/*\"\nprefer = \"system_unit\"\n";
        let agent = "agent/codex@svc/ci";
        let unit = Some(("svc/ci".to_owned(), Confidence::Observed));
        assert_eq!(apply(rule, agent, &[], &["exe/x@uid:0", "svc/ci"]), unit);
        assert_eq!(apply(rule, agent, &[], &["exe/x@uid:0"]), None);
    }

    #[test]
    fn the_first_that_holds_counts_and_owners_are_named() {
        let rules = Rules::parse(
            "version = 1\n[[rule]]\nname = \"a\"\nwhen.identity = \"svc/a*\"\nowner = \"A\"\n\
             [[rule]]\nname = \"b\"\nwhen.identity = \"svc/*\"\nidentity = \"svc/all\"\nowner = \"B\"\n",
        )
        .unwrap();
        let said = |text: &str| {
            let said = rules.apply(&text.parse().unwrap(), Confidence::Observed, &[], &[])?;
            Some((said.name.to_string(), said.identity.to_string(), said.owner.unwrap().to_string()))
        };
        assert_eq!(said("svc/ab"), Some(("a".into(), "svc/ab".into(), "A".into())));
        assert_eq!(said("svc/b"), Some(("b".into(), "svc/all".into(), "B".into())));
        assert_eq!(said("human/a"), None);
        assert_eq!((rules.owner("a").map(AsRef::as_ref), rules.owner("c")), (Some("A"), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("when.identity = \"svc/x\"\n", "changes nothing"),
            ("when = {}\nidentity = \"svc/x\"\n", "everybody"),
            ("when.identity = \"svc/[\"\nidentity = \"svc/x\"\n", "svc/["),
            ("when.evidence = { exe = \"[\" }\nidentity = \"svc/x\"\n", "["),
            ("when.identity = \"svc/x\"\nidentity = \"human/alice\"\n", "login uid"),
            ("when.identity = \"svc/x\"\nidentity = \"agent/a@human/alice\"\n", "session"),
            ("when.identity = \"svc/x\"\nidentity = \"svc/a b\"\n", "a%20b"),
            ("when.identity = \"svc/x\"\nprefer = \"unit\"\n", "system_unit"),
            ("when.identity = \"svc/x\"\nprefer = \"human\"\nidentity = \"svc/x\"\n", "exclude"),
            ("when.identity = \"svc/x\"\nowner = \"\"\n", "empty"),
            ("when.identity = \"svc/x\"\nowner = \"a\"\nothers = 1\n", "others"),
            (
                "when.identity = \"svc/x\"\nowner = \"a\"\n[[rule]]\nname = \"r\"\nwhen.identity = \"x\"\nowner = \"b\"\n",
                "two rules",
            ),
        ];
        for (text, part) in wrong {
            let message =
                Rules::parse(&format!("version = 1\n[[rule]]\nname = \"r\"\n{text}")).err().unwrap();
            assert!(message.contains(part), "{message}");
        }
        assert!(Rules::parse("version = 2\n").err().unwrap().contains("version is 2"));
    }

    proptest! {
        #[test]
        fn any_text_is_rules_or_wrong(text in ".{0,200}") {
            let _ = Rules::parse(&text);
            let _ = Rules::parse(&format!("version = 1\n[[rule]]\nname = \"r\"\nowner = \"x\"\nwhen.identity = \"{text}\"\n"));
        }
    }
}
