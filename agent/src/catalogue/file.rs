//! A catalogue file: TOML → checked entries. Unknown keys are errors.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::pattern::{Pattern, PatternError};
use super::readers::{ReaderError, Readers};
use super::rules::RuleError;

/// Version of the file's format.
const VERSION: u32 = 1;

/// Something wrong with a catalogue: where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}{}: {problem}", line.map(|line| format!(":{line}")).unwrap_or_default(),
    entry.as_ref().map(|entry| format!(": entry `{entry}`")).unwrap_or_default())]
pub struct CatalogueError {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Name of the entry.
    pub entry: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a catalogue.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read it: {0}; mend its permissions or leave it out")]
    Read(std::io::Error),
    /// The file is too large.
    #[error("larger than {0} bytes: split it")]
    TooLarge(u64),
    /// Not TOML, or not of the catalogue's form.
    #[error("{0}; the form is that of the shipped catalogue")]
    Form(String),
    /// Another version.
    #[error("version {0}: this agent reads version {VERSION}")]
    Version(u32),
    /// Not a name.
    #[error("`{0}` is not a name: use lower-case letters, digits and `-`, at most 64")]
    Name(String),
    /// The name is taken.
    #[error("the name is used twice in this file: rename one of them")]
    Duplicate,
    /// Out of range.
    #[error("sensitivity {0}: use 1 (little) to 5 (the host or the organisation)")]
    Sensitivity(u8),
    /// Not a technique.
    #[error("`{0}` is not an ATT&CK technique: write it as T1552 or T1552.001")]
    Technique(String),
    /// Nothing to look for.
    #[error("no paths: name some, or remove the entry")]
    NoPaths,
    /// Not a pattern.
    #[error("path `{path}`: {source}")]
    Pattern {
        /// The path.
        path: String,
        /// Why.
        source: PatternError,
    },
    /// Not for the kernel's filter.
    #[error("path `{path}`: {source}")]
    Rule {
        /// The path.
        path: String,
        /// Why.
        source: RuleError,
    },
    /// Not for the kernel's filter of sockets.
    #[error("socket `{path}`: {source}")]
    SocketRule {
        /// The socket.
        path: String,
        /// Why.
        source: super::sockets::SocketRuleError,
    },
    /// Not a program that can be expected.
    #[error("expected reader `{reader}`: {source}")]
    Reader {
        /// As written.
        reader: String,
        /// Why.
        source: ReaderError,
    },
    /// All entries together are too much.
    #[error("{0}")]
    Together(RuleError),
    /// `disable` names no entry.
    #[error("disable: there is no entry `{0}`")]
    Disable(String),
    /// Not an environment marker.
    #[error("{0}")]
    Marker(super::markers::MarkerProblem),
    /// Not an agent's signature.
    #[error("{0}")]
    Agent(super::agents::AgentProblem),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    version: Spanned<u32>,
    #[serde(default)]
    disable: Vec<Spanned<String>>,
    #[serde(default)]
    credential: Vec<RawEntry>,
    #[serde(default)]
    socket: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: Spanned<String>,
    kind: Spanned<String>,
    sensitivity: Spanned<u8>,
    paths: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    #[serde(default)]
    attack: Vec<Spanned<String>>,
    #[serde(default)]
    expected_readers: Vec<Spanned<String>>,
    comment: String,
}

/// A text with the name that errors call it by.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path, or what stands for it.
    pub file: String,
    /// TOML.
    pub text: String,
}

/// A checked entry, before it is compiled with all others.
#[derive(Clone, Debug)]
pub struct ParsedEntry {
    /// Its name.
    pub name: String,
    /// Whether its paths are those of unix sockets. One of the abstract namespace is written `@name`, and kept as the
    /// path `/@name`.
    pub socket: bool,
    /// Line of its name.
    pub line: usize,
    /// Its kind.
    pub kind: String,
    /// 1 to 5.
    pub sensitivity: u8,
    /// Each path as written, its line, and its alternatives.
    pub paths: Vec<(String, usize, Vec<Pattern>)>,
    /// Patterns of what is none.
    pub exclude: Vec<Pattern>,
    /// ATT&CK techniques.
    pub attack: Vec<String>,
    /// Programs for which it is made.
    pub readers: Readers,
    /// What it is, and how it is stolen.
    pub comment: String,
}

/// A checked file.
#[derive(Clone, Debug)]
pub struct ParsedFile {
    /// Entries in their order.
    pub entries: Vec<ParsedEntry>,
    /// Names of entries of earlier files that are not wanted, with their lines.
    pub disable: Vec<(String, usize)>,
}

