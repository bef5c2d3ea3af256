//! Environment markers: the variables of a new program whose names, or names and values, are kept.

use std::collections::BTreeMap;

use agent_common::keys::{MARKER_NAME_ONLY, MARKER_PRELOAD, MARKER_WITH_VALUE, MarkerName};
use agent_common::limits::{MARKER_NAME_BYTES, MARKERS};
use serde::Deserialize;
use toml::Spanned;

use super::file::{CatalogueError, Problem, Source, check_version};
use super::rules::padded;

const SHIPPED: &str = include_str!("../../data/markers.toml");
/// Longest name: the kernel's copy of a longer variable must differ from it.
const NAME_BYTES: usize = MARKER_NAME_BYTES - 1;
/// Words in a name that speak of a secret: the value of such a variable is never kept.
const SECRET_WORDS: &[&str] = &["AUTH", "CREDENTIAL", "KEY", "PASS", "PRIVATE", "SECRET", "TOKEN"];

/// Why a marker is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkerProblem {
    /// Not a name of a variable, or too long.
    #[error(
        "not the name of a variable: use letters, digits and `_`, at most {NAME_BYTES} (and `_*` at its end)"
    )]
    Name,
    /// A star elsewhere than behind the first underscore.
    #[error(
        "the kernel's filter knows beginnings up to the first `_` alone: write `CODEX_*`, or the names one by one"
    )]
    Prefix,
    /// A value that must not be kept.
    #[error("its value could be a secret: leave out `value`")]
    SecretValue,
    /// There are too many.
    #[error("more than {MARKERS} markers: drop some")]
    TooMany,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    version: Spanned<u32>,
    marker: Vec<RawMarker>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMarker {
    name: Spanned<String>,
    #[serde(default)]
    value: bool,
    #[serde(default)]
    preload: bool,
    #[expect(dead_code, reason = "documents the entry in its file; each must have one")]
    comment: String,
}

/// The markers that ship with the agent, for the kernel's map.
pub fn shipped() -> Result<Vec<(MarkerName, u32)>, CatalogueError> {
    compile(&Source { file: "markers.toml (shipped)".into(), text: SHIPPED.into() })
}

/// Compiles a file of markers.
pub fn compile(source: &Source) -> Result<Vec<(MarkerName, u32)>, CatalogueError> {
    let raw: RawFile = toml::from_str(&source.text).map_err(|error| source.form_error(&error, "marker"))?;
    check_version(source, &raw.version)?;
    let mut markers = BTreeMap::new();
    for marker in &raw.marker {
        let name = marker.name.get_ref();
        let fail = |problem| source.error(Some(marker.name.span().start), Some(name), problem);
        let (key, flags) = rule(marker).map_err(|problem| fail(Problem::Marker(problem)))?;
        if markers.insert(key, flags).is_some() {
            return Err(fail(Problem::Duplicate));
        }
    }
    if markers.len() > MARKERS as usize {
        return Err(source.error(None, None, Problem::Marker(MarkerProblem::TooMany)));
    }
    Ok(markers.into_iter().map(|(name, flags)| (MarkerName(name), flags)).collect())
}

fn rule(marker: &RawMarker) -> Result<([u8; MARKER_NAME_BYTES], u32), MarkerProblem> {
    let text = marker.name.get_ref().as_str();
    let prefix = text.strip_suffix('*');
    let name = prefix.unwrap_or(text);
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if prefix.is_some() && name.find('_') != name.len().checked_sub(1) {
        return Err(MarkerProblem::Prefix);
    }
    // A name that ends in `_` would stand for all that begin so.
    if name.is_empty() || name.len() > NAME_BYTES || !is_plain || (prefix.is_none() && name.ends_with('_')) {
        return Err(MarkerProblem::Name);
    }
    let upper = name.to_ascii_uppercase();
    if marker.value && (prefix.is_some() || SECRET_WORDS.iter().any(|word| upper.contains(word))) {
        return Err(MarkerProblem::SecretValue);
    }
    let kept = if marker.value { MARKER_WITH_VALUE } else { MARKER_NAME_ONLY };
    Ok((padded(name.as_bytes()), kept | if marker.preload { MARKER_PRELOAD } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(markers: &str) -> Result<Vec<(String, u32)>, String> {
        let text = format!("version = 1\n{markers}");
        let list = compile(&Source { file: "m.toml".into(), text }).map_err(|error| error.to_string())?;
        let name = |name: MarkerName| String::from_utf8_lossy(&name.0).trim_end_matches('\0').to_owned();
        Ok(list.into_iter().map(|(marker, flags)| (name(marker), flags)).collect())
    }

    fn marker(name: &str, more: &str) -> String {
        format!("[[marker]]\nname = \"{name}\"\n{more}\ncomment = \"c\"\n")
    }

    #[test]
    fn the_shipped_markers() {
        let markers = compiled(&SHIPPED.replace("version = 1\n", "")).unwrap();
        let flags = |name: &str| markers.iter().find(|(found, _)| found == name).map(|(_, flags)| *flags);
        assert_eq!(flags("CLAUDECODE"), Some(MARKER_WITH_VALUE));
        assert_eq!(flags("CODEX_"), Some(MARKER_NAME_ONLY));
        assert_eq!(flags("SSH_CONNECTION"), Some(MARKER_WITH_VALUE));
        assert_eq!(flags("SSH_AUTH_SOCK"), Some(MARKER_NAME_ONLY));
        assert_eq!(flags("LD_PRELOAD"), Some(MARKER_NAME_ONLY | MARKER_PRELOAD));
        for name in [
            "CLAUDE_CODE_ENTRYPOINT",
            "GEMINI_CLI",
            "CURSOR_AGENT",
            "GITHUB_RUN_ID",
            "GITLAB_CI",
            "TRACEPARENT",
        ] {
            assert_eq!(flags(name), Some(MARKER_WITH_VALUE), "{name}");
        }
        for name in ["AIDER_", "COPILOT_", "OPENHANDS_", "JENKINS_URL", "CIRCLE_BUILD_URL"] {
            assert_eq!(flags(name), Some(MARKER_NAME_ONLY), "{name}");
        }
        assert_eq!(shipped().unwrap().len(), markers.len());
    }

    #[test]
    fn what_is_refused() {
        let refused = |name: &str, more: &str| compiled(&marker(name, more)).unwrap_err();
        for name in ["CLAUDE_CODE_*", "CODEX*"] {
            assert!(refused(name, "").contains("first `_`"), "{name}");
        }
        for name in ["", "*", "A-B", "A*B_*", "CODEX_", "AVERYLONGNAMEOFMORETHANTHIRTYONEB"] {
            assert!(refused(name, "").contains("not the name of a variable"), "{name}");
        }
        for name in ["GITHUB_TOKEN", "my_key", "CODEX_*", "PGPASSWORD"] {
            assert!(refused(name, "value = true").contains("secret"), "{name}");
        }
        assert!(refused("A", "valeu = true").contains("m.toml:4: entry `A`: unknown field `valeu`"));
        assert!(compiled(&(marker("A", "") + &marker("A", ""))).unwrap_err().contains("twice"));
        let many: String = (0..=MARKERS).map(|number| marker(&format!("M{number}"), "")).collect();
        assert!(compiled(&many).unwrap_err().contains("more than 256"));
    }
}
