//! Real programs, which know nothing of being looked at.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Case, shared};
use crate::harness::child;
use crate::harness::expect::{Deed, object};
use crate::harness::places;
use crate::harness::scene::{Scene, end_of};
use crate::harness::servers::{V4, V6};
use crate::harness::who::Who;
use crate::outcome::{During, Outcome, Verdict, ensure};

/// Connects twice with asyncio, reads the answers, and prints the local ends.
const ASYNCIO: &str = "
import asyncio, sys
async def one(host, port):
    reader, writer = await asyncio.open_connection(host, int(port))
    local = writer.get_extra_info('sockname')
    writer.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
    await reader.read()
    writer.close()
    return local[1]
async def main():
    ends = zip(sys.argv[1::2], sys.argv[2::2])
    for port in await asyncio.gather(*(one(*end) for end in ends)):
        print(port)
asyncio.run(main())
";

/// Runs another program from a file of memory that has the name of one of the host's: PROGRAM, then its arguments.
const MEMFD: &str = "
import os, sys
program = os.memfd_create('usr/bin/sshd')
with open(sys.argv[1], 'rb') as file:
    os.write(program, file.read())
os.execve(program, sys.argv[2:], os.environ)
";

/// Runs a program that has lost its name before it is executed: PROGRAM, then its arguments.
const DELETED: &str = "
import os, sys
program = os.open(sys.argv[1], os.O_RDONLY)
os.unlink(sys.argv[1])
os.execve(program, sys.argv[2:], os.environ)
";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![shared("program/curl", curl), shared("program/asyncio", asyncio)];
    for place in ["ext4", "overlay", "tmpfs"] {
        cases.push(shared(format!("program/cat/{place}"), move |scene| cat(scene, place)));
        cases.push(shared(format!("program/one-liner/{place}"), move |scene| one_liner(scene, place)));
    }
    cases.push(shared("program/shell-child", shell_child));
    cases.push(shared("program/script", script));
    cases.push(shared("program/memfd", memfd));
    cases.push(shared("program/deleted", deleted));
    cases
}

/// What should be told of a connection that a program made, whose local port it said, or not.
fn connected(scene: &mut Scene<'_>, who: Who, server: SocketAddr, local_port: Option<u16>) {
    let (ip, port) = (server.ip(), server.port());
    let (family, hook) = if ip.is_ipv4() { ("ipv4", "cgroup/connect4") } else { ("ipv6", "cgroup/connect6") };
    let mut facts = object(json!({
        "hook": hook, "v4_mapped": null, "outcome": "established", "errno": null, "errno_number": null,
        "connected_address": ip, "connected_port": port, "local_address": ip,
    }));
    if let Some(port) = local_port {
        facts.insert("local_port".to_owned(), port.into());
    }
    let deed = Deed {
        tid: who.pid,
        who,
        event: Some("connection".to_owned()),
        target: object(json!({
            "protocol": "tcp", "family": family, "remote_address": ip, "remote_port": port,
        })),
        facts,
        repeats: None,
    };
    let end = end_of(&deed);
    let expected: Vec<_> = std::iter::once(deed).chain(end).map(|deed| scene.expected(deed)).collect();
    scene.expect(expected);
}

fn curl(scene: &mut Scene<'_>) -> Outcome {
    for ip in [V4, V6] {
        let server = scene.server(ip)?;
        let url = format!("http://{server}/");
        let (who, finished) = scene.run_program(
            "curl",
            &["-q", "--silent", "--noproxy", "*", "--write-out", "%{local_port}", &url],
        )?;
        let port =
            finished.stdout.lines().last().unwrap_or_default().parse().during("read curl's local port")?;
        connected(scene, who, server, Some(port));
    }
    Ok(())
}

fn asyncio(scene: &mut Scene<'_>) -> Outcome {
    let servers = [scene.server(V4)?, scene.server(V6)?];
    let [(v4_ip, v4_port), (v6_ip, v6_port)] =
        &servers.map(|server| (server.ip().to_string(), server.port().to_string()));
    let (who, finished) =
        scene.run_program("python3", &["-I", "-c", ASYNCIO, v4_ip, v4_port, v6_ip, v6_port])?;
    let ports = finished.stdout.lines().map(str::parse).collect::<Result<Vec<u16>, _>>()?;
    ensure(ports.len() == 2, || format!("asyncio said {:?}", finished.stdout))?;
    for (server, port) in servers.into_iter().zip(ports) {
        connected(scene, who.clone(), server, Some(port));
    }
    Ok(())
}

