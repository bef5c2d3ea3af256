//! Where and how a run happens.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::child;
use super::places::{self, Places};
use crate::outcome::{During, Outcome};

/// How long anything is waited for. It is spent only where a test fails; emulated machines are slow.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Directory whose files are credentials by the tests' catalogue.
pub(crate) const CREDENTIALS: &str = "telltale-test-credentials";
/// The entry for them.
pub(crate) const ENTRY: &str = "telltale-test";
/// The entry for files that are named by their whole path, and so known by inode from the start.
pub(crate) const FIXED_ENTRY: &str = "telltale-test-fixed";

/// Directory whose files are credentials with expected readers by the tests' catalogue.
pub(crate) const EXPECTED: &str = "telltale-test-expected";
/// The entry for them.
pub(crate) const EXPECTED_ENTRY: &str = "telltale-test-expected";
/// Directory of a run whose programs are these readers.
pub(crate) const READERS: &str = "readers";

/// Directory whose sockets are credential sources by the tests' catalogue; so are abstract names that begin with it.
pub(crate) const SOCKETS: &str = "telltale-test-sockets";
/// The entry for them.
pub(crate) const SOCKET_ENTRY: &str = "telltale-test-socket";

/// A rung of the ladder of hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rung {
    /// LSM programs.
    Lsm,
    /// Trampolines without LSM programs.
    Fentry,
    /// Neither.
    Tracepoint,
}

impl Rung {
    /// Its name on the agent's command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// Where and how a run happens. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The agent's program.
    pub(crate) telltale: PathBuf,
    /// This program, where every user may run it.
    pub(crate) me: PathBuf,
    /// The rung that the run is confined to.
    pub(crate) rung: Option<Rung>,
    /// How long anything is waited for.
    pub(crate) limit: Duration,
    /// The tests' catalogue.
    pub(crate) catalogue: PathBuf,
    /// File systems.
    pub(crate) places: Places,
    /// A directory of the run.
    pub(crate) scratch: tempfile::TempDir,
}

impl Setting {
    /// Prepares a run.
    pub(crate) fn prepare(telltale: Option<&Path>, rung: Option<Rung>) -> Outcome<Self> {
        Self::prepare_with(telltale, rung, Places::prepare)
    }

    /// Prepares a run that mounts nothing: it has its scratch directory alone.
    pub(crate) fn prepare_plainly(telltale: Option<&Path>, rung: Option<Rung>) -> Outcome<Self> {
        Self::prepare_with(telltale, rung, |_| Places::default())
    }

    fn prepare_with(
        telltale: Option<&Path>,
        rung: Option<Rung>,
        places: fn(&Path) -> Places,
    ) -> Outcome<Self> {
        let telltale = match telltale {
            Some(path) => fs::canonicalize(path).during(path.display())?,
            None => child::find("telltale").during("find the agent (or name it with --telltale)")?,
        };
        let scratch =
            tempfile::Builder::new().prefix("telltale-tests-").tempdir().during("make a directory")?;
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        let copy = |from: &Path| -> Outcome<PathBuf> {
            let to = scratch.path().join(from.file_name().unwrap_or_default());
            fs::copy(from, &to).during(format!("copy {}", from.display()))?;
            fs::set_permissions(&to, Permissions::from_mode(0o755))?;
            Ok(to)
        };
        let (me, telltale) = (copy(&std::env::current_exe()?)?, copy(&telltale)?);
        let places = places(scratch.path());
        let catalogue = scratch.path().join("catalogue.toml");
        let readers = scratch.path().join(READERS);
        fs::create_dir(&readers).during(readers.display())?;
        fs::set_permissions(&readers, Permissions::from_mode(0o755))?;
        write_catalogue(&catalogue, &places, &readers)?;
        Ok(Self { telltale, me, rung, limit: LIMIT, catalogue, places, scratch })
    }

    /// Whether this machine was made for the run: what is done to it need not be put back.
    pub(crate) fn is_guest(&self) -> bool {
        let named = fs::read_to_string("/proc/sys/kernel/hostname").is_ok_and(|name| name.trim() == "guest");
        named && Path::new("/vm/command").is_file()
    }

    /// How long a program that does very much may take: it ends what hangs, and nothing that works.
    pub(crate) fn patience(&self) -> Duration {
        self.limit * 8
    }

    /// This program as one that the tests' catalogue expects, unless it is there already.
    pub(crate) fn reader(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.scratch.path().join(READERS).join(name);
        if !path.exists() {
            self.copy_of_me(&path)?;
        }
        Ok(path)
    }

    /// This program under another path.
    pub(crate) fn copy_of_me(&self, path: &Path) -> Outcome {
        fs::copy(&self.me, path).during(format!("copy {}", path.display()))?;
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A path of the run that nothing else uses.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// The file on a file system that the catalogue names by its whole path.
pub(crate) fn fixed(directory: &Path) -> PathBuf {
    directory.join("fixed/credential")
}

fn write_catalogue(path: &Path, places: &Places, readers: &Path) -> Outcome {
    let mut paths = Vec::new();
    for directory in places.all().iter().flat_map(|place| &place.directory) {
        let file = fixed(directory);
        places::write(&file, "secret\n")?;
        paths.push(format!("{:?}", file.display().to_string()));
    }
    let entry = |name: &str, paths: &str| {
        format!(
            "[[credential]]\nname = \"{name}\"\nkind = \"test\"\nsensitivity = 3\npaths = [{paths}]\n\
             comment = \"Files that tests make.\"\n\n"
        )
    };
    let mut text = format!("version = 1\n\n{}", entry(ENTRY, &format!("\"**/{CREDENTIALS}/*\"")));
    let sockets = format!("\"**/{SOCKETS}/*\", \"@{SOCKETS}/**\"");
    text.push_str(&entry(SOCKET_ENTRY, &sockets).replace("[[credential]]", "[[socket]]"));
    let readers = format!("expected_readers = [\"{}/*\"]\ncomment", readers.display());
    let expected = entry(EXPECTED_ENTRY, &format!("\"**/{EXPECTED}/*\""));
    text.push_str(&expected.replace("comment", &readers));
    if !paths.is_empty() {
        text.push_str(&entry(FIXED_ENTRY, &paths.join(", ")));
    }
    places::write(path, &text)
}
