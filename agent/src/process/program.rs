//! What a process runs: its executable, or what it gave an interpreter.
//!
//! The arguments are those at exec. They say what the interpreter was told to run, by whoever started it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::model::bytes::RawBytes;
use crate::model::process::ExecImage;

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The executable itself.
    Executable,
    /// A script, by its path: absolute, without `.` and `..`; symbolic links are as they were given.
    Script(RawBytes),
    /// A script, by its path, of which more was found than its path says.
    Known {
        /// The path.
        script: RawBytes,
        /// What was found.
        entry: ScriptEntry,
    },
    /// `-m NAME`: a module that the interpreter looks for.
    Module(RawBytes),
    /// Text of the command line (`-c`, `-e`), or standard input: no file.
    Inline,
}

/// What a script was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptEntry {
    /// It does nothing but run this module, as what pip and uv install does (`aider.main`).
    Module(RawBytes),
    /// By the manifest above it, it is this file of a package (`/node_modules/NAME/PATH`).
    Packaged(RawBytes),
}

impl Program {
    /// A script, with what was found of it.
    pub fn script(path: RawBytes, entry: Option<ScriptEntry>) -> Self {
        match entry {
            Some(entry) => Self::Known { script: path, entry },
            None => Self::Script(path),
        }
    }
}

/// Options of an interpreter.
struct Options {
    /// Names of its executable, without a version at their end.
    names: &'static [&'static [u8]],
    /// What is run is in the next argument, as text.
    inline: &'static [&'static [u8]],
    /// What is run is a module, named by the next argument.
    module: &'static [&'static [u8]],
    /// The next argument is the option's, too.
    valued: &'static [&'static [u8]],
    /// Words before the script.
    verbs: &'static [&'static [u8]],
    /// Whether short options can stand behind one dash (`-lc`).
    clusters: bool,
}

/// As `node --help`, `python3 --help`, bash(1), perlrun(1), ruby(1), `bun --help` and `deno run --help` list them.
const INTERPRETERS: &[Options] = &[
    Options {
        names: &[b"node", b"nodejs"],
        inline: &[b"-e", b"--eval", b"-p", b"--print", b"-pe"],
        module: &[],
        valued: &[
            b"-r",
            b"--require",
            b"--import",
            b"--loader",
            b"--experimental-loader",
            b"-C",
            b"--conditions",
            b"--env-file",
            b"--input-type",
            b"--title",
            b"--disable-warning",
            b"--unhandled-rejections",
            b"--stack-trace-limit",
            b"--icu-data-dir",
            b"--openssl-config",
            b"--redirect-warnings",
            b"--diagnostic-dir",
            b"--dns-result-order",
            b"--inspect-port",
            b"--debug-port",
            b"--max-http-header-size",
            b"--secure-heap",
            b"--secure-heap-min",
            b"--snapshot-blob",
            b"--tls-cipher-list",
            b"--localstorage-file",
            b"--env-file-if-exists",
            b"--experimental-default-type",
            b"--watch-path",
            b"--report-dir",
            b"--report-directory",
            b"--report-filename",
            b"--report-signal",
            b"--trace-event-categories",
            b"--trace-event-file-pattern",
            b"--heapsnapshot-signal",
            b"--cpu-prof-dir",
            b"--heap-prof-dir",
        ],
        verbs: &[],
        clusters: false,
    },
    Options {
        names: &[b"bun", b"deno"],
        inline: &[b"-e", b"--eval", b"-p", b"--print", b"eval"],
        module: &[],
        valued: &[b"-r", b"--preload", b"--require", b"-c", b"--config", b"--import-map"],
        verbs: &[b"run"],
        clusters: false,
    },
    Options {
        names: &[b"python", b"pypy"],
        inline: &[b"-c"],
        module: &[b"-m"],
        valued: &[b"-W", b"-X", b"--check-hash-based-pycs"],
        verbs: &[],
        clusters: true,
    },
    Options {
        names: &[b"sh", b"bash", b"dash", b"zsh", b"ksh"],
        inline: &[b"-c"],
        module: &[],
        valued: &[b"-o", b"+o", b"-O", b"+O", b"--rcfile", b"--init-file"],
        verbs: &[],
        clusters: true,
    },
    Options {
        names: &[b"perl"],
        inline: &[b"-e", b"-E"],
        module: &[],
        valued: &[],
        verbs: &[],
        clusters: true,
    },
    Options {
        names: &[b"ruby"],
        inline: &[b"-e"],
        module: &[],
        valued: &[b"-I", b"-r", b"-C"],
        verbs: &[],
        clusters: false,
    },
];

