"""Real logins over loopback: what is told of each is how it came about, from where, and who it is.

usage: login.py TELLTALE SCRATCH USER    the agent, a directory that USER may enter, a user who may use sudo
"""

import json
import os
import pathlib
import pty
import pwd
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from proof import Agent, check, conclude, limit  # noqa: E402

TELLTALE, SCRATCH, USER = sys.argv[1], pathlib.Path(sys.argv[2]), pwd.getpwnam(sys.argv[3])
SPACE = f"telltale-{os.getpid()}"
PORT, OWN_PORT = 2222, 2223
HOME = pathlib.Path(USER.pw_dir)
CREDENTIAL = HOME / ".aws/credentials"
CODEX = HOME / "lib/node_modules/@openai/codex/bin/codex.js"
# Whoever waits for longer is given up.
LIMIT_S = limit(60)
FORGED = "192.0.2.66 6 192.0.2.1 22"

def in_space(command, **options):
    # `ip netns exec` would give it mounts of its own, too: then it is no program of the host's.
    return subprocess.Popen(["nsenter", f"--net=/run/netns/{SPACE}", *command], cwd="/", text=True, **options)


def read_as(name):
    """A command of a shell's that reads the credential under a name of its own."""
    return f"exec -a {name} cat {CREDENTIAL}"


def ssh(command, *options, port=PORT):
    """The command of a client. It says another peer as often as it can."""
    given = ["BatchMode=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={HOME}/known", "LogLevel=ERROR",
             "SendEnv=SSH_CONNECTION SSH_TTY"]
    options = [*options, *(word for option in given for word in ("-o", option))]
    return ["ssh", "-F", "none", "-i", f"{HOME}/key", "-p", str(port), *options, f"{USER.pw_name}@127.0.0.1", command]


def session(command, *options, **more):
    environment = dict(os.environ, SSH_CONNECTION=FORGED, SSH_TTY="/dev/pts/66")
    return in_space(ssh(command, *options), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    **{"stdin": subprocess.DEVNULL, **more})


def end_of(process):
    """What it has printed."""
    out, err = process.communicate(timeout=LIMIT_S)
    if process.returncode != 0:
        sys.exit(f"{process.args} fails ({process.returncode}): {err.strip()}")
    return out.strip()


def lay_out(sets_login_uid):
    for directory in [CREDENTIAL.parent, HOME / ".ssh", CODEX.parent]:
        directory.mkdir(parents=True)
    CREDENTIAL.write_text("[default]\n")
    read = json.dumps(f"cat {CREDENTIAL}")
    CODEX.write_text(f"require('child_process').execFileSync('/bin/sh', ['-c', {read} + '; true']);\n")
    for key in [SCRATCH / "host_key", HOME / "key"]:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    # Whoever may say more than sshd does, says another peer.
    public = (HOME / "key.pub").read_text()
    (HOME / ".ssh/authorized_keys").write_text(f'environment="SSH_CONNECTION={FORGED}" {public}')
    (HOME / ".ssh/environment").write_text(f"SSH_CONNECTION={FORGED}\nSSH_TTY=/dev/pts/66\n")
    shutil.copy(SCRATCH / "host_key", HOME / "host_key")
    common = ["StrictModes no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
              f"AuthorizedKeysFile {HOME}/.ssh/authorized_keys", "AcceptEnv SSH_CONNECTION SSH_TTY",
              "PermitUserEnvironment yes", "PrintMotd no"]
    config = [*common, f"Port {PORT}", "ListenAddress 127.0.0.1", f"HostKey {SCRATCH}/host_key", "PidFile none",
              f"UsePAM {'yes' if sets_login_uid else 'no'}"]
    (SCRATCH / "sshd_config").write_text("\n".join(config) + "\n")
    own = [*common, f"Port {OWN_PORT}", "ListenAddress 127.0.0.1", f"HostKey {HOME}/host_key", "UsePAM no",
           f"PidFile {HOME}/own.pid"]
    (HOME / "own_config").write_text("\n".join(own) + "\n")
    own_client = " ".join(f"'{word}'" for word in ssh("true", port=OWN_PORT)[:-1])
    (HOME / "steps.sh").write_text(f"""
        ({read_as("plain")}) >&2
        sudo -n bash -c '{read_as("sudo")}' >&2
        (export SSH_CONNECTION='{FORGED}' SSH_TTY=/dev/pts/66; exec bash -c '{read_as("forged")}') >&2
        # Once whoever made it has ended.
        (maker=$BASHPID; (while kill -0 $maker 2>/dev/null; do :; done; {read_as("daemon")}) >/dev/null 2>&1 &)
        tmux -S {HOME}/tmux new-session -d "exec bash -c '{read_as("tmux")}'"
        sudo -n node {CODEX} >&2
        sudo -n bash -c 'echo 4294967295 >/proc/self/loginuid; {read_as("lost")}' >&2
        /usr/sbin/sshd -f {HOME}/own_config -E {HOME}/own.log
        {own_client} '{read_as("private")}' >&2
        kill $(cat {HOME}/own.pid)
    """)
    # Of a shell that a login on a terminal starts, and no other here.
    (HOME / ".bash_profile").write_text(f"({read_as('console')})\nexit\n")
    for path in [HOME, *HOME.rglob("*")]:
        os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)


