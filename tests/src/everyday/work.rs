//! What is done, by real programs, in a home of its own. All servers are on loopback; packages come from the registries that
//! the machine is set up with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::child::{self, Captured, Running};
use crate::harness::places;
use crate::harness::servers::{Server, V4};
use crate::harness::setting::Setting;
use crate::harness::stream::Stream;
use crate::outcome::{During, Outcome, Verdict, ensure};

/// A piece of work, so many times.
type Work = fn(&Desk, u32) -> Outcome;

/// All of it, in the order in which it is done.
pub(super) const ALL: [(&str, Work); 8] = [
    ("git over ssh", git),
    ("ssh agent", agent),
    ("browser", browser),
    ("accounts", accounts),
    ("curl", curl),
    ("cargo build", cargo),
    ("npm and pip", npm_and_pip),
    ("packages", packages),
];

/// How long one program may take.
const LIMIT: Duration = Duration::from_secs(600);
/// How often a server that starts is tried.
const TRIES: u32 = 50;

/// A home, and what was prepared in it before the agent began to watch.
pub(super) struct Desk {
    home: PathBuf,
}

impl Desk {
    /// Makes a home with an empty profile.
    pub(super) fn prepare(setting: &Setting) -> Outcome<Self> {
        let home = setting.path("home");
        fs::create_dir_all(home.join(".ssh")).during(home.display())?;
        Ok(Self { home })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// A program of the system, at home.
    fn command(&self, directory: &str, program: &str, args: &[&str]) -> Outcome<Command> {
        let program = child::find(program).map_err(|error| Verdict::Skipped(error.to_string()))?;
        let directory = self.path(directory);
        fs::create_dir_all(&directory).during(directory.display())?;
        let mut command = Command::new(program);
        command.args(args).current_dir(directory).env("HOME", &self.home);
        command.env("GIT_SSH_COMMAND", format!("ssh -F {}", self.text(".ssh/config")));
        command.env("GIT_CONFIG_GLOBAL", self.path(".gitconfig")).env_remove("LD_LIBRARY_PATH");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        Ok(command)
    }

    fn run(&self, directory: &str, program: &str, args: &[&str]) -> Outcome {
        Self::finish(&mut self.command(directory, program, args)?)
    }

    fn finish(command: &mut Command) -> Outcome {
        Captured::start(command)?.finish(LIMIT)?.well()?;
        Ok(())
    }

    /// A key of its own, an sshd on loopback that takes it, and a repository behind that.
    fn server(&self) -> Outcome<(Sshd, String)> {
        let port = Server::start(V4)?.address.port();
        if !self.path(".ssh/id_ed25519").exists() {
            self.run(
                ".",
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-f", &self.text(".ssh/id_ed25519")],
            )?;
            self.run(".", "git", &["init", "-q", "--bare", "origin.git"])?;
        }
        let key = fs::read(self.path(".ssh/id_ed25519.pub")).during("read the public key")?;
        places::write(&self.path(".ssh/authorized_keys"), &String::from_utf8_lossy(&key))?;
        places::write(&self.path(".gitconfig"), "[user]\n\tname = A\n\temail = a@example.com\n")?;
        let client = format!(
            "Host *\n  IdentityFile {}\n  UserKnownHostsFile {}\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n",
            self.text(".ssh/id_ed25519"),
            self.text(".ssh/known_hosts"),
        );
        places::write(&self.path(".ssh/config"), &client)?;
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM yes\n\
             AuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin prohibit-password\nPidFile none\n",
            self.text(".ssh/authorized_keys"),
        );
        places::write(&self.path("sshd_config"), &server)?;
        fs::create_dir_all("/run/sshd").during("/run/sshd")?;
        let sshd = child::find("sshd").map_err(|error| Verdict::Skipped(error.to_string()))?;
        let mut command = Command::new(sshd);
        let (running, stdout, stderr) =
            Running::start(command.args(["-D", "-e", "-f"]).arg(self.path("sshd_config")))?;
        let outputs =
            [Stream::reading("sshd", stdout, |line| line), Stream::reading("sshd", stderr, |line| line)];
        let listens = |line: &String| line.contains("Server listening").then_some(());
        outputs[1].wait("sshd to listen", 0, LIMIT / TRIES, listens)?;
        Ok((
            Sshd { running, _outputs: outputs },
            format!("ssh://root@127.0.0.1:{port}{}", self.text("origin.git")),
        ))
    }
}

/// A server that ends when it is dropped.
struct Sshd {
    running: Running,
    _outputs: [Stream<String>; 2],
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Else it is killed.
        let _ = self.running.signal(Signal::TERM);
    }
}

/// Clone, commit, push, fetch.
fn git(desk: &Desk, rounds: u32) -> Outcome {
    let (_sshd, url) = desk.server()?;
    desk.run(".", "git", &["clone", "-q", &url, "clone"])?;
    for round in 0..rounds {
        places::write(&desk.path("clone/file"), &format!("{round}\n"))?;
        desk.run("clone", "git", &["add", "file"])?;
        desk.run("clone", "git", &["commit", "-qm", "change"])?;
        desk.run("clone", "git", &["push", "-q", "origin", "HEAD"])?;
        desk.run("clone", "git", &["fetch", "-q"])?;
    }
    Ok(())
}