/// Whether the executable is an interpreter of JavaScript.
pub fn runs_javascript(exe: &RawBytes) -> bool {
    is_interpreter(exe, &[b"node", b"bun"])
}

/// Whether the executable is an interpreter of Python.
pub fn runs_python(exe: &RawBytes) -> bool {
    is_interpreter(exe, &[b"python"])
}

fn is_interpreter(exe: &RawBytes, languages: &[&[u8]]) -> bool {
    let name = exe.file_name();
    let called = INTERPRETERS.iter().find(|options| options.is_called(name));
    called.is_some_and(|options| languages.iter().any(|language| options.names.contains(language)))
}

/// What an image runs.
pub fn program_of(image: &ExecImage) -> Program {
    if image.script {
        return Program::Script(absolute(&image.cwd, image.filename.as_bytes()));
    }
    let name = RawBytes::from(image.exe.file_name());
    let Some(options) = INTERPRETERS.iter().find(|options| options.is_called(name.as_bytes())) else {
        return Program::Executable;
    };
    let mut arguments = image.argv.iter().skip(1).map(RawBytes::as_bytes);
    let mut may_be_verb = true;
    while let Some(argument) = arguments.next() {
        match argument {
            b"--" => return script(image, arguments.next()),
            // Standard input.
            b"-" | b"" => return Program::Inline,
            _ if options.inline.contains(&argument) => return Program::Inline,
            _ if options.module.contains(&argument) => return module(arguments.next()),
            _ if options.valued.contains(&argument) => {
                let _ = arguments.next();
            }
            [b'-', b'-', ..] => {}
            [b'-' | b'+', letters @ ..] if options.clusters => {
                // From the left: the first that takes a value takes what is left, or the next argument.
                for (at, letter) in letters.iter().enumerate() {
                    let option = &[b'-', *letter][..];
                    let attached = letters.get(at + 1..).filter(|rest| !rest.is_empty());
                    if options.inline.contains(&option) {
                        return Program::Inline;
                    }
                    if options.module.contains(&option) {
                        return module(attached.or_else(|| arguments.next()));
                    }
                    // The value of a shell's option is never attached: `-eo pipefail`, `-oe pipefail`.
                    let is_valued = options.valued.contains(&option);
                    if is_valued && (attached.is_none() || options.module.is_empty()) {
                        let _ = arguments.next();
                    }
                    if is_valued && !options.module.is_empty() {
                        break;
                    }
                }
            }
            [b'-', ..] => {}
            _ if may_be_verb && options.verbs.contains(&argument) => may_be_verb = false,
            path => return script(image, Some(path)),
        }
    }
    Program::Inline
}

impl Options {
    /// `python3.11` and `bash` are; `pythonista` is not.
    fn is_called(&self, name: &[u8]) -> bool {
        let versioned = |rest: &[u8]| rest.iter().all(|byte| byte.is_ascii_digit() || b".-".contains(byte));
        self.names.iter().any(|known| name.strip_prefix(*known).is_some_and(versioned))
    }
}

fn module(name: Option<&[u8]>) -> Program {
    name.map_or(Program::Inline, |name| Program::Module(RawBytes::from(name)))
}

fn script(image: &ExecImage, path: Option<&[u8]>) -> Program {
    path.map_or(Program::Inline, |path| Program::Script(absolute(&image.cwd, path)))
}