fn cat(scene: &mut Scene<'_>, place: &str) -> Outcome {
    // A credential of the shipped catalogue, by the rules for homes.
    let path = scene.directory(place)?.join("home/.aws/credentials");
    places::write(&path, "[default]\n")?;
    let (who, _) = scene.run_program("cat", &[&path.to_string_lossy()])?;
    let expected = scene.opened(who, &path)?;
    scene.expect([expected
        .key("credential", "aws-credentials")
        .key("credential_kind", "cloud")
        .key("sensitivity", 5)]);
    Ok(())
}

/// A shell that lives for a millisecond: it opens the file itself and ends.
fn one_liner(scene: &mut Scene<'_>, place: &str) -> Outcome {
    let path = scene.credential(place, "key")?;
    for _ in 0..5 {
        let (who, _) = scene.run_program("sh", &["-c", &format!(": <{}", path.display())])?;
        let expected = scene.opened(who, &path)?;
        scene.expect([expected]);
    }
    Ok(())
}

/// A child of a shell: its lineage has the shell in it.
fn shell_child(scene: &mut Scene<'_>) -> Outcome {
    let path = scene.credential("ext4", "key")?;
    let script = format!("cat {} >/dev/null & echo $! && wait", path.display());
    let (shell, finished) = scene.run_program("sh", &["-c", &script])?;
    let pid = finished.stdout.trim().parse().during("read the child's number")?;
    let cat = child::find("cat").map_err(|error| Verdict::Skipped(error.to_string()))?;
    let mut ancestors = vec![shell.as_ancestor()];
    ancestors.extend(shell.ancestors.clone());
    let who = Who {
        pid,
        ppid: shell.pid,
        exe: cat.to_string_lossy().into_owned(),
        argv: vec!["cat".to_owned(), path.display().to_string()],
        ancestors,
        ..shell
    };
    // Nobody could read when it began: it has ended. That it began with its shell, or soon after, is looked at.
    let expected = scene.opened(who, &path)?.with_start_within(scene.setting.limit);
    scene.expect([expected]);
    Ok(())
}

/// A script runs as its interpreter; its own path is told beside.
fn script(scene: &mut Scene<'_>) -> Outcome {
    let path = scene.credential("ext4", "key")?;
    let script = scene.directory("ext4")?.join("script");
    places::write(&script, &format!("#!/bin/sh\n: <{}\n", path.display()))?;
    rustix::fs::chmod(&script, rustix::fs::Mode::from_raw_mode(0o755)).during("make a script executable")?;
    let script = script.to_string_lossy().into_owned();
    let (who, _) = scene.run_program(&script, &[])?;
    let sh = child::find("sh")?.to_string_lossy().into_owned();
    let who = Who { exe: sh, argv: vec!["/bin/sh".to_owned(), script.clone()], ..who };
    let expected = scene.opened(who, Path::new(&path))?;
    scene.expect([expected.key("script", script.clone()).key("filename", script)]);
    Ok(())
}

/// Python runs `cat` as `script` does, from `program`; what it then is.
fn unlinked(scene: &mut Scene<'_>, script: &str, program: &Path) -> Outcome<(Who, PathBuf)> {
    let path = scene.credential("ext4", "key")?;
    let [program, opened] = [program, &path].map(|path| path.to_string_lossy().into_owned());
    let (who, _) = scene.run_program("python3", &["-I", "-c", script, &program, "cat", &opened])?;
    Ok((Who { argv: vec!["cat".to_owned(), opened], ..who }, path))
}

/// What lies in memory has no path, whatever its maker calls it.
fn memfd(scene: &mut Scene<'_>) -> Outcome {
    let cat = child::find("cat").map_err(|error| Verdict::Skipped(error.to_string()))?;
    let (who, path) = unlinked(scene, MEMFD, &cat)?;
    let expected = scene.opened(Who { exe: "/".to_owned(), ..who }, &path)?;
    scene.expect([expected.key("exe_memfd", true).key("exe_deleted", true).key("exe_sha256", Value::Null)]);
    Ok(())
}

/// A program without a name keeps the path that it had, and is said to have lost it.
fn deleted(scene: &mut Scene<'_>) -> Outcome {
    let cat = child::find("cat").map_err(|error| Verdict::Skipped(error.to_string()))?;
    let copy = scene.directory("ext4")?.join("gone");
    std::fs::copy(cat, &copy).during("copy a program")?;
    let (who, path) = unlinked(scene, DELETED, &copy)?;
    let expected = scene.opened(Who { exe: copy.to_string_lossy().into_owned(), ..who }, &path)?;
    scene.expect([expected.key("exe_deleted", true).key("exe_memfd", Value::Null)]);
    Ok(())
}
