//! The catalogue: which files are credentials, and which environment variables tell who started a process.
//!
//! It is data: `agent/data/credentials.toml` and `markers.toml` are compiled in; operators add files of the same form.
//! From one catalogue come the rules of the kernel's filter ([`rules`]), the matcher of whole paths ([`matcher`]) and
//! the list of files known by (device, inode) ([`enumerate`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_common::keys::{InodeKey, RuleName};
use globset::GlobSet;
use sha2::{Digest, Sha256};

pub mod agents;
pub mod enumerate;
pub mod file;
pub mod markers;
pub mod matcher;
pub mod mounts;
pub mod pattern;
pub mod readers;
pub mod rules;
pub mod sockets;

use crate::model::act::{FileOpen, UnixConnect};
use crate::model::bytes::RawBytes;
use crate::model::process::FileRef;
use enumerate::KnownFiles;
use file::{CatalogueError, ParsedEntry, Problem, Source};
use matcher::{Matcher, exclusion};
use pattern::Pattern;
use readers::Readers;
use rules::{KernelRules, RulesBuilder};
use sockets::SocketRules;

/// Where operators put files that are read at every start.
pub const OPERATOR_DIRECTORY: &str = "/etc/telltale/credentials.d";
/// Bytes of one catalogue file.
const MAX_FILE_BYTES: u64 = 1 << 20;
const SHIPPED: &str = include_str!("../../data/credentials.toml");

/// One kind of credential.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, unique in the catalogue.
    pub name: Arc<str>,
    /// What it belongs to: `ssh`, `cloud`, `kubernetes`.
    pub kind: Arc<str>,
    /// How bad its loss would be, 1 to 5.
    pub sensitivity: u8,
    /// ATT&CK techniques of its theft.
    pub attack: Vec<Arc<str>>,
    /// Programs for which it is made: what they read of it is told once, then counted.
    pub readers: Readers,
    /// What it is, and how it is stolen.
    pub comment: Arc<str>,
    exclude: GlobSet,
}

/// All entries, compiled.
#[derive(Debug)]
pub struct Catalogue {
    entries: Vec<(Arc<Entry>, Vec<Pattern>)>,
    rules: KernelRules,
    matcher: Matcher,
    socket_names: Vec<(RuleName, u32)>,
    sockets: Matcher,
    digest: String,
}

impl Catalogue {
    /// The catalogue that ships with the agent.
    pub fn shipped() -> Result<Self, CatalogueError> {
        Self::from_sources(&[shipped()])
    }

    /// The shipped catalogue, then every `*.toml` of `directory` by name (it may be absent), then `files`. An entry
    /// takes the place of an earlier file's entry of that name; `disable = ["name"]` removes one.
    pub fn load(directory: &Path, files: &[PathBuf]) -> Result<Self, CatalogueError> {
        let mut paths = files_of(directory)?;
        paths.extend_from_slice(files);
        let mut sources = vec![shipped()];
        for path in paths {
            sources.push(file::read(path, MAX_FILE_BYTES)?);
        }
        Self::from_sources(&sources)
    }

    /// Compiles texts, in order.
    pub fn from_sources(sources: &[Source]) -> Result<Self, CatalogueError> {
        let mut digest = Sha256::new();
        let mut parsed: Vec<(&Source, ParsedEntry)> = Vec::new();
        for source in sources {
            let file = source.parse()?;
            digest.update((source.text.len() as u64).to_le_bytes());
            digest.update(&source.text);
            for (name, line) in file.disable {
                let before = parsed.len();
                parsed.retain(|(_, entry)| entry.name != name);
                if parsed.len() == before {
                    let problem = Problem::Disable(name);
                    return Err(CatalogueError { line: Some(line), ..source.error(None, None, problem) });
                }
            }
            for entry in file.entries {
                parsed.retain(|(_, earlier)| earlier.name != entry.name);
                parsed.push((source, entry));
            }
        }
        Self::compile(parsed, format!("{:x}", digest.finalize()))
    }

