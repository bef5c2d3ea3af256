//! Logins: how somebody came in, from where, and on which terminal.
//!
//! A login begins where a login server of the host (sshd, login, cron, atd) executes the first program for somebody. From
//! there on it is inherited by whatever that one starts, over fork, exec, sudo, su, tmux and double forks: what a process
//! says of itself changes nothing.
//!
//! A login server is known by its path in the host's own mount and user namespaces, and by root having executed it: the
//! same sshd that a user starts as himself is none. Its forks keep being it when they give up their rights.
//!
//! Where sshd puts the peer: `SSH_CONNECTION` in the environment of the program that it executes. In OpenSSH's session.c
//! (`do_setup_env`) of 7.8 and later it is set after all that a user or a client can say: `AcceptEnv` variables first,
//! `environment=` of authorized_keys and ~/.ssh/environment then, PAM's environment (without `SSH_CONNECTION*`), `SetEnv`,
//! and `SSH_CONNECTION` last; `SSH_TTY` comes behind it, for a session that has a terminal. A name is set once: a later value
//! takes the place of an earlier one. Up to 7.7 PAM's environment came later, and so did ~/.ssh/environment
//! (`PermitUserEnvironment`, off by default).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::model::identity::{Confidence, Evidence};
use crate::model::process::{
    Login, LoginServer, LoginState, LoginWay, Origin, Process, SshConnection, StdioKind,
};
use crate::process::Logins;
use crate::process::inventory::HostNamespaces;

use super::users::Users;
use super::{Finding, Resolver, Subject};
use super::{ci, job};

/// Where distributions have their login servers: of OpenSSH since 9.8 `sshd-session` is what executes the shell.
const SERVERS: &[(LoginWay, &[&str])] = &[
    (
        LoginWay::Ssh,
        &[
            "/usr/sbin/sshd",
            "/usr/bin/sshd",
            "/usr/lib/openssh/sshd-session",
            "/usr/libexec/openssh/sshd-session",
            "/usr/lib/ssh/sshd-session",
            "/usr/libexec/ssh/sshd-session",
            "/usr/libexec/sshd-session",
        ],
    ),
    (LoginWay::Console, &["/usr/bin/login", "/bin/login"]),
    (LoginWay::Cron, &["/usr/sbin/cron", "/usr/sbin/crond", "/usr/bin/crond"]),
    (LoginWay::At, &["/usr/sbin/atd", "/usr/bin/atd"]),
    (LoginWay::Anacron, &["/usr/sbin/anacron", "/usr/bin/anacron"]),
];

/// Bytes of `SSH_CONNECTION` that are looked at. sshd writes two addresses of at most 50 and two ports.
const CONNECTION_BYTES: usize = 128;
/// Bytes of a scope behind an IPv6 address: the name of an interface.
const SCOPE_BYTES: usize = 16;
/// cgroups of systemd's gettys, without the terminal.
const GETTYS: &[&[u8]] = &[
    b"/system.slice/system-getty.slice/getty@",
    br"/system.slice/system-serial\x2dgetty.slice/serial-getty@",
];
/// Bytes of the name of a terminal.
const TTY_BYTES: usize = 16;
/// The inode of `/dev/pts/0`: N has 3 + N (`devpts_pty_new` of Linux).
const FIRST_PTS_INODE: u64 = 3;

/// Knows login servers of the host.
#[derive(Debug)]
pub struct LoginServers {
    host: HostNamespaces,
}

impl LoginServers {
    /// Of the host that has these namespaces.
    pub fn new(host: HostNamespaces) -> Self {
        Self { host }
    }

    /// Which server's program a process runs. A path says nothing in a container, or where somebody mounts what he likes.
    fn program(&self, process: &Process) -> Option<LoginWay> {
        let namespaces = &process.namespaces;
        if (namespaces.mount, namespaces.user) != (self.host.mount, self.host.user) {
            return None;
        }
        let exe = process.image.exe.as_bytes();
        let (way, _) = SERVERS.iter().find(|(_, paths)| paths.iter().any(|path| path.as_bytes() == exe))?;
        // `login -h HOST` serves who came in by a network: it is no console.
        let remote =
            *way == LoginWay::Console && process.image.argv.iter().any(|argument| argument == &"-h".into());
        (!remote).then_some(*way)
    }
}

impl Logins for LoginServers {
    fn at_exec(&self, process: &Process, before: &LoginState) -> LoginState {
        let state = self.login_at_exec(process, before);
        let is_begun = |login: &Arc<Login>| !before.login.as_ref().is_some_and(|was| Arc::ptr_eq(was, login));
        // Who logs in to a server that a job has started is in none.
        if before.server.is_some() && state.login.as_ref().is_some_and(is_begun) {
            return state;
        }
        let (runner, ci) = ci::at_exec(process, before, state.login.as_ref(), self.host);
        LoginState { runner, ci, ..state }
    }
}