impl Source {
    /// Line, from 1, of a byte.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
    }

    pub(super) fn error(&self, at: Option<usize>, entry: Option<&str>, problem: Problem) -> CatalogueError {
        CatalogueError {
            file: self.file.clone(),
            line: at.map(|at| self.line(at)),
            entry: entry.map(str::to_owned),
            problem,
        }
    }

    /// An error of the TOML reader, with the entry in which it is.
    pub(super) fn form_error(&self, error: &toml::de::Error, table: &str) -> CatalogueError {
        let at = error.span().map(|span| span.start);
        let entry = at.and_then(|at| self.entry_at(at, table));
        self.error(at, entry.as_deref(), Problem::Form(error.message().to_owned()))
    }

    /// Name of the entry (a `[[table]]`) that a byte is in, as far as the text shows it.
    fn entry_at(&self, at: usize, table: &str) -> Option<String> {
        let header = format!("[[{table}]]");
        let start = self
            .text
            .get(..at)?
            .rfind(&header)
            .or_else(|| self.text.get(at..)?.starts_with(&header).then_some(at))?;
        let body = self.text.get(start + header.len()..)?;
        let body = body.get(..body.find(&header).unwrap_or(body.len()))?;
        let value =
            body.lines().find_map(|line| line.trim().strip_prefix("name")?.trim().strip_prefix('='))?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    }

    /// Reads the text.
    pub fn parse(&self) -> Result<ParsedFile, CatalogueError> {
        let raw: RawFile =
            toml::from_str(&self.text).map_err(|error| self.form_error(&error, "credential"))?;
        check_version(self, &raw.version)?;
        let mut names = BTreeSet::new();
        let mut entries = Vec::new();
        let credentials = raw.credential.into_iter().map(|entry| (entry, false));
        for (entry, socket) in credentials.chain(raw.socket.into_iter().map(|entry| (entry, true))) {
            let (at, name) = (entry.name.span().start, entry.name.get_ref().clone());
            if !names.insert(name.clone()) {
                return Err(self.error(Some(at), Some(&name), Problem::Duplicate));
            }
            entries.push(self.entry(entry, socket)?);
        }
        let disable = raw
            .disable
            .into_iter()
            .map(|name| (self.line(name.span().start), name.into_inner()))
            .map(|(line, name)| (name, line));
        Ok(ParsedFile { entries, disable: disable.collect() })
    }

    fn entry(&self, raw: RawEntry, socket: bool) -> Result<ParsedEntry, CatalogueError> {
        let line = self.line(raw.name.span().start);
        let name = raw.name.get_ref().as_str();
        let error = |at: usize, problem: Problem| self.error(Some(at), Some(name), problem);
        let fail = |at: usize, problem: Problem| Err(error(at, problem));
        for text in [&raw.name, &raw.kind] {
            if !is_name(text.get_ref()) {
                return fail(text.span().start, Problem::Name(text.get_ref().clone()));
            }
        }
        let sensitivity = *raw.sensitivity.get_ref();
        if !(1..=5).contains(&sensitivity) {
            return fail(raw.sensitivity.span().start, Problem::Sensitivity(sensitivity));
        }
        if let Some(wrong) = raw.attack.iter().find(|technique| !is_technique(technique.get_ref())) {
            return fail(wrong.span().start, Problem::Technique(wrong.get_ref().clone()));
        }
        if raw.paths.get_ref().is_empty() {
            return fail(raw.paths.span().start, Problem::NoPaths);
        }
        let parse = |path: &Spanned<String>| {
            let text = path.get_ref();
            let is_abstract = socket && text.starts_with('@');
            let pattern =
                if is_abstract { Pattern::parse(&format!("/{text}")) } else { Pattern::parse(text) };
            pattern.map_err(|source| {
                let problem = Problem::Pattern { path: text.clone(), source };
                self.error(Some(path.span().start), Some(name), problem)
            })
        };
        let mut paths = Vec::new();
        for path in raw.paths.get_ref() {
            paths.push((path.get_ref().clone(), self.line(path.span().start), parse(path)?));
        }
        let mut exclude = Vec::new();
        for path in &raw.exclude {
            exclude.extend(parse(path)?);
        }
        let readers = Readers::new(raw.expected_readers.iter().map(|reader| reader.get_ref().as_str()));
        let readers = readers.map_err(|(reader, source)| {
            let at = raw.expected_readers.iter().find(|text| *text.get_ref() == reader);
            let at = at.map_or(raw.name.span().start, |text| text.span().start);
            error(at, Problem::Reader { reader, source })
        })?;
        Ok(ParsedEntry {
            socket,
            line,
            kind: raw.kind.into_inner(),
            sensitivity,
            paths,
            exclude,
            attack: raw.attack.into_iter().map(Spanned::into_inner).collect(),
            readers,
            comment: raw.comment,
            name: raw.name.into_inner(),
        })
    }
}

pub(super) fn check_version(source: &Source, version: &Spanned<u32>) -> Result<(), CatalogueError> {
    let number = *version.get_ref();
    if number == VERSION {
        return Ok(());
    }
    Err(source.error(Some(version.span().start), None, Problem::Version(number)))
}

/// Reads a file into a source; larger than `limit` bytes it is refused.
pub(super) fn read(path: PathBuf, limit: u64) -> Result<Source, CatalogueError> {
    let file = path.display().to_string();
    let fail = |problem| CatalogueError { file: file.clone(), line: None, entry: None, problem };
    let length = std::fs::metadata(&path).map_err(|error| fail(Problem::Read(error)))?.len();
    if length > limit {
        return Err(fail(Problem::TooLarge(limit)));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| fail(Problem::Read(error)))?;
    Ok(Source { file, text })
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// `T1234` or `T1234.567`.
fn is_technique(text: &str) -> bool {
    let Some((technique, sub)) =
        text.strip_prefix('T').map(|rest| rest.split_once('.').unwrap_or((rest, "000")))
    else {
        return false;
    };
    let digits =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(technique, 4) && digits(sub, 3)
}