def may_set_login_uid():
    """Whether a login uid can be set here: pam_loginuid refuses the login else."""
    tried = subprocess.run(["bash", "-c", f"echo {USER.pw_uid} >/proc/self/loginuid"], stderr=subprocess.DEVNULL)
    return tried.returncode == 0


def console():
    """A login on a terminal, without a password, as getty starts one: it leads the terminal's session. What its shell does is
    in the user's profile: some of them hang up the terminal first, and what was typed before is gone."""
    ours, terminal = pty.openpty()
    command = ["setsid", "--ctty", "login", "-f", USER.pw_name]
    subprocess.run(command, stdin=terminal, stdout=terminal, stderr=terminal, timeout=LIMIT_S, check=True)
    os.close(ours)
    os.close(terminal)


def run_all(events, sets_login_uid):
    # Its PAM sets a login uid, and lets nobody in without.
    if sets_login_uid:
        console()
    end_of(session(f"bash {HOME}/steps.sh"))
    terminal = end_of(session(f"tty; bash -c '{read_as('terminal')}'", "-tt")).split()[0]
    subprocess.run(["bash", "-c", f"export SSH_CONNECTION='{FORGED}'; {read_as('outside')}"], check=True,
                   stdout=subprocess.DEVNULL)
    for name in ["daemon", "tmux", "outside"]:
        events.wait(lambda event: event["event"] == "credential_access" and event.get("argv", [""])[0] == name)
    return terminal.removeprefix("/dev/")


def details(event, kind):
    return [(piece["detail"], piece["confidence"]) for piece in event["evidence"] if piece["kind"] == kind]


