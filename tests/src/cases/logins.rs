//! How a login came about: what a login server of the host executes, what that starts, and what only says so.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Case, shared};
use crate::harness::expect::Expected;
use crate::harness::scene::Scene;
use crate::harness::servers::V4;
use crate::outcome::{During, Outcome, skipped};

/// Where OpenSSH puts its server unless a distribution says otherwise: hosts that tests run on have none there.
const SERVER: &str = "/usr/libexec/sshd-session";
/// What sshd says to the program that it executes.
const CONNECTION: (&str, &str) = ("SSH_CONNECTION", "203.0.113.7 50022 198.51.100.7 22");
const PEER: &str = "203.0.113.7:50022";
/// What somebody else says.
const FORGED: (&str, &str) = ("SSH_CONNECTION", "192.0.2.66 6 192.0.2.1 22");
/// An account that no human has.
const NOBODY: u32 = 65_534;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        shared("login/ssh", ssh),
        shared("login/daemon", daemon),
        shared("login/forged", forged),
        shared("login/private-server", private_server),
    ]
}

/// This program where a login server would be, removed with it.
struct Server(PathBuf);

impl Server {
    fn new(me: &Path) -> Outcome<Self> {
        match Self::copy(me, SERVER.as_ref()) {
            Ok(server) => Ok(server),
            Err(error) => skipped(format!("{SERVER} cannot be made: {error}")),
        }
    }

    fn copy(me: &Path, to: &Path) -> io::Result<Self> {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(to)?;
        let server = Self(to.to_owned());
        io::copy(&mut fs::File::open(me)?, &mut file)?;
        Ok(server)
    }

    /// The server, which executes this program for somebody.
    fn command(&self, scene: &Scene<'_>, connection: (&str, &str)) -> Command {
        let mut command = Command::new(&self.0);
        command.args(["act", "start", "--"]).arg(&scene.setting.me).stdin(Stdio::null());
        command.env(connection.0, connection.1).env_remove("SSH_TTY");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn over_ssh(expected: Expected) -> Expected {
    expected.key("login", "ssh").key("login_from", PEER).key("login_tty", Value::Null)
}

/// Whoever runs the tests may be in a login himself: it was there before the agent, so no peer is told.
fn without_peer(expected: Expected) -> Expected {
    expected.key("login_from", Value::Null).key("login_tty", Value::Null)
}

fn ssh(scene: &mut Scene<'_>) -> Outcome {
    let server = Server::new(&scene.setting.me)?;
    let to = scene.server(V4)?.to_string();
    let me = scene.setting.me.to_string_lossy().into_owned();
    let mut command = server.command(scene, CONNECTION);
    let done = scene.perform(command.args(["act", "connect", "--to", &to]))?;
    scene.expect(done.into_iter().map(over_ssh));
    // What the shell starts says something else.
    let mut command = server.command(scene, CONNECTION);
    let variable = format!("{}={}", FORGED.0, FORGED.1);
    command.args(["act", "start", "--", "/usr/bin/env", &variable, &me, "act", "connect", "--to", &to]);
    if Path::new("/usr/bin/env").exists() {
        let done = scene.perform(&mut command)?;
        scene.expect(done.into_iter().map(over_ssh));
    }
    Ok(())
}

/// What forks twice and outlives its shell is in the login still.
fn daemon(scene: &mut Scene<'_>) -> Outcome {
    let server = Server::new(&scene.setting.me)?;
    let to = scene.server(V4)?.to_string();
    let mut command = server.command(scene, CONNECTION);
    let done = scene.perform(command.args(["act", "daemon", "--to", &to]))?;
    scene.expect(done.into_iter().map(over_ssh));
    Ok(())
}

/// A variable makes no login; nor does a server at another place.
fn forged(scene: &mut Scene<'_>) -> Outcome {
    let to = scene.server(V4)?.to_string();
    let mut command = scene.actor(&["connect", "--to", &to]);
    let done = scene.perform(command.env(FORGED.0, FORGED.1))?;
    scene.expect(done.into_iter().map(without_peer));
    let place = scene.directory("tmpfs")?.join("sshd");
    let server = Server::copy(&scene.setting.me.clone(), &place).during(place.display())?;
    let mut command = server.command(scene, FORGED);
    let done = scene.perform(command.args(["act", "connect", "--to", &to]))?;
    scene.expect(done.into_iter().map(without_peer));
    Ok(())
}

/// The host's own server, which a user starts as himself.
fn private_server(scene: &mut Scene<'_>) -> Outcome {
    let server = Server::new(&scene.setting.me)?;
    let to = scene.server(V4)?.to_string();
    let mut command = server.command(scene, FORGED);
    let done = scene.perform(command.uid(NOBODY).args(["act", "connect", "--to", &to]))?;
    scene.expect(done.into_iter().map(without_peer));
    Ok(())
}