impl LoginServers {
    fn login_at_exec(&self, process: &Process, before: &LoginState) -> LoginState {
        // Its fork was lost, and so may be that of a shell, whose next exec could say what its user likes.
        if process.origin == Origin::Inferred {
            return LoginState { login: before.login.clone(), ..LoginState::default() };
        }
        if let Some(way) = self.program(process) {
            let by_root = (process.ids.uid, process.ids.euid) == (0, 0);
            // /proc does not tell a fork of the server that has given up its rights from what a user's shell has executed
            // in its own place.
            let found = process.origin == Origin::Inventoried;
            let perhaps_fork = found && before.server.as_ref().is_some_and(|server| server.way == way);
            if by_root || perhaps_fork {
                let tty = (way == LoginWay::Console).then(|| getty(process.cgroup.path.as_bytes())).flatten();
                let server = LoginServer { way, doubtful: !by_root, tty };
                return LoginState {
                    server: Some(server),
                    login: before.login.clone(),
                    ..LoginState::default()
                };
            }
        }
        let begun = before.server.as_ref().and_then(|server| begin(server, process)).map(Into::into);
        let inherited = || before.login.as_ref().map(|login| job::part(login, process, self.host));
        LoginState { login: begun.or_else(inherited), ..LoginState::default() }
    }
}

/// The login that begins with the program that a server has executed.
fn begin(server: &LoginServer, process: &Process) -> Option<Login> {
    let way = server.way;
    let image = &process.image;
    let variable = |name: &str| {
        let marker = image.markers.iter().find(|marker| marker.name.as_bytes() == name.as_bytes())?;
        marker.value.as_ref().map(|value| value.as_bytes())
    };
    let (mut connection, mut tty) = (None, server.tty.clone());
    if way == LoginWay::Ssh {
        let ends = variable("SSH_CONNECTION");
        // What sshd runs for itself (AuthorizedKeysCommand) has none.
        if ends.is_none() && !image.markers_truncated {
            return None;
        }
        connection = ends.and_then(parse_connection);
        // Without a terminal the variable could be the client's: but then standard input is a pipe or a socket.
        let [input, ..] = &image.stdio;
        let is_input = |number: &u32| {
            input.kind == StdioKind::CharacterDevice && input.inode == u64::from(*number) + FIRST_PTS_INODE
        };
        let number = variable("SSH_TTY").and_then(parse_pts).filter(is_input);
        tty = number.map(|number| format!("pts/{number}").into());
    }
    Some(Login {
        way,
        connection,
        tty,
        found_running: server.doubtful || process.origin == Origin::Inventoried,
        login_uid: process.ids.login_uid,
        session_id: process.ids.session_id,
        job: job::begin(way, process),
    })
}

/// `PEER PORT LOCAL PORT`. `None` for anything else: sshd says `UNKNOWN` of a connection that is no socket, and a path of
/// one that is a Unix socket.
fn parse_connection(text: &[u8]) -> Option<SshConnection> {
    let text = std::str::from_utf8(text.get(..CONNECTION_BYTES).map_or(text, |_| &[])).ok()?;
    let mut fields = text.split(' ');
    let mut end = || Some(SocketAddr::new(parse_address(fields.next()?)?, parse_number(fields.next()?)?));
    let (peer, local) = (end()?, end()?);
    fields.next().is_none().then_some(SshConnection { peer, local })
}

/// An address without its scope (`fe80::1%eth0`): that is a name of this host's.
fn parse_address(text: &str) -> Option<IpAddr> {
    let Some((address, scope)) = text.split_once('%') else {
        return text.parse().ok().map(|address: IpAddr| address.to_canonical());
    };
    let scope_fits =
        (1..=SCOPE_BYTES).contains(&scope.len()) && scope.bytes().all(|byte| byte.is_ascii_graphic());
    address.parse().ok().filter(|_: &Ipv6Addr| scope_fits).map(IpAddr::V6)
}

/// A number as sshd prints it: digits alone, without leading zeros.
fn parse_number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// The number of `/dev/pts/N`.
fn parse_pts(text: &[u8]) -> Option<u32> {
    parse_number(std::str::from_utf8(text.strip_prefix(b"/dev/pts/")?).ok()?)
}

/// The terminal of a cgroup of systemd's getty@.service or serial-getty@.service, in which login(1) starts: the session's
/// own scope comes later.
fn getty(cgroup: &[u8]) -> Option<Arc<str>> {
    let tty = GETTYS.iter().find_map(|unit| cgroup.strip_prefix(*unit))?.strip_suffix(b".service")?;
    let plain = (1..=TTY_BYTES).contains(&tty.len()) && tty.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(tty).ok().filter(|_| plain).map(Into::into)
}

/// How the login came about, and whether it is still what it was. No identity: who somebody is follows from the login uid.
#[derive(Debug)]
pub(super) struct LoginEvidence;