    fn compile(parsed: Vec<(&Source, ParsedEntry)>, digest: String) -> Result<Self, CatalogueError> {
        let mut rules = RulesBuilder::default();
        let mut socket_rules = SocketRules::default();
        let mut entries = Vec::new();
        let mut sockets = Vec::new();
        for (source, entry) in parsed {
            let fail = |line, problem| CatalogueError {
                line: Some(line),
                ..source.error(None, Some(&entry.name), problem)
            };
            let mut patterns = Vec::new();
            for (path, line, alternatives) in &entry.paths {
                for pattern in alternatives {
                    if !entry.socket {
                        rules
                            .add(pattern)
                            .map_err(|source| fail(*line, Problem::Rule { path: path.clone(), source }))?;
                    } else if !path.starts_with('@') {
                        socket_rules.add(pattern).map_err(|source| {
                            fail(*line, Problem::SocketRule { path: path.clone(), source })
                        })?;
                    }
                    patterns.push(pattern.clone());
                }
            }
            let exclude = exclusion(&entry.exclude)
                .map_err(|error| fail(entry.line, Problem::Form(error.to_string())))?;
            let shared = |texts: Vec<String>| texts.into_iter().map(Arc::from).collect();
            let compiled = Entry {
                name: entry.name.into(),
                kind: entry.kind.into(),
                sensitivity: entry.sensitivity,
                attack: shared(entry.attack),
                readers: entry.readers,
                comment: entry.comment.into(),
                exclude,
            };
            let kept = if entry.socket { &mut sockets } else { &mut entries };
            kept.push((Arc::new(compiled), patterns));
        }
        let together =
            |problem| CatalogueError { file: "catalogue".into(), line: None, entry: None, problem };
        let rules = rules.build().map_err(|error| together(Problem::Together(error)))?;
        let matcher = |entries: &[(Arc<Entry>, Vec<Pattern>)]| {
            Matcher::new(entries.iter().map(|(entry, patterns)| (entry, patterns.as_slice())))
                .map_err(|error| together(Problem::Form(error.to_string())))
        };
        let (matcher, sockets) = (matcher(&entries)?, matcher(&sockets)?);
        Ok(Self { entries, rules, matcher, socket_names: socket_rules.names(), sockets, digest })
    }

    /// The entry for a path: see [`Matcher::find`].
    pub fn find(&self, path: &[u8]) -> Option<&Arc<Entry>> {
        self.matcher.find(path)
    }

    /// Which credential was opened, and whether its `path` or its `inode` told so. Where both do, the worse of the two
    /// entries counts: a private key that was linked to an innocent name stays one.
    pub fn recognise<'a>(
        &'a self,
        known: &'a KnownFiles,
        open: &FileOpen,
    ) -> Option<(&'a Arc<Entry>, &'static str)> {
        self.recognise_file(known, Some(&open.file).filter(|_| open.known_inode), &open.path)
    }

    /// As [`Self::recognise`]: by the file, where it may be a known one, and by its path.
    pub fn recognise_file<'a>(
        &'a self,
        known: &'a KnownFiles,
        file: Option<&FileRef>,
        path: &RawBytes,
    ) -> Option<(&'a Arc<Entry>, &'static str)> {
        let key = |file: &FileRef| InodeKey { inode: file.inode, device: file.device, reserved: 0 };
        let by_inode = file.and_then(|file| known.find(&key(file)));
        let by_path = self.find(path.as_bytes());
        match (by_path, by_inode) {
            (Some(path), Some(inode)) if inode.sensitivity > path.sensitivity => Some((inode, "inode")),
            (Some(path), _) => Some((path, "path")),
            (None, Some(inode)) => Some((inode, "inode")),
            (None, None) => None,
        }
    }

    /// The entry for a unix socket, by the path that it is bound to; by its name for one of the abstract namespace.
    pub fn find_socket(&self, socket: &UnixConnect) -> Option<&Arc<Entry>> {
        if socket.is_abstract {
            return self.sockets.find(&[b"/@", socket.name.as_bytes()].concat());
        }
        self.sockets.find(socket.name.as_bytes())
    }

    /// What the kernel's filter is told of sockets.
    pub fn socket_names(&self) -> &[(RuleName, u32)] {
        &self.socket_names
    }

    /// What the kernel's filter is told.
    pub const fn rules(&self) -> &KernelRules {
        &self.rules
    }

    /// All entries with their patterns, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<Entry>, &[Pattern])> {
        self.entries.iter().map(|(entry, patterns)| (entry, patterns.as_slice()))
    }

    /// SHA-256, in hex, of all texts that it was made of: tells one catalogue from another.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn shipped() -> Source {
    Source { file: "credentials.toml (shipped)".into(), text: SHIPPED.into() }
}

/// The `*.toml` files of a directory, by name; none where there is no such directory.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let fail = |error| CatalogueError {
        file: directory.display().to_string(),
        line: None,
        entry: None,
        problem: Problem::Read(error),
    };
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut files = Vec::new();
    for item in listing {
        let path = item.map_err(fail)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
