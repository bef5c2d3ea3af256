//! Path patterns of the catalogue: where they begin, and their components.
//!
//! The glob syntax is that of `globset` on each component; only braces are expanded here, because the kernel's filter
//! needs each alternative by itself (`globset` keeps its expansion to itself; crates that expand braces for shells,
//! such as `bracoxide`, also expand number ranges and drop empty alternatives).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

/// Alternatives that the braces of one path may make.
const MAX_ALTERNATIVES: usize = 64;
/// Bytes of a pattern.
const MAX_PATTERN: usize = 4_096;

/// Where a pattern begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anchor {
    /// `**/x`: anywhere.
    Anywhere,
    /// `~/x`: in every home. In the mount namespaces of others homes cannot be known: any directory counts as one.
    Home,
    /// `/x`: the root of the process.
    Root,
}

/// One component of a pattern.
#[derive(Clone, Debug)]
pub enum Component {
    /// Text.
    Literal(String),
    /// A glob within a component.
    Wild {
        /// The glob.
        glob: String,
        /// Compiled.
        matcher: GlobMatcher,
    },
    /// `**`: any number of components.
    Deep,
}

/// A pattern without braces.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Where it begins.
    pub anchor: Anchor,
    /// Its components; never empty.
    pub components: Vec<Component>,
}

/// Why a path of the catalogue is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It begins with none of the three anchors.
    #[error("begin it with `/` (root), `~/` (every home) or `**/` (anywhere)")]
    Anchor,
    /// `//`, a `/` at the end, `.` or `..`.
    #[error(
        "write it without `//`, `.`, `..` and without `/` at its end: paths are compared after resolution"
    )]
    Component,
    /// A backslash or a NUL.
    #[error("leave out backslashes and NUL: nothing is escaped in a pattern")]
    Character,
    /// Braces within braces, or without their other half.
    #[error("braces cannot be nested and need both halves: write the alternatives as paths of their own")]
    Braces,
    /// `a**`.
    #[error("`**` stands for whole components: put it between slashes")]
    Deep,
    /// Too many alternatives.
    #[error("its braces make more than {MAX_ALTERNATIVES} alternatives: write several paths")]
    Alternatives,
    /// Too long.
    #[error("it is longer than {MAX_PATTERN} bytes")]
    Length,
    /// Not a glob.
    #[error("not a glob: {0}")]
    Glob(String),
}

impl Pattern {
    /// Parses a path of the catalogue; each alternative of its braces is a pattern of its own.
    pub fn parse(text: &str) -> Result<Vec<Self>, PatternError> {
        if text.len() > MAX_PATTERN {
            return Err(PatternError::Length);
        }
        if text.contains(['\\', '\0']) {
            return Err(PatternError::Character);
        }
        let mut done = Vec::new();
        let mut open = vec![text.to_owned()];
        while let Some(text) = open.pop() {
            match expand_first(&text)? {
                Some(alternatives) => open.extend(alternatives),
                None => done.push(text),
            }
            if open.len() + done.len() > MAX_ALTERNATIVES {
                return Err(PatternError::Alternatives);
            }
        }
        done.iter().rev().map(|text| Self::without_braces(text)).collect()
    }

    fn without_braces(text: &str) -> Result<Self, PatternError> {
        let (anchor, rest) = [("/", Anchor::Root), ("~/", Anchor::Home), ("**/", Anchor::Anywhere)]
            .into_iter()
            .find_map(|(prefix, anchor)| text.strip_prefix(prefix).map(|rest| (anchor, rest)))
            .ok_or(PatternError::Anchor)?;
        let components = rest.split('/').map(component).collect::<Result<_, _>>()?;
        Ok(Self { anchor, components })
    }

    /// The glob that whole paths are matched against.
    pub fn glob(&self) -> String {
        let prefix = if self.anchor == Anchor::Root { "/" } else { "**/" };
        let parts: Vec<&str> = self.components.iter().map(Component::text).collect();
        format!("{prefix}{}", parts.join("/"))
    }

    /// How specific it is: where it begins, then how many of its bytes are literal, then how few components are `**`.
    pub fn specificity(&self) -> (Anchor, usize, std::cmp::Reverse<usize>) {
        let literal = |component: &Component| match component {
            Component::Literal(text) => text.len(),
            Component::Wild { glob, .. } => glob.chars().filter(|&c| !is_wild(c)).count(),
            Component::Deep => 0,
        };
        let deep = self.components.iter().filter(|component| matches!(component, Component::Deep)).count();
        (self.anchor, self.components.iter().map(literal).sum(), std::cmp::Reverse(deep))
    }
}