impl Resolver for LoginEvidence {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Some(login) = &subject.process.login.login else { return Finding::default() };
        let way = login.way.name();
        let rest = [
            login.connection.map(|SshConnection { peer, local }| format!(" from {peer} to {local}")),
            login.tty.as_ref().map(|tty| format!(" on {tty}")),
        ];
        let rest: String = rest.into_iter().flatten().collect();
        let say = |kind, detail, confidence| Evidence { kind, detail, confidence };
        let mut evidence = Vec::new();
        if login.found_running {
            evidence.push(say("login", format!("{way}, found running"), Confidence::Observed));
            if !rest.is_empty() {
                evidence.push(say("login_environment", format!("{way}{rest}"), Confidence::Claimed));
            }
        } else {
            evidence.push(say("login", format!("{way}{rest}"), Confidence::Observed));
        }
        let ids = &subject.actor.ids;
        let (was, is) = ((login.login_uid, login.session_id), (ids.login_uid, ids.session_id));
        // A login uid that is not set may be set by anybody: that is no loss.
        if login.login_uid.is_some() && was != is {
            let told = |login| session(login, subject.users);
            let detail = format!("was {}; is {}", told(was), told(is));
            evidence.push(say("session_lost", detail, Confidence::Observed));
        }
        Finding { identity: None, evidence }
    }
}

/// `login uid 1000 (alice), audit session 3`.
fn session((uid, session): (Option<u32>, Option<u32>), users: &Users) -> String {
    let uid = uid.map_or_else(
        || "no login uid".to_owned(),
        |uid| format!("login uid {uid} ({})", users.name(uid).escape_ascii()),
    );
    let session =
        session.map_or_else(|| "no audit session".to_owned(), |number| format!("audit session {number}"));
    format!("{uid}, {session}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(ends: &SshConnection) -> String {
        let SshConnection { peer, local } = ends;
        format!("{} {} {} {}", peer.ip(), peer.port(), local.ip(), local.port())
    }

    #[test]
    fn what_sshd_writes_is_read() {
        for (written, peer) in [
            ("203.0.113.7 50022 198.51.100.7 22", "203.0.113.7:50022"),
            ("2001:db8::7 1 2001:db8::1 65535", "[2001:db8::7]:1"),
            ("fe80::1%eth0 50022 fe80::2%eth0 22", "[fe80::1]:50022"),
            ("::ffff:203.0.113.7 50022 ::ffff:198.51.100.7 22", "203.0.113.7:50022"),
        ] {
            let read = parse_connection(written.as_bytes()).map(|ends| ends.peer.to_string());
            assert_eq!(read.as_deref(), Some(peer), "{written}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        let long = format!("fe80::1%{} 1 ::1 2", "e".repeat(SCOPE_BYTES + 1));
        let longer = format!("203.0.113.7 50022 198.51.100.7 {}22", "0".repeat(CONNECTION_BYTES));
        for other in [
            "",
            "UNKNOWN 65535 UNKNOWN 65535",
            "203.0.113.7 50022",
            "203.0.113.7 50022 198.51.100.7",
            "203.0.113.7 50022 198.51.100.7 22 x",
            "203.0.113.7 50022 198.51.100.7 22 ",
            "203.0.113.7  50022 198.51.100.7 22",
            "203.0.113.7 +50022 198.51.100.7 22",
            "203.0.113.7 050022 198.51.100.7 22",
            "203.0.113.7 65536 198.51.100.7 22",
            "203.0.113.7%eth0 1 ::1 2",
            "fe80::1% 1 ::1 2",
            "/run/ssh 65535 /run/ssh 65535",
            &long,
            &longer,
        ] {
            assert_eq!(parse_connection(other.as_bytes()), None, "{other}");
        }
        for other in
            ["", "/dev/pts/", "/dev/pts/-1", "/dev/pts/+1", "/dev/pts/01", "/dev/pts/4294967296", "pts/1"]
        {
            assert_eq!(parse_pts(other.as_bytes()), None, "{other}");
        }
        assert_eq!(parse_pts(b"/dev/pts/0"), Some(0));
    }

    #[test]
    fn a_gettys_unit_names_its_terminal() {
        for (cgroup, tty) in [
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("tty1")),
            (r"/system.slice/system-serial\x2dgetty.slice/serial-getty@ttyS0.service", Some("ttyS0")),
            ("/system.slice/system-getty.slice/getty@.service", None),
            ("/system.slice/system-getty.slice/getty@tty1.service/x.service", None),
            ("/system.slice/system-getty.slice/getty@ttyttyttyttyttyt1.service", None),
            ("/user.slice/system.slice/system-getty.slice/getty@tty1.service", None),
            ("", None),
        ] {
            assert_eq!(getty(cgroup.as_bytes()).as_deref(), tty, "{cgroup}");
        }
    }

    proptest! {
        #[test]
        fn any_connection_is_read_back(peer: (IpAddr, u16), local: (IpAddr, u16)) {
            let canonical = |(address, port): (IpAddr, u16)| SocketAddr::new(address.to_canonical(), port);
            let ends = SshConnection { peer: canonical(peer), local: canonical(local) };
            prop_assert_eq!(parse_connection(text(&ends).as_bytes()), Some(ends));
        }

        #[test]
        fn any_bytes_may_stand_there(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(ends) = parse_connection(&bytes) {
                prop_assert!(bytes.len() <= CONNECTION_BYTES);
                prop_assert_eq!(parse_connection(text(&ends).as_bytes()), Some(ends));
            }
            parse_pts(&bytes);
        }
    }
}
