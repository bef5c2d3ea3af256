//! AI agents and MCP servers, by what they run: the signatures of `agents.toml`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::file::{CatalogueError, Problem, Source, check_version};
use crate::model::bytes::RawBytes;
use crate::model::process::ExecImage;
use crate::process::program::{Program, ScriptEntry};

const SHIPPED: &str = include_str!("../../data/agents.toml");
/// Agents of one file.
const AGENTS: usize = 256;
/// Globs of one list.
const GLOBS: usize = 64;
/// Bytes of the name of an MCP server that are kept: npm allows 214.
const SERVER_BYTES: usize = 214;

/// Why a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentProblem {
    /// Not a glob, or one that says too little.
    #[error("`{glob}`: {why}")]
    Glob {
        /// As written.
        glob: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing to know it by.
    #[error("neither entry_points nor modules: there is nothing to know it by")]
    NoEvidence,
    /// There are too many.
    #[error("more than {AGENTS} agents, or more than {GLOBS} globs in one list: drop some")]
    TooMany,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    version: Spanned<u32>,
    agent: Vec<RawAgent>,
    mcp: RawMcp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAgent {
    product: Spanned<String>,
    #[expect(dead_code, reason = "documents the entry in its file; each must have one")]
    comment: String,
    #[serde(default)]
    entry_points: Vec<String>,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    bypass: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMcp {
    packages: Vec<String>,
    programs: Vec<String>,
    modules: Vec<String>,
}

/// One agent.
#[derive(Debug)]
pub struct Agent {
    /// Its name in identities.
    pub product: Arc<str>,
    entry_points: GlobSet,
    modules: GlobSet,
    bypass: Vec<Arc<str>>,
}

/// All signatures.
#[derive(Debug)]
pub struct AgentCatalogue {
    agents: Vec<Agent>,
    packages: GlobSet,
    programs: GlobSet,
    modules: GlobSet,
}

impl AgentCatalogue {
    /// Those that ship with the agent.
    ///
    /// # Errors
    /// None: a test compiles them.
    pub fn shipped() -> Result<Self, CatalogueError> {
        Self::compile(&Source { file: "agents.toml (shipped)".into(), text: SHIPPED.into() })
    }

    /// Compiles a file of signatures.
    ///
    /// # Errors
    /// Where it is not of that form; the error says where.
    pub fn compile(source: &Source) -> Result<Self, CatalogueError> {
        let raw: RawFile =
            toml::from_str(&source.text).map_err(|error| source.form_error(&error, "agent"))?;
        check_version(source, &raw.version)?;
        let mut agents: Vec<Agent> = Vec::new();
        for agent in raw.agent {
            let name = agent.product.get_ref().clone();
            let at = agent.product.span().start;
            let fail = |problem| source.error(Some(at), Some(&name), problem);
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(fail(Problem::Name(name.clone())));
            }
            if agents.iter().any(|known| *known.product == *name) {
                return Err(fail(Problem::Duplicate));
            }
            if agents.len() >= AGENTS {
                return Err(fail(Problem::Agent(AgentProblem::TooMany)));
            }
            agents.push(compile_agent(agent).map_err(|problem| fail(Problem::Agent(problem)))?);
        }
        let mcp = |problem| source.error(None, Some("mcp"), Problem::Agent(problem));
        Ok(Self {
            agents,
            packages: globs(&raw.mcp.packages, false).map_err(mcp)?,
            programs: globs(&raw.mcp.programs, false).map_err(mcp)?,
            modules: globs(&raw.mcp.modules, false).map_err(mcp)?,
        })
    }

    /// The agent that a program is.
    pub fn agent(&self, image: &ExecImage, program: &Program) -> Option<&Agent> {
        self.agents.iter().find(|agent| match program {
            Program::Executable => agent.entry_points.is_match(path(&image.exe)),
            Program::Script(script) => agent.entry_points.is_match(path(script)),
            Program::Known { script, entry } => {
                agent.entry_points.is_match(path(script))
                    || match entry {
                        ScriptEntry::Module(name) => agent.runs_by(name),
                        ScriptEntry::Packaged(file) => agent.entry_points.is_match(path(file)),
                    }
            }
            Program::Module(name) => agent.modules.is_match(path(name)),
            Program::Inline => false,
        })
    }

    /// The agent of this name.
    pub fn of_product(&self, product: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| *agent.product == *product)
    }

    /// The name of the MCP server that a program is: its package where it lies in one, or else its own.
    pub fn mcp_server(&self, image: &ExecImage, program: &Program) -> Option<Arc<str>> {
        match program {
            Program::Executable => self.mcp_file(&image.exe),
            Program::Script(script) => self.mcp_file(script),
            Program::Known { script, entry } => self.mcp_file(script).or_else(|| match entry {
                ScriptEntry::Module(module) => self.mcp_module(module),
                ScriptEntry::Packaged(file) => self.mcp_file(file),
            }),
            Program::Module(module) => self.mcp_module(module),
            Program::Inline => None,
        }
    }

    fn mcp_module(&self, module: &RawBytes) -> Option<Arc<str>> {
        let top = top(module);
        // As PyPI writes names (PEP 503), so that it is one server by either way of starting it.
        self.modules
            .is_match(OsStr::from_bytes(top))
            .then(|| name(top).map(|name| name.to_lowercase().replace('_', "-").into()))?
    }

    fn mcp_file(&self, file: &RawBytes) -> Option<Arc<str>> {
        let package = package_of(file.as_bytes()).and_then(name);
        if let Some(package) = package.filter(|package| self.packages.is_match(package)) {
            return Some(package.into());
        }
        let own = file.file_name();
        let own = own.strip_suffix(b".js").or_else(|| own.strip_suffix(b".py")).unwrap_or(own);
        let own = name(own)?;
        self.programs.is_match(own).then(|| own.into())
    }
}