impl Component {
    fn text(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Wild { glob, .. } => glob,
            Self::Deep => "**",
        }
    }

    /// The text of a literal component.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Wild { .. } | Self::Deep => None,
        }
    }
}

/// Compiles a glob as all of the catalogue's are: case matters, `*` stays within a component, nothing is escaped.
pub(super) fn compile(glob: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(glob).case_insensitive(false).literal_separator(true).backslash_escape(false).build()
}

/// A path for `globset`, which takes bytes as the system has them.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

const fn is_wild(character: char) -> bool {
    matches!(character, '*' | '?' | '[')
}

fn component(text: &str) -> Result<Component, PatternError> {
    match text {
        "" | "." | ".." => Err(PatternError::Component),
        "**" => Ok(Component::Deep),
        _ if text.contains("**") => Err(PatternError::Deep),
        _ if text.contains(is_wild) => {
            let glob = compile(text).map_err(|error| PatternError::Glob(error.kind().to_string()))?;
            Ok(Component::Wild { glob: text.to_owned(), matcher: glob.compile_matcher() })
        }
        _ => Ok(Component::Literal(text.to_owned())),
    }
}

/// Replaces the first pair of braces by its alternatives, last first; `None` where there are no braces.
fn expand_first(text: &str) -> Result<Option<Vec<String>>, PatternError> {
    let Some(at) = text.find(['{', '}']) else { return Ok(None) };
    let (before, rest) = text.split_at(at);
    let inner = rest.strip_prefix('{').ok_or(PatternError::Braces)?;
    let (inner, after) = inner.split_once('}').ok_or(PatternError::Braces)?;
    if inner.contains('{') {
        return Err(PatternError::Braces);
    }
    Ok(Some(inner.split(',').map(|choice| format!("{before}{choice}{after}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(text: &str) -> Result<Vec<String>, PatternError> {
        Ok(Pattern::parse(text)?.iter().map(Pattern::glob).collect())
    }

    #[test]
    fn anchors_and_braces() {
        assert_eq!(globs("/etc/shadow").unwrap(), ["/etc/shadow"]);
        assert_eq!(globs("~/.ssh/id_*").unwrap(), ["**/.ssh/id_*"]);
        assert_eq!(globs("**/*.pem").unwrap(), ["**/*.pem"]);
        assert_eq!(globs("/{var/,}run/{a,b}").unwrap(), ["/var/run/a", "/var/run/b", "/run/a", "/run/b"]);
        assert_eq!(globs("**/.env{,.local}").unwrap(), ["**/.env", "**/.env.local"]);
    }

    #[test]
    fn what_is_no_pattern() {
        let cases = [
            (".ssh/id_rsa", PatternError::Anchor),
            ("~alice/x", PatternError::Anchor),
            ("/", PatternError::Component),
            ("/etc//shadow", PatternError::Component),
            ("/etc/../shadow", PatternError::Component),
            ("~/.ssh/", PatternError::Component),
            ("/a\\*b", PatternError::Character),
            ("/{a,{b,c}}", PatternError::Braces),
            ("/{a", PatternError::Braces),
            ("/a}", PatternError::Braces),
            ("/a**/b", PatternError::Deep),
            ("/{a,b,c}{a,b,c}{a,b,c}{a,b,c}", PatternError::Alternatives),
        ];
        for (text, error) in cases {
            assert_eq!(globs(text).unwrap_err(), error, "{text}");
        }
        assert!(matches!(globs("/a[b"), Err(PatternError::Glob(_))));
        assert_eq!(globs(&"/x".repeat(3_000)).unwrap_err(), PatternError::Length);
    }

    #[test]
    fn specificity_orders_patterns() {
        let of = |text: &str| Pattern::parse(text).unwrap()[0].specificity();
        let rising = [
            "**/*.pem",
            "**/privkey.pem",
            "~/.ssh/*.pem",
            "~/.ssh/id_*.pem",
            "/etc/**/x",
            "/etc/*/x",
            "/etc/a/x",
        ];
        for pair in rising.windows(2) {
            assert!(of(pair[0]) < of(pair[1]), "{pair:?}");
        }
    }
}
