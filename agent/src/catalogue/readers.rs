//! Expected readers of a credential: the programs that it is made for, by where root of the host has them installed.
//!
//! That a path is one of them is half of it: whether the file there is root's, and whether it is what the process runs,
//! is asked of the host ([`crate::host::installed`]).

use globset::{Candidate, GlobSet};

use super::matcher::exclusion;
use super::pattern::{Anchor, Pattern, PatternError, as_path};

/// Readers of one entry.
const MAX_READERS: usize = 256;
/// Bytes of a name, as file systems have them.
const MAX_NAME: usize = 255;
/// Where a program that is given by its name alone must be: directories that are root's on every distribution, and into
/// which no service installs files for its users (as the Nix daemon does into its store).
const PROGRAMS: [&[u8]; 6] = [b"/usr/", b"/bin/", b"/sbin/", b"/lib/", b"/lib64/", b"/opt/"];

/// Programs that run whatever they are given, by their names without a version: what they read is read by others.
const INTERPRETERS: [&str; 44] = [
    "ash", "awk", "bash", "beam", "bun", "busybox", "bwrap", "csh", "dash", "deno", "dotnet", "electron",
    "env", "erl", "expect", "fish", "gawk", "gdb", "guile", "java", "julia", "ksh", "ld", "lua", "luajit",
    "mawk", "mksh", "mono", "node", "nodejs", "perl", "php", "pypy", "python", "qemu", "rbash", "ruby", "sh",
    "strace", "tclsh", "tcsh", "wine", "wish", "zsh",
];

/// Why a text is no reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReaderError {
    /// Neither a name nor an absolute path.
    #[error(
        "write the name of an executable (`sshd`: in /usr, /bin, /sbin, /lib, /opt) or its whole path, globs allowed \
         (`/srv/ours/bin/*`)"
    )]
    Form,
    /// Not a glob that can be read.
    #[error("{0}")]
    Pattern(PatternError),
    /// An interpreter.
    #[error(
        "an interpreter reads what any script has it read, so it cannot be expected: leave it out, or name a program \
         with an executable of its own"
    )]
    Interpreter,
    /// Every program.
    #[error("it means every program below a directory of all users' programs: name the programs")]
    Everything,
    /// Too many.
    #[error("more than {MAX_READERS} readers: name fewer, with globs")]
    TooMany,
}

/// The expected readers of an entry, compiled.
#[derive(Clone, Debug, Default)]
pub struct Readers {
    names: Vec<String>,
    paths: GlobSet,
}

impl Readers {
    /// Compiles texts.
    ///
    /// # Errors
    /// The first that is no reader.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, (String, ReaderError)> {
        let (mut names, mut patterns) = (Vec::new(), Vec::new());
        for text in texts {
            let fail = |error| (text.to_owned(), error);
            if names.len() + patterns.len() >= MAX_READERS {
                return Err(fail(ReaderError::TooMany));
            }
            if text.starts_with('/') {
                patterns.extend(paths(text).map_err(fail)?);
            } else {
                names.push(name(text).map_err(fail)?);
            }
        }
        let paths = exclusion(&patterns)
            .map_err(|error| (String::new(), ReaderError::Pattern(PatternError::Glob(error.to_string()))))?;
        Ok(Self { names, paths })
    }

    /// Whether a program at this path of the host is among them. An interpreter never is.
    pub fn holds(&self, exe: &[u8]) -> bool {
        let name = exe.rsplit(|&byte| byte == b'/').next().unwrap_or(exe);
        if is_interpreter(name) {
            return false;
        }
        let by_name = || {
            self.names.iter().any(|one| one.as_bytes() == name)
                && PROGRAMS.iter().any(|directory| exe.starts_with(directory))
        };
        by_name() || self.paths.is_match_candidate(&Candidate::new(as_path(exe)))
    }
}

fn name(text: &str) -> Result<String, ReaderError> {
    let is_bad = |c: char| c.is_control() || c.is_whitespace() || "/*?[]{}\\~".contains(c);
    if text.is_empty() || text.len() > MAX_NAME || text == "." || text == ".." || text.contains(is_bad) {
        return Err(ReaderError::Form);
    }
    if is_interpreter(text.as_bytes()) {
        return Err(ReaderError::Interpreter);
    }
    Ok(text.to_owned())
}