impl Agent {
    /// Whether a module that a script of its runs is the agent's: `aider.main` is of `aider`.
    fn runs_by(&self, module: &RawBytes) -> bool {
        self.modules.is_match(path(module)) || self.modules.is_match(OsStr::from_bytes(top(module)))
    }

    /// Which of its arguments say that it no longer asks.
    pub fn bypass(&self, argv: &[RawBytes]) -> Vec<Arc<str>> {
        let is_given = |option: &&Arc<str>| match option.split_once(' ') {
            None => argv.iter().any(|argument| argument.as_bytes() == option.as_bytes()),
            Some((option, value)) => {
                argv.iter().zip(argv.iter().skip(1).map(Some).chain([None])).any(|(one, next)| {
                    let joined = one
                        .as_bytes()
                        .strip_prefix(option.as_bytes())
                        .and_then(|rest| rest.strip_prefix(b"="));
                    let apart =
                        (one.as_bytes() == option.as_bytes()).then(|| next.map(RawBytes::as_bytes)).flatten();
                    joined.or(apart) == Some(value.as_bytes())
                })
            }
        };
        self.bypass.iter().filter(is_given).cloned().collect()
    }
}

fn compile_agent(raw: RawAgent) -> Result<Agent, AgentProblem> {
    let RawAgent { product, comment: _, entry_points, modules, bypass } = raw;
    if entry_points.is_empty() && modules.is_empty() {
        return Err(AgentProblem::NoEvidence);
    }
    if bypass.len() > GLOBS {
        return Err(AgentProblem::TooMany);
    }
    Ok(Agent {
        product: product.into_inner().into(),
        entry_points: globs(&entry_points, true)?,
        modules: globs(&modules, false)?,
        bypass: bypass.into_iter().map(Into::into).collect(),
    })
}

/// `paths`: of whole paths, which must name a directory: `**/claude` would take anybody's word for it.
fn globs(list: &[String], paths: bool) -> Result<GlobSet, AgentProblem> {
    if list.len() > GLOBS {
        return Err(AgentProblem::TooMany);
    }
    let mut set = GlobSetBuilder::new();
    for glob in list {
        let fail = |why: &str| AgentProblem::Glob { glob: glob.clone(), why: why.to_owned() };
        let named =
            glob.split('/').filter(|part| !part.is_empty() && !part.bytes().all(|byte| byte == b'*')).count();
        if paths && (named < 2 || !(glob.starts_with('/') || glob.starts_with("**/"))) {
            return Err(fail("begin it with `/` or `**/`, and name a directory above the program"));
        }
        if named == 0 {
            return Err(fail("it would match everything"));
        }
        let built = GlobBuilder::new(glob).literal_separator(paths).build();
        set.add(built.map_err(|error| fail(&error.kind().to_string()))?);
    }
    set.build().map_err(|error| AgentProblem::Glob { glob: list.join(" "), why: error.to_string() })
}

/// The package that a module is of.
fn top(module: &RawBytes) -> &[u8] {
    module.as_bytes().split(|&byte| byte == b'.').next().unwrap_or_default()
}

/// `name` or `@scope/name`: the innermost npm package that a path lies in. `.bin` holds links of all of them.
fn package_of(path: &[u8]) -> Option<&[u8]> {
    const MODULES: &[u8] = b"/node_modules/";
    let at = path.windows(MODULES.len()).rposition(|window| window == MODULES)? + MODULES.len();
    let rest = path.get(at..)?;
    let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let end = if rest.starts_with(b"@") { ends.nth(1)? } else { ends.next()? };
    rest.get(..end).filter(|package| !package.starts_with(b"."))
}

fn name(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|name| !name.is_empty() && name.len() <= SERVER_BYTES)
}

fn path(bytes: &RawBytes) -> &Path {
    Path::new(OsStr::from_bytes(bytes.as_bytes()))
}

#[cfg(test)]
#[path = "agents_tests.rs"]
mod tests;
