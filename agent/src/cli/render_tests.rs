//! Lines as they look, at several widths.

use super::*;
use crate::model::bytes::{RawBytes, is_unprintable};
use crate::model::event::{Event, What};
use crate::ship::wire::examples;

fn renderer(width: Option<usize>) -> Renderer {
    Renderer { width, coloured: false, hosts: false, zone: TimeZone::UTC, users: None }
}

fn lines(renderer: &Renderer, events: &[Event]) -> Vec<String> {
    examples::batch(events).views().map(|view| renderer.line(view)).collect()
}

fn shown(width: Option<usize>) -> String {
    let events: Vec<_> = examples::all().into_iter().map(|(_, event)| event).collect();
    lines(&renderer(width), &events).join("\n")
}

fn check(width: Option<usize>, expected: &str) {
    let shown = shown(width);
    assert!(shown == expected.trim_matches('\n'), "at {width:?}:\n{shown}");
}

#[test]
fn at_60_columns() {
    check(
        Some(60),
        r"
03:04:05 human/alice  curl[4321]   tcp   192.0.2.10:443 ok
03:04:05 human/alice  curl[4321]   tcp   [2001:…:8080 failed
03:04:05 human/alice  curl[4321]   tcp   192.0…0:443 unknown
03:04:05 human/alice  curl[4321]   udp   192.0.2.53:53
03:04:05 agent/…alice pytho…[4322] read  …e/.aws/credentials
03:04:05 human/alice  cat[4323]    rw    …ice/caf\xe9/id_rsa
03:04:06 192.0.2.53:53 again, 12 times (socket 8194)
03:04:06 LOST 17 connection records in kernel: dropped_ring…
03:04:06 telltale 0.1.0: heartbeat, detached cgroup/connect4
03:05:05 human/alice  curl[4321]   tcp   192.0.2.10:443 open
03:05:26 human/alice  curl[4321]   tcp   192.0.…0:443 closed
03:05:27 human/alice  curl[4321]   sock  packet raw
03:05:28 human/alice  curl[4321]   conn  …XXXabcd/agent.4100
03:05:29 human/alice  curl[4321]   open  /etc/shadow refused
03:05:30 human/alice  curl[4321]   open  /etc/shadow refused
03:05:28 human/alice  curl[4321]   name  login.example.org
03:05:31 human/alice  curl[4321]   move  …e/.aws/credentials
03:05:32 human/alice  gdb[4324]    vm-rd sshd[812] svc/ssh
03:05:33 human/alice  gdb[4324]    env   sshd[812] refused
03:05:34 vm-rd of process 812 again, 3 times (process 4324)
03:05:35 human/alice  curl[4321]   key   …LE.COM@EXAMPLE.COM
03:05:36 human/alice  curl[4321]   key   … 812345678 refused
03:05:37 human/alice  ssh[4325]    read  …ce/.ssh/id_ed25519
03:05:38 k8s/pr…rator opera…[4326] read  …rviceaccount/token
03:05:39 read /home/alice/.ssh/id_ed25519 again, 4 times (s…
03:05:40 human/alice  curl[4321]   tcp   127.0.0.1:5432 ok
03:05:41 human/alice  curl[4321]   tcp   169.254.….254:80 ok
",
    );
}

#[test]
fn at_100_columns() {
    check(
        Some(100),
        r"
03:04:05 human/alice      curl[4321] alice  tcp   192.0.2.10:443 established  … › claude › bash
03:04:05 human/alice      curl[4321] root   tcp   [2001:db8::1]:8080 failed   … › claude › bash
03:04:05 human/alice      curl[4321] alice  tcp   192.0.2.10:443 unknown      … › claude › bash
03:04:05 human/alice      curl[4321] alice  udp   192.0.2.53:53               … › claude › bash
03:04:05 agent/cl…n/alice python3.11[4322]  read  …ome/alice/.aws/credentials … › claude › bash
03:04:05 human/alice      cat[4323] alice   rw    …e/caf\xe9/id_rsa truncated … › claude › bash
03:04:06 192.0.2.53:53 again, 12 times (socket 8194)
03:04:06 LOST 17 connection records in kernel: dropped_ring_full
03:04:06 telltale 0.1.0: heartbeat, detached cgroup/connect4
03:05:05 human/alice      curl[4321] alice  tcp   192.0.2.10:443 open         … › claude › bash
03:05:26 human/alice      curl[4321] alice  tcp   192.0.2.10:443 closed       … › claude › bash
03:05:27 human/alice      curl[4321] alice  sock  packet raw protocol 3       … › claude › bash
03:05:28 human/alice      curl[4321] alice  conn  …mp/ssh-XXXXabcd/agent.4100 … › claude › bash
03:05:29 human/alice      curl[4321] alice  open  /etc/shadow refused: EACCES … › claude › bash
03:05:30 human/alice      curl[4321] alice  open  /etc/shadow refused: EACCES … › claude › bash
03:05:28 human/alice      curl[4321] alice  name  login.example.org           … › claude › bash
03:05:31 human/alice      curl[4321] alice  move  …ome/alice/.aws/credentials … › claude › bash
03:05:32 human/alice      gdb[4324] alice   vm-rd sshd[812] svc/ssh           … › claude › bash
03:05:33 human/alice      gdb[4324] alice   env   sshd[812] refused: EACCES   … › claude › bash
03:05:34 vm-rd of process 812 again, 3 times (process 4324)
03:05:35 human/alice      curl[4321] alice  key   …gt/EXAMPLE.COM@EXAMPLE.COM … › claude › bash
03:05:36 human/alice      curl[4321] alice  key   number 812345678 refused    … › claude › bash
03:05:37 human/alice      ssh[4325] alice   read  /home/alice/.ssh/id_ed25519 … › claude › bash
03:05:38 k8s/prod…perator operator[4326]    read  …es.io/serviceaccount/token containerd-…im-runc-v2
03:05:39 read /home/alice/.ssh/id_ed25519 again, 4 times (ssh of human/alice, expected)
03:05:40 human/alice      curl[4321] alice  tcp   127.0.0.1:5432 established  … › claude › bash
03:05:41 human/alice      curl[4321] alice  tcp   169.254.169.254:80 ok       … › claude › bash
",
    );
}

#[test]
fn at_200_columns() {
    check(
        Some(200),
        r"
03:04:05.000  human/alice                     curl[4321] alice              tcp   192.0.2.10:443 established 0.4 ms                       sshd › bash › claude › bash
03:04:05.000  human/alice                     curl[4321] root               tcp   [2001:db8::1]:8080 ECONNREFUSED 0.4 ms                  sshd › bash › claude › bash
03:04:05.000  human/alice                     curl[4321] alice              tcp   192.0.2.10:443 unknown: timed_out                       … › sshd › bash › claude › bash
03:04:05.000  human/alice                     curl[4321] alice              udp   192.0.2.53:53                                           sshd › bash › claude › bash
03:04:05.041  agent/claude-code@human/alice   python3.11[4322] alice        read  /home/alice/.aws/credentials aws-credentials            sshd › bash › claude › bash
03:04:05.042  human/alice                     cat[4323] alice               rw    /home/alice/caf\xe9/id_rsa truncated ssh-private-key    sshd › bash › claude › bash
03:04:06.000  192.0.2.53:53 again, 12 times (socket 8194)
03:04:06.000  LOST 17 connection records in kernel: dropped_ring_full
03:04:06.000  telltale 0.1.0: heartbeat, detached cgroup/connect4
03:05:05.000  human/alice                     curl[4321] alice              tcp   192.0.2.10:443 open 1.8 kB out, 9.4 MB in 60.0 s        sshd › bash › claude › bash
03:05:26.300  human/alice                     curl[4321] alice              tcp   192.0.2.10:443 closed: ECONNRESET                       sshd › bash › claude › bash
03:05:27.000  human/alice                     curl[4321] alice              sock  packet raw protocol 3                                   sshd › bash › claude › bash
03:05:28.000  human/alice                     curl[4321] alice              conn  /tmp/ssh-XXXXabcd/agent.4100 ssh-agent                  sshd › bash › claude › bash
03:05:29.000  human/alice                     curl[4321] alice              open  /etc/shadow refused: EACCES shadow                      sshd › bash › claude › bash
03:05:30.000  human/alice                     curl[4321] alice              open  /etc/shadow refused: EACCES shadow                      sshd › bash › claude › bash
03:05:28.500  human/alice                     curl[4321] alice              name  login.example.org at 192.0.2.10:443 (api.example.com)   sshd › bash › claude › bash
03:05:31.000  human/alice                     curl[4321] alice              move  /home/alice/.aws/credentials → /home/alice/notes.txt    sshd › bash › claude › bash
03:05:32.000  human/alice                     gdb[4324] alice               vm-rd sshd[812] svc/ssh                                       sshd › bash › claude › bash
03:05:33.000  human/alice                     gdb[4324] alice               env   sshd[812] refused: EACCES svc/ssh                       sshd › bash › claude › bash
03:05:34.000  vm-rd of process 812 again, 3 times (process 4324)
03:05:35.000  human/alice                     curl[4321] alice              key   user krbtgt/EXAMPLE.COM@EXAMPLE.COM 812345678           sshd › bash › claude › bash
03:05:36.000  human/alice                     curl[4321] alice              key   number 812345678 refused: EACCES                        sshd › bash › claude › bash
03:05:37.000  human/alice                     ssh[4325] alice               read  /home/alice/.ssh/id_ed25519 ssh-private-key (expected)  sshd › bash › claude › bash
03:05:38.000  k8s/production/…rator/operator  operator[4326] uid:65532      read  /var/run/secrets/kubernetes.io/serviceaccount/token     containerd-shim-runc-v2
03:05:39.000  read /home/alice/.ssh/id_ed25519 again, 4 times (ssh of human/alice, expected)
03:05:40.000  human/alice                     curl[4321] alice              tcp   127.0.0.1:5432 → svc/postgresql established 0.4 ms      sshd › bash › claude › bash
03:05:41.000  human/alice                     curl[4321] alice              tcp   169.254.169.254:80 → metadata/instance established      sshd › bash › claude › bash
",
    );
}

#[test]
fn without_a_terminal() {
    check(
        None,
        r"
03:04:05.000  human/alice               curl[4321] alice        tcp   192.0.2.10:443 established 0.4 ms               sshd › bash › claude › bash
03:04:05.000  human/alice               curl[4321] root         tcp   [2001:db8::1]:8080 ECONNREFUSED 0.4 ms          sshd › bash › claude › bash
03:04:05.000  human/alice               curl[4321] alice        tcp   192.0.2.10:443 unknown: timed_out               … › sshd › bash › claude › bash
03:04:05.000  human/alice               curl[4321] alice        udp   192.0.2.53:53                                   sshd › bash › claude › bash
03:04:05.041  agent/claude-code@human/alice (ssh from 203.0.113.7)  python3.11[4322] alice  read  /home/alice/.aws/credentials aws-credentials    sshd › bash › claude › bash
03:04:05.042  human/alice               cat[4323] alice         rw    /home/alice/caf\xe9/id_rsa truncated ssh-private-key  sshd › bash › claude › bash
03:04:06.000  192.0.2.53:53 again, 12 times (socket 8194)
03:04:06.000  LOST 17 connection records in kernel: dropped_ring_full
03:04:06.000  telltale 0.1.0: heartbeat, detached cgroup/connect4
03:05:05.000  human/alice               curl[4321] alice        tcp   192.0.2.10:443 open 1.8 kB out, 9.4 MB in 60.0 s  sshd › bash › claude › bash
03:05:26.300  human/alice               curl[4321] alice        tcp   192.0.2.10:443 closed: ECONNRESET 2.4 kB out, 12.8 MB in 81.3 s  sshd › bash › claude › bash
03:05:27.000  human/alice               curl[4321] alice        sock  packet raw protocol 3                           sshd › bash › claude › bash
03:05:28.000  human/alice               curl[4321] alice        conn  /tmp/ssh-XXXXabcd/agent.4100 ssh-agent          sshd › bash › claude › bash
03:05:29.000  human/alice               curl[4321] alice        open  /etc/shadow refused: EACCES shadow              sshd › bash › claude › bash
03:05:30.000  human/alice               curl[4321] alice        open  /etc/shadow refused: EACCES shadow              sshd › bash › claude › bash
03:05:28.500  human/alice               curl[4321] alice        name  login.example.org at 192.0.2.10:443 (api.example.com)  sshd › bash › claude › bash
03:05:31.000  human/alice               curl[4321] alice        move  /home/alice/.aws/credentials → /home/alice/notes.txt aws-credentials  sshd › bash › claude › bash
03:05:32.000  human/alice               gdb[4324] alice         vm-rd sshd[812] svc/ssh                               sshd › bash › claude › bash
03:05:33.000  human/alice               gdb[4324] alice         env   sshd[812] refused: EACCES svc/ssh               sshd › bash › claude › bash
03:05:34.000  vm-rd of process 812 again, 3 times (process 4324)
03:05:35.000  human/alice               curl[4321] alice        key   user krbtgt/EXAMPLE.COM@EXAMPLE.COM 812345678   sshd › bash › claude › bash
03:05:36.000  human/alice               curl[4321] alice        key   number 812345678 refused: EACCES                sshd › bash › claude › bash
03:05:37.000  human/alice               ssh[4325] alice         read  /home/alice/.ssh/id_ed25519 ssh-private-key (expected)  sshd › bash › claude › bash
03:05:38.000  k8s/production/shop/deployment/operator/operator  operator[4326] uid:65532  read  /var/run/secrets/kubernetes.io/serviceaccount/token kubernetes-service-account  containerd-shim-runc-v2
03:05:39.000  read /home/alice/.ssh/id_ed25519 again, 4 times (ssh of human/alice, expected)
03:05:40.000  human/alice               curl[4321] alice        tcp   127.0.0.1:5432 → svc/postgresql established 0.4 ms  sshd › bash › claude › bash
03:05:41.000  human/alice               curl[4321] alice        tcp   169.254.169.254:80 → metadata/instance established 0.4 ms  sshd › bash › claude › bash
",
    );
}

#[test]
fn names_are_shown_and_claims_as_such() {
    use crate::model::act::Outcome;
    use crate::model::name::{Names, Source};
    let line = |names: Names, width| {
        let mut connection = examples::connection(Outcome::Established);
        connection.names = names;
        let activity = examples::activity(examples::curl(), "cgroup/connect4", What::Connection(connection));
        lines(&renderer(width), &[examples::event(10_000_000_000, activity)]).remove(0)
    };
    let known = examples::names();
    assert!(line(known.clone(), None).contains("192.0.2.10:443 (api.example.com) established 0.4 ms"));
    assert!(line(known.clone(), Some(100)).contains("192.0.2.10:443 established "));
    let mut claimed = Names { destination: None, ..known };
    claimed.claims.retain(|claim| claim.source != Source::Resolver);
    assert!(line(claimed.clone(), None).contains("443 (claims login.example.org) established 0.4 ms"));
    claimed.claims.pop();
    assert!(line(claimed, None).contains("443 (claims www.example.net) established 0.4 ms"));
}

#[test]
fn a_login_is_shown_where_there_is_room() {
    use std::sync::Arc;

    use crate::model::act::Outcome;
    use crate::model::process::{Login, LoginWay};
    let line = |login: Login, width| {
        let what = What::Connection(examples::connection(Outcome::Established));
        let mut activity = examples::activity(examples::curl(), "cgroup/connect4", what);
        Arc::make_mut(&mut activity.attribution).login = Some(Arc::new(login));
        lines(&renderer(width), &[examples::event(10_000_000_000, activity)]).remove(0)
    };
    let ssh = examples::over_ssh();
    for (width, shown) in [
        (None, "  human/alice (ssh from 203.0.113.7)  "),
        (Some(200), "  human/alice (ssh 203.0.113.7)  "),
        (Some(160), "  human/alice (ssh)  "),
        (Some(80), " human/alice (ssh) "),
        (Some(60), " human/alice "),
    ] {
        let line = line(ssh.clone(), width);
        assert!(line.contains(shown), "{width:?}: {line}");
    }
    let found = line(Login { found_running: true, ..ssh.clone() }, None);
    assert!(found.contains("  human/alice (ssh)  "), "{found}");
    let job = line(Login { way: LoginWay::Cron, connection: None, ..ssh }, None);
    assert!(job.contains("  human/alice  "), "{job}");
}

fn hostile() -> Event {
    let mut process = examples::process(7, "/tmp/\u{1b}]0;x\u{7}\u{202e}exe\n12:00 fake", &["x"]);
    process.origin = crate::model::process::Origin::Inferred;
    let path = RawBytes::from(&b"/home/\xff\xfe/\x1b[2J\n/id_rsa"[..]);
    let mut activity =
        examples::activity(process, "lsm/file_open", What::CredentialAccess(examples::credential(path)));
    activity.actor.comm = "\r\u{9b}2J".into();
    activity.why.lineage[0] = std::sync::Arc::new(examples::process(8, "/\u{2066}日本\t", &[]));
    examples::event(10_000_000_000, activity)
}

#[test]
fn nothing_hostile_reaches_the_terminal_and_no_line_is_too_wide() {
    let mut events: Vec<_> = examples::all().into_iter().map(|(_, event)| event).collect();
    events.push(hostile());
    for columns in [Some(1), Some(40), Some(60), Some(89), Some(90), Some(119), Some(120), Some(200), None] {
        for hosts in [false, true] {
            let renderer = Renderer { hosts, ..renderer(columns) };
            for line in lines(&renderer, &events) {
                assert_eq!(line.chars().find(|c| is_unprintable(*c)), None, "{line:?}");
                let room = columns.map_or(usize::MAX, |columns| columns.max(40));
                assert!(width(&line) <= room, "{} columns at {columns:?}: {line}", width(&line));
            }
        }
    }
    let whole = lines(&renderer(None), &[hostile()]).remove(0);
    assert!(whole.contains(r"\u{1b}]0;x\u{7}\u{202e}exe\n12:00 fake[7]"), "{whole}");
    assert!(whole.contains(r"/home/\xff\xfe/\u{1b}[2J\n/id_rsa"), "{whole}");
}

#[test]
fn colours_tell_failures_and_credentials() {
    let events: Vec<_> = examples::all().into_iter().map(|(_, event)| event).collect();
    let coloured = Renderer { coloured: true, ..renderer(None) };
    let plain: Vec<_> = lines(&renderer(None), &events);
    let painted = lines(&coloured, &events);
    assert!(painted[1].contains("\u{1b}[31m ECONNREFUSED\u{1b}[0m"), "{:?}", painted[1]);
    assert!(
        painted[4].contains("\u{1b}[1m\u{1b}[35m/home/alice/.aws/credentials\u{1b}[0m"),
        "{:?}",
        painted[4]
    );
    assert!(painted[7].contains("\u{1b}[1m\u{1b}[31mLOST 17 connection records"), "{:?}", painted[7]);
    for (painted, plain) in painted.iter().zip(&plain) {
        assert_eq!(&anstream::adapter::strip_str(painted).to_string(), plain);
    }
}

#[test]
fn users_have_names_where_they_are_known() {
    let mut process = examples::curl();
    process.ids.login_uid = None;
    (process.ids.uid, process.ids.euid) = (33, 0);
    let what = What::CredentialAccess(examples::credential("/etc/shadow".into()));
    let event = examples::event(10_000_000_000, examples::activity(process, "lsm/file_open", what));
    let mut renderer = renderer(None);
    assert!(lines(&renderer, std::slice::from_ref(&event))[0].contains("curl[4321] uid:33→root "));
    renderer.users = Some(std::sync::Arc::new(|uid| (uid == 33).then(|| "www-data".to_owned())));
    assert!(lines(&renderer, &[event])[0].contains("curl[4321] www-data→root "));
}

#[test]
fn durations_have_a_unit_that_fits_them() {
    for (ns, expected) in
        [(410_250, "0.4 ms"), (9_990_000, "10.0 ms"), (12_000_000, "12 ms"), (1_250_000_000, "1.2 s")]
    {
        assert_eq!(duration(ns), expected);
    }
}