fn paths(text: &str) -> Result<Vec<Pattern>, ReaderError> {
    let patterns = Pattern::parse(text).map_err(ReaderError::Pattern)?;
    for pattern in &patterns {
        let glob = pattern.glob();
        let last = glob.rsplit('/').next().unwrap_or_default();
        if pattern.anchor != Anchor::Root {
            return Err(ReaderError::Form);
        }
        if is_interpreter(last.as_bytes()) {
            return Err(ReaderError::Interpreter);
        }
        // `*` below a directory of one's own is a decision; below these it is a slip.
        let wild = last.chars().all(|c| c == '*' || c == '?');
        let everywhere =
            ["/**", "/usr/**", "/usr/bin/*", "/usr/sbin/*", "/bin/*", "/sbin/*", "/usr/local/bin/*"];
        if wild && (everywhere.contains(&glob.as_str()) || glob.starts_with("/**") || glob.starts_with("/*"))
        {
            return Err(ReaderError::Everything);
        }
    }
    Ok(patterns)
}

/// Whether a file of this name runs what it is given: `python3.13`, `perl5.40.1`, `ld-linux-x86-64.so.2`.
fn is_interpreter(name: &[u8]) -> bool {
    let end =
        name.iter().position(|byte| byte.is_ascii_digit() || b".-_".contains(byte)).unwrap_or(name.len());
    let stem = name.get(..end).unwrap_or(name);
    INTERPRETERS.iter().any(|one| one.as_bytes() == stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers(texts: &[&str]) -> Readers {
        Readers::new(texts.iter().copied()).unwrap()
    }

    #[test]
    fn a_name_is_a_program_of_the_hosts_own_directories() {
        let readers = readers(&["ssh", "git-remote-http"]);
        for exe in [
            "/usr/bin/ssh",
            "/bin/ssh",
            "/usr/local/bin/ssh",
            "/opt/x/ssh",
            "/usr/lib/git-core/git-remote-http",
        ] {
            assert!(readers.holds(exe.as_bytes()), "{exe}");
        }
        for exe in [
            "/tmp/ssh",
            "/home/alice/bin/ssh",
            "/usr/bin/ssh2",
            "/usr/bin/ssh/x",
            "ssh",
            "/usr",
            "",
            "/nix/store/a/bin/ssh",
            "/usr/bin/ssh (deleted)",
            "/var/lib/docker/usr/bin/ssh",
            "/dev/shm/usr/bin/ssh",
        ] {
            assert!(!readers.holds(exe.as_bytes()), "{exe}");
        }
    }

    #[test]
    fn a_path_is_that_path() {
        let readers = readers(&["/srv/ours/bin/{read,writ}er", "/srv/more/*/tool"]);
        for (exe, holds) in [
            ("/srv/ours/bin/reader", true),
            ("/srv/ours/bin/writer", true),
            ("/srv/ours/bin/other", false),
            ("/srv/more/1.2/tool", true),
            ("/srv/more/1/2/tool", false),
            ("/x/srv/ours/bin/reader", false),
            ("/usr/bin/reader", false),
        ] {
            assert_eq!(readers.holds(exe.as_bytes()), holds, "{exe}");
        }
    }

    #[test]
    fn an_interpreter_is_no_reader() {
        for name in [
            "python3",
            "python3.13",
            "node",
            "sh",
            "dash",
            "perl5.40.1",
            "ld-linux-x86-64.so.2",
            "java",
            "php8.4",
        ] {
            assert_eq!(Readers::new([name]).unwrap_err().1, ReaderError::Interpreter, "{name}");
            let path = format!("/usr/bin/{name}");
            assert_eq!(Readers::new([&*path]).unwrap_err().1, ReaderError::Interpreter, "{path}");
            assert!(!readers(&["/usr/bin/?*e*", "/srv/**"]).holds(path.as_bytes()), "{path}");
        }
        assert!(!readers(&["/srv/**"]).holds(b"/srv/bin/python3"));
        assert!(readers(&["gpg-agent", "docker", "sshd", "shfmt"]).holds(b"/usr/bin/shfmt"));
    }

    #[test]
    fn what_is_no_reader_says_why() {
        for (text, error) in [
            ("", ReaderError::Form),
            ("bin/ssh", ReaderError::Form),
            ("ss*", ReaderError::Form),
            ("~/bin/ssh", ReaderError::Form),
            ("**/ssh", ReaderError::Form),
            ("a b", ReaderError::Form),
            ("..", ReaderError::Form),
            ("/usr/bin/", ReaderError::Pattern(PatternError::Component)),
            ("/usr/../tmp/ssh", ReaderError::Pattern(PatternError::Component)),
            ("/usr/bin/*", ReaderError::Everything),
            ("/**", ReaderError::Everything),
            ("/usr/**", ReaderError::Everything),
        ] {
            assert_eq!(Readers::new([text]).unwrap_err(), (text.to_owned(), error));
        }
        let many: Vec<String> = (0..=MAX_READERS).map(|at| format!("reader{at}")).collect();
        assert_eq!(Readers::new(many.iter().map(String::as_str)).unwrap_err().1, ReaderError::TooMany);
    }

    #[test]
    fn without_readers_nobody_is_expected() {
        assert!(!Readers::default().holds(b"/usr/bin/ssh"));
    }
}