/// An agent with a key, and fetches that use it.
fn agent(desk: &Desk, rounds: u32) -> Outcome {
    let (_sshd, url) = desk.server()?;
    let socket = desk.path(".ssh/agent/socket");
    fs::create_dir_all(desk.path(".ssh/agent")).during("make a directory")?;
    let mut command = desk.command(".", "ssh-agent", &["-D", "-a"])?;
    let (running, stdout, stderr) = Running::start(command.arg(&socket))?;
    let stdout = Stream::reading("ssh-agent", stdout, |line| line);
    let _stderr = Stream::reading("ssh-agent", stderr, |line| line);
    stdout.wait("ssh-agent to listen", 0, LIMIT / TRIES, |line: &String| {
        line.contains("SSH_AUTH_SOCK").then_some(())
    })?;
    let with_agent = |program: &str, args: &[&str]| {
        Desk::finish(desk.command(".", program, args)?.env("SSH_AUTH_SOCK", &socket))
    };
    with_agent("ssh-add", &["-q", &desk.text(".ssh/id_ed25519")])?;
    for _ in 0..rounds {
        with_agent("git", &["ls-remote", "-q", &url])?;
    }
    running.signal(Signal::TERM)
}

/// One profile, a page on loopback.
fn browser(desk: &Desk, rounds: u32) -> Outcome {
    let server = Server::start(V4)?;
    let profile = format!("--user-data-dir={}", desk.text(".config/chromium"));
    let page = format!("http://{}/", server.address);
    for _ in 0..rounds {
        desk.run(
            ".",
            "chromium",
            &[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                &profile,
                "--dump-dom",
                &page,
            ],
        )?;
    }
    Ok(())
}

/// What looks accounts up.
fn accounts(desk: &Desk, rounds: u32) -> Outcome {
    for _ in 0..rounds {
        desk.run(".", "su", &["-c", "true", "root"])?;
        desk.run(".", "passwd", &["-S", "root"])?;
        desk.run(".", "chage", &["-l", "root"])?;
    }
    Ok(())
}

/// A login from a .netrc.
fn curl(desk: &Desk, rounds: u32) -> Outcome {
    let server = Server::start(V4)?;
    places::write(&desk.path(".netrc"), "machine 127.0.0.1 login a password nothing\n")?;
    for _ in 0..rounds {
        desk.run(".", "curl", &["-fsSn", &format!("http://{}/", server.address)])?;
    }
    Ok(())
}

/// A crate with dependencies, from nothing.
fn cargo(desk: &Desk, _rounds: u32) -> Outcome {
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n\
                    serde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"\nureq = \"3\"\n\n[workspace]\n";
    places::write(&desk.path("small/Cargo.toml"), manifest)?;
    places::write(&desk.path("small/src/main.rs"), "fn main() {}\n")?;
    places::write(&desk.path(".cargo/credentials.toml"), "[registry]\ntoken = \"nothing\"\n")?;
    let mut command = desk.command("small", "cargo", &["build", "-q"])?;
    // Toolchains of rustup are in the home of whoever runs this.
    if let (None, Some(home)) = (std::env::var_os("RUSTUP_HOME"), std::env::var_os("HOME")) {
        command.env("RUSTUP_HOME", Path::new(&home).join(".rustup"));
    }
    let (home, target) = (desk.path(".cargo"), desk.path("target"));
    Desk::finish(command.env("CARGO_HOME", home).env("CARGO_TARGET_DIR", target))
}

/// Packages of both, installed and used.
fn npm_and_pip(desk: &Desk, rounds: u32) -> Outcome {
    places::write(&desk.path(".npmrc"), "fund=false\naudit=false\n")?;
    places::write(
        &desk.path("web/package.json"),
        "{\"name\":\"web\",\"version\":\"1.0.0\",\"scripts\":{\"build\":\"tsc\"}}\n",
    )?;
    places::write(&desk.path("web/index.ts"), "export const one: number = 1;\n")?;
    places::write(&desk.path("web/tsconfig.json"), "{\"files\":[\"index.ts\"]}\n")?;
    desk.run("web", "npm", &["install", "--silent", "typescript@5", "is-odd"])?;
    for _ in 0..rounds {
        desk.run("web", "npm", &["run", "--silent", "build"])?;
    }
    desk.run(".", "python3", &["-m", "venv", "venv"])?;
    let python = desk.path("venv/bin/python3");
    let python = |args: &[&str]| Desk::finish(Command::new(&python).args(args).env("HOME", &desk.home));
    python(&["-m", "pip", "install", "-q", "certifi", "requests"])?;
    for _ in 0..rounds {
        python(&["-c", "import certifi, requests, ssl; ssl.create_default_context(cafile=certifi.where())"])?;
    }
    Ok(())
}

/// An upgrade, as far as one can be had at any time: what is there, installed anew.
fn packages(desk: &Desk, _rounds: u32) -> Outcome {
    desk.run(".", "apt-get", &["-qq", "update"])?;
    let all = ["ca-certificates", "openssl", "openssh-client", "passwd", "login"];
    let mut args = vec!["-qq", "install", "--reinstall", "--yes"];
    args.extend(all.into_iter().filter(|name| is_installed(name)));
    ensure(args.len() > 4, || "none of these packages is installed".to_owned())?;
    desk.run(".", "apt-get", &args)
}

fn is_installed(package: &str) -> bool {
    Path::new("/var/lib/dpkg/info").join(format!("{package}.list")).is_file()
}
