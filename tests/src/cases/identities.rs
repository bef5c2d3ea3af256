//! Who: identities by login, by cgroup, by executable, from what the kernel knows of the process.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Uid};

use super::{Case, moves, own, shared};
use crate::harness::agent::{Agent, Options};
use crate::harness::cgroup::Cgroup;
use crate::harness::child::Captured;
use crate::harness::event::Event;
use crate::harness::expect::Expected;
use crate::harness::identity;
use crate::harness::mounts::Named;
use crate::harness::places;
use crate::harness::scene::Scene;
use crate::harness::servers::V4;
use crate::harness::setting::{CREDENTIALS, Setting};
use crate::harness::who::Who;
use crate::outcome::{During, Outcome, ensure, skipped};

/// An ordinary user.
const USER: u32 = 1000;
/// An account that no human has.
const NOBODY: &[u8] = b"65534";
/// 64 hex digits, as engines name their containers.
const CONTAINER: &str = "7e117a1e0123456789abcdef0123456789abcdef0123456789abcdef01234567";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let scope = format!("telltale-tests.slice/docker-{CONTAINER}.scope");
    vec![
        shared("identity/executable", |scene| connect(scene, || Ok(()))),
        shared("identity/user", user),
        shared("identity/login", |scene| login(scene, USER)),
        shared("identity/login-root", |scene| login(scene, 0)),
        shared("identity/system-account", system_account),
        shared("identity/unit", |scene| in_cgroup(scene, "telltale-tests.slice/telltale-tests.service")),
        shared("identity/container", move |scene| in_cgroup(scene, &scope)),
        shared("identity/mount-namespace", mount_namespace),
        shared("identity/user-namespace", user_namespace),
        shared("identity/switched-user", switched_user),
        own("identity/version-1", version_1),
    ]
}

/// Connects in a process that was prepared before its exec; what it says of itself is what is expected.
fn connect(
    scene: &mut Scene<'_>,
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) -> Outcome {
    let expected = connected(scene, prepare)?;
    scene.expect(expected);
    Ok(())
}

fn connected(
    scene: &mut Scene<'_>,
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) -> Outcome<Vec<Expected>> {
    let address = scene.server(V4)?.to_string();
    let mut command = scene.actor(&["connect", "--to", &address]);
    // SAFETY: what is prepared makes system calls alone, on values that were made before.
    unsafe { command.pre_exec(prepare) };
    scene.perform(&mut command)
}

fn user(scene: &mut Scene<'_>) -> Outcome {
    let address = scene.server(V4)?.to_string();
    let mut command = scene.actor(&["connect", "--to", &address]);
    let expected = scene.perform(command.uid(USER).gid(USER))?;
    scene.expect(expected);
    Ok(())
}

/// The real user differs from the effective one, as with sudo's kin.
fn switched_user(scene: &mut Scene<'_>) -> Outcome {
    connect(scene, || {
        rustix::thread::set_thread_res_gid(Gid::from_raw(USER), Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::from_raw(USER), Uid::ROOT, Uid::ROOT)?;
        Ok(())
    })
}

fn login(scene: &mut Scene<'_>, uid: u32) -> Outcome {
    may_set_login()?;
    let human =
        format!("human/{}", identity::encode(&identity::user_name(uid).unwrap_or(format!("uid:{uid}"))));
    let number = uid.to_string();
    let expected = connected(scene, move || set_login(number.as_bytes()))?;
    scene.expect(expected.into_iter().map(|one| {
        // The lineage ends where the session began: with whoever logged in.
        one.key("human", human.clone()).lineage_of_session()
    }));
    Ok(())
}

/// A login of an account that is no human's: jobs of system accounts have one too.
fn system_account(scene: &mut Scene<'_>) -> Outcome {
    may_set_login()?;
    let expected = connected(scene, || set_login(NOBODY))?;
    scene.expect(
        expected.into_iter().map(|one| one.key("human", serde_json::Value::Null).lineage_of_session()),
    );
    Ok(())
}

fn may_set_login() -> Outcome {
    if !Path::new("/proc/self/loginuid").exists() {
        return skipped("this kernel has no audit, so no login uid");
    }
    if Who::me()?.login_uid.is_some() {
        return skipped("a login uid is set and cannot be set again: run this outside a login session");
    }
    Ok(())
}