def judge(told, terminal, sets_login_uid):
    reads = [event for event in told if event["event"] == "credential_access" and event["path"] == str(CREDENTIAL)]
    human = f"human/{USER.pw_name}" if sets_login_uid else None
    # What each client's end was, as the kernel had it.
    clients = [event for event in told if event["event"] == "connection" and event.get("remote_port") == PORT
               and event.get("exe", "").endswith("/ssh") and not event.get("held")]
    ends = [f"127.0.0.1:{event.get('local_port')}" for event in clients]
    check("two clients have come", len(ends) == 2, ends)
    first, second = (ends + ["?", "?"])[:2]

    def one(name):
        found = [event for event in reads if event.get("argv", [""])[0] == name]
        check(f"{name}: it is told", len(found) == 1, found)
        return found[0] if found else {"evidence": []}

    def expect(name, event, login, origin, tty=None, who=human):
        is_now = tuple(event.get(key) for key in ["login", "login_from", "login_tty", "human"])
        held = is_now == (login, origin, tty, who)
        check(f"{name}: login, peer, terminal, human", held, f"{is_now} by {event['evidence']}")

    for name in ["plain", "sudo", "forged", "daemon", "tmux", "private"]:
        event = one(name)
        expect(name, event, "ssh", first)
        if name == "sudo":
            check("sudo: it is root's by now", event.get("euid") == 0, event)
    expect("terminal", one("terminal"), "ssh", second, terminal)
    # Whoever runs the test may be in a login himself: then it is that one.
    outside = one("outside")
    check("outside: a variable makes no peer", "login_from" not in outside, outside)
    check("outside: and says nothing", FORGED.split()[0] not in str(outside["evidence"]), outside["evidence"])
    if sets_login_uid:
        expect("console", one("console"), "console", None)
        lost = one("lost")
        expect("lost", lost, "ssh", first, None, None)
        said = details(lost, "session_lost")
        check("lost: it was the user's", said and f"was login uid {USER.pw_uid} ({USER.pw_name})" in said[0][0], said)
        check("lost: nobody else has lost his", not any(details(event, "session_lost") for event in reads
                                                        if event.get("argv", [""])[0] != "lost"))
    found = one("found")
    expect("found running", found, "ssh", None)
    claims = details(found, "login_environment")
    check("found running: where from is a claim",
          claims and claims[0][0].startswith("ssh from 127.0.0.1:") and claims[0][1] == "claimed", claims)

    tools = [event for event in reads if event.get("role") == "tool"]
    check("agent: its tool reads the credential", len(tools) == 1, tools)
    for tool in tools:
        expect("agent's tool", tool, "ssh", first)
        if human:
            check("agent's tool: the human's agent", tool["identity"] == f"agent/codex@{human}" or
                  tool["identity"].startswith("agent/codex@svc/") or
                  tool["identity"].startswith("agent/codex@container/"), tool["identity"])
            owner = (tool.get("owner"), tool.get("owner_source"))
            check("agent's tool: who started it owns it", owner == (human, "starter"), owner)
        check("agent's tool: its session", bool(tool.get("agent_session")), tool)
        check("agent's tool: root's", tool["euid"] == 0, tool["euid"])
        above = [ancestor.get("exe", "").rsplit("/", 1)[-1] for ancestor in tool["lineage"]]
        met = iter(above)
        line = ["dash", "node", "sudo", "bash", "sshd"]
        check("agent's tool: why", all(any(exe == wanted or wanted == "dash" and exe == "sh" or
                                           wanted == "sshd" and exe == "sshd-session" for exe in met)
                                       for wanted in line), above)


def main():
    sets_login_uid = may_set_login_uid()
    if not sets_login_uid:
        print("no login uid can be set here: logins are without PAM, and no human is known")
    lay_out(sets_login_uid)
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    server = None
    try:
        subprocess.run(["ip", "-n", SPACE, "link", "set", "lo", "up"], check=True)
        # Its child is the server: nsenter becomes it.
        server = in_space(["/usr/sbin/sshd", "-D", "-f", SCRATCH / "sshd_config", "-E", SCRATCH / "sshd.log"],
                          env={"PATH": os.environ["PATH"]})
        early = early_session()
        events = Agent(TELLTALE, SCRATCH, LIMIT_S)
        try:
            events.wait_start()
            early.stdin.write("\n")
            end_of(early)
            terminal = run_all(events, sets_login_uid)
        finally:
            told = events.stop()
    finally:
        if server:
            server.terminate()
            server.wait(LIMIT_S)
        subprocess.run(["ip", "netns", "del", SPACE], check=False)
    judge(told, terminal, sets_login_uid)
    conclude()


def early_session():
    """A login that is there when the agent starts. The server may not listen yet."""
    for _ in range(50):
        early = session(f"echo ready; read; {read_as('found')}", stdin=subprocess.PIPE)
        if early.stdout.readline() == "ready\n":
            return early
        early.communicate(timeout=LIMIT_S)
        time.sleep(0.1)
    sys.exit(f"nobody can log in: {(SCRATCH / 'sshd.log').read_text()[-400:]}")


main()