/// Resolves what can be without a file system.
fn absolute(cwd: &RawBytes, path: &[u8]) -> RawBytes {
    let [cwd, path] = [cwd.as_bytes(), path].map(|path| Path::new(std::ffi::OsStr::from_bytes(path)));
    let mut whole = PathBuf::new();
    for component in cwd.join(path).components() {
        match component {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            other => whole.push(other),
        }
    }
    RawBytes::from(whole.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(exe: &str, argv: &[&str]) -> ExecImage {
        ExecImage {
            exe: exe.into(),
            cwd: "/home/a/p".into(),
            argv: argv.iter().map(|argument| (*argument).into()).collect(),
            ..ExecImage::default()
        }
    }

    #[test]
    fn what_an_interpreter_runs() {
        let script = |path: &str| Program::Script(path.into());
        let module = |name: &str| Program::Module(name.into());
        let table: &[(&str, &[&str], Program)] = &[
            ("/usr/bin/curl", &["curl", "x"], Program::Executable),
            ("/usr/bin/pythonista", &["pythonista", "x"], Program::Executable),
            ("/usr/bin/node", &["node", "/opt/x.js", "--yolo"], script("/opt/x.js")),
            (
                "/usr/bin/node",
                &["node", "--max-old-space-size=4096", "-r", "ts-node", "x.js"],
                script("/home/a/p/x.js"),
            ),
            ("/usr/bin/node", &["node", "--no-warnings", "../q/./x.js"], script("/home/a/q/x.js")),
            ("/usr/bin/node", &["node", "--", "-x.js"], script("/home/a/p/-x.js")),
            ("/usr/bin/node", &["node", "-e", "1"], Program::Inline),
            ("/usr/bin/node", &["node"], Program::Inline),
            ("/root/.bun/bin/bun", &["bun", "run", "x.ts"], script("/home/a/p/x.ts")),
            ("/usr/bin/deno", &["deno", "run", "--allow-net", "run"], script("/home/a/p/run")),
            ("/usr/bin/python3.11", &["python3", "app.py"], script("/home/a/p/app.py")),
            ("/usr/bin/python3", &["python3", "-u", "-W", "ignore", "app.py"], script("/home/a/p/app.py")),
            ("/usr/bin/python3", &["python3", "-m", "aider", "--yes"], module("aider")),
            ("/usr/bin/python3", &["python3", "-um", "aider"], module("aider")),
            ("/usr/bin/python3", &["python3", "-maider", "x"], module("aider")),
            (
                "/usr/bin/python3",
                &["python3", "-Wignore::DeprecationWarning", "-Xdev", "x.py"],
                script("/home/a/p/x.py"),
            ),
            ("/usr/bin/python3", &["python3", "-IX", "dev", "x.py"], script("/home/a/p/x.py")),
            ("/usr/bin/python3", &["python3", "-Bc", "pass"], Program::Inline),
            (
                "/usr/bin/node",
                &["node", "--unhandled-rejections", "strict", "x.js"],
                script("/home/a/p/x.js"),
            ),
            ("/usr/bin/python3", &["python3", "-"], Program::Inline),
            ("/bin/sh", &["sh", "-c", "cat x"], Program::Inline),
            ("/usr/bin/bash", &["-bash"], Program::Inline),
            ("/usr/bin/bash", &["bash", "-lc", "x"], Program::Inline),
            ("/usr/bin/bash", &["bash", "-eo", "pipefail", "x.sh"], script("/home/a/p/x.sh")),
            ("/usr/bin/perl", &["perl", "-ne", "print"], Program::Inline),
            ("/usr/bin/ruby", &["ruby", "-Ilib", "x.rb"], script("/home/a/p/x.rb")),
        ];
        for (exe, argv, expected) in table {
            assert_eq!(program_of(&image(exe, argv)), *expected, "{argv:?}");
        }
    }

    #[test]
    fn a_script_that_is_executed_is_itself() {
        let run = ExecImage {
            script: true,
            filename: "./x".into(),
            ..image("/usr/bin/env", &["env", "node", "./x"])
        };
        assert_eq!(program_of(&run), Program::Script("/home/a/p/x".into()));
    }

    proptest! {
        #[test]
        fn any_arguments_are_read(
            exe in "/(node|python3|sh|deno|bun|perl)",
            argv in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 0..8),
            cwd in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let argv = argv.into_iter().map(RawBytes::from).collect();
            let image = ExecImage { exe: exe.as_str().into(), argv, cwd: cwd.into(), ..ExecImage::default() };
            if let Program::Script(path) = program_of(&image) {
                let path = path.as_bytes();
                prop_assert!(!path.split(|&byte| byte == b'/').any(|part| part == b".."));
            }
        }
    }
}