/// Between fork and exec: no allocation.
fn set_login(uid: &[u8]) -> std::io::Result<()> {
    let file = rustix::fs::open(c"/proc/self/loginuid", OFlags::WRONLY, Mode::empty())?;
    rustix::io::write(&file, uid)?;
    Ok(())
}

/// In a cgroup of a shape that an init system or an engine makes.
fn in_cgroup(scene: &mut Scene<'_>, path: &str) -> Outcome {
    let cgroup = Cgroup::make(path)?;
    let expected = connected(scene, cgroup.entrance()?)?;
    drop(cgroup);
    let (want, _) = identity::of(&Who { cgroup: format!("/{path}"), ..Who::me()? });
    ensure(!want.starts_with("exe"), || format!("the test itself takes {path} for {want}"))?;
    scene.expect(expected.into_iter().map(|one| one.key("identity", want.clone())));
    Ok(())
}

/// In a user namespace of its own anybody is root, and may lay out a `/usr/bin` of his own: no path there is the host's.
fn user_namespace(scene: &mut Scene<'_>) -> Outcome {
    let expected = connected(scene, || {
        // SAFETY: one system call; there is one thread.
        let done = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    })?;
    // It sees itself as nobody there; the host knows whom it is.
    let me = Who::me()?;
    scene.expect(expected.into_iter().map(|one| {
        let ids = [("uid", me.uid), ("gid", me.gid), ("euid", me.euid), ("egid", me.egid)];
        let one = ids.into_iter().fold(one, |one, (key, id)| one.key(key, id));
        one.identity_begins("exe-ns/", "namespaced_executable")
    }));
    Ok(())
}

/// In a mount namespace of its own a path says nothing of the host's files.
fn mount_namespace(scene: &mut Scene<'_>) -> Outcome {
    let expected = connected(scene, || {
        // SAFETY: one system call; there is one thread.
        let done = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    })?;
    scene.expect(expected.into_iter().map(|one| one.identity_begins("exe-ns/", "namespaced_executable")));
    Ok(())
}

/// Where systemd has a hierarchy of version 1 of its own, that one names workloads: what acts in a unit there, or in a
/// container, is in no cgroup of version 2.
fn version_1(setting: &Setting) -> Outcome {
    let hierarchy = Named::of_service_manager()?;
    let unit = Cgroup::make_in(hierarchy.path(), "system.slice/telltale-test-1.service")?;
    let container = Cgroup::make_in(hierarchy.path(), &format!("docker-{CONTAINER}.scope"))?;
    let other = Cgroup::make("telltale-tests.slice")?;
    let file = setting.places.get("ext4")?.join("version-1").join(CREDENTIALS).join("key");
    places::write(&file, "secret\n")?;
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
    let address = server.local_addr().during("listen")?.to_string();
    let agent = Agent::start(setting, &Options::default())?;
    let named =
        [(&unit, "svc/telltale-test-1".to_owned()), (&container, format!("container/docker/{CONTAINER}"))];
    for (cgroup, identity) in named {
        let mut command = Command::new(&setting.me);
        command
            .args(["act", "flood", "--opens", "1", "--connects", "1", "--to", &address, "--path"])
            .arg(&file);
        other.hold(&mut command)?;
        cgroup.hold(&mut command)?;
        let pid = Captured::start(&mut command)?.finish(setting.limit)?.well()?.pid;
        for kind in ["credential_access", "connection"] {
            let of_it =
                |event: &Event| (event.kind() == kind && event.pid() == Some(pid)).then(|| event.clone());
            let event = agent.events.wait(&format!("its {kind}"), 0, setting.limit, of_it)?;
            ensure(event.text("identity") == identity, || format!("not {identity}: {}", event.brief()))?;
        }
    }
    // Into one that is made now, and in which nothing is executed.
    let slice = hierarchy.path().join("system.slice");
    let below = slice.to_string_lossy();
    let entered =
        moves::enter(setting, &["--below", &below], &file, &["telltale-test-2.service".to_owned()])?;
    for one in entered {
        let event = moves::opened(setting, &agent, one.pid)?;
        let identity = event.text("identity");
        ensure(identity == "svc/telltale-test-2", || format!("who was moved: {}", event.brief()))?;
    }
    agent.stop(setting)?;
    Ok(())
}
