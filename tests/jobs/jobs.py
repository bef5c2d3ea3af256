"""Jobs of a real cron, anacron and atd, units with files, and a runner's layout: who is told to act.

usage: jobs.py TELLTALE SCRATCH USER    the agent, a directory that USER may enter, a user of the host
"""

import contextlib
import itertools
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from proof import Agent, check, conclude, limit  # noqa: E402

TELLTALE, SCRATCH, USER = sys.argv[1], pathlib.Path(sys.argv[2]), pwd.getpwnam(sys.argv[3])
MARK = USER.pw_name
HOME = pathlib.Path(USER.pw_dir)
CREDENTIAL = HOME / ".aws/credentials"
# Programs ask by the first of these whether systemd runs: it is not made here.
UNITS = next(path for path in map(pathlib.Path, ["/run/systemd/system", "/etc/systemd/system"]) if path.is_dir())
# cron looks once a minute.
LIMIT_S = limit(90)
# https://docs.github.com/en/actions/reference/workflows-and-actions/variables
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "octocat/Hello-World", "GITHUB_WORKFLOW": "Deploy", "GITHUB_JOB": "greeting_job"}
HELLO = "ci/github/octocat/Hello-World/Deploy/greeting_job"


def read_as(name):
    """A command of a shell's that reads the credential under a name of its own."""
    return f"exec -a {MARK}-{name} cat {CREDENTIAL}"


def script(path, name, mode=0o755):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n({read_as(name)}) >/dev/null 2>&1\ntrue\n")
    path.chmod(mode)
    return path


def lay_out():
    CREDENTIAL.parent.mkdir(parents=True)
    CREDENTIAL.write_text("[default]\n")
    script(HOME / "nightly.sh", "cron")
    script(HOME / "later.sh", "at")
    script(SCRATCH / "weekly.sh", "anacron")
    script(pathlib.Path("/etc/cron.hourly") / MARK, "part")
    # The runner of GitHub is a program of its own name, which executes a shell for each step.
    runner = HOME / "actions-runner/bin/Runner.Worker"
    runner.parent.mkdir(parents=True)
    shutil.copy("/bin/bash", runner)
    for path in [HOME, *HOME.rglob("*")]:
        os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)
    described = f"[Unit]\nDescription=Proof of \\\n# not a part of it\n  %p\n[X-Telltale]\nOwner=team: {MARK}\n[Service]\nType=oneshot\n"
    for name, text in [
        ("plain.service", described + "[Install]\nWantedBy=multi-user.target\n"),
        ("plain.timer", "[Timer]\nOnCalendar=daily\n"),
        ("timed.service", described),
        ("nightly.timer", f"[Timer]\nOnCalendar=daily\nUnit={MARK}-timed.service\n"),
        ("runner.service", "[Service]\nUser=nobody\n"),
    ]:
        path = UNITS / f"{MARK}-{name}"
        path.write_text(text)
        path.chmod(0o644)


def unified():
    """Where cgroups of version 2 are."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(where)
    return None


@contextlib.contextmanager
def unit(name):
    """A cgroup that is called as systemd calls that of a unit."""
    above = unified() / "system.slice"
    is_own = not above.exists()
    path = above / f"{MARK}-{name}.service"
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        path.rmdir()
        if is_own:
            with contextlib.suppress(OSError):
                above.rmdir()


def within(cgroup, command, uid=0, **variables):
    """Runs a shell's command in a cgroup, as a user."""
    line = f'echo $$ >"{cgroup}/cgroup.procs"; exec setpriv --reuid {uid} --clear-groups bash -c "$0"'
    subprocess.run(["bash", "-c", line, command], env=dict(os.environ, **variables), stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False)


def told(agent, name):
    is_it = lambda event: event["event"] == "credential_access" and event.get("argv", [""])[0] == f"{MARK}-{name}"
    return agent.wait(is_it) or {"evidence": []}


def kinds(event):
    return {piece["kind"]: (piece["detail"], piece["confidence"]) for piece in event["evidence"]}


def expect(agent, name, identity, login=None):
    event = told(agent, name)
    is_now = (event.get("identity"), event.get("login"))
    check(f"{name}: {identity}", is_now == (identity, login), f"{is_now} by {event['evidence']}")
    return event


def start_daemons():
    """cron and atd, where none runs; those that were started."""
    started = []
    for command, lock in [(["cron", "-f"], "/run/crond.pid"), (["atd", "-f"], "/run/atd.pid")]:
        try:
            pid = int(pathlib.Path(lock).read_text())
            is_there = command[0] in pathlib.Path(f"/proc/{pid}/comm").read_text()
        except (OSError, ValueError):
            is_there = False
        if not is_there:
            started.append(subprocess.Popen([f"/usr/sbin/{command[0]}", *command[1:]], cwd="/", stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL))
    return started


def begin_jobs():
    line = f"cd {HOME} && nice -n 1 ./nightly.sh\n"
    subprocess.run(["crontab", "-u", MARK, "-"], input=f"* * * * * {line}", text=True, check=True)
    table = pathlib.Path("/etc/cron.d") / MARK
    table.write_text(f"* * * * * root cd / && run-parts --regex=^{MARK}$ /etc/cron.hourly\n")
    table.chmod(0o644)
    as_user = ["setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--init-groups"]
    subprocess.run([*as_user, "at", "now"], input=f"{HOME}/later.sh\n", text=True, cwd="/", check=True,
                   stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "HOME": str(HOME), "LOGNAME": MARK, "USER": MARK})
    spool = SCRATCH / "spool"
    spool.mkdir()
    (SCRATCH / "anacrontab").write_text(f"SHELL=/bin/sh\n1 0 {MARK} {SCRATCH}/weekly.sh\n")
    subprocess.run(["/usr/sbin/anacron", "-d", "-f", "-n", "-t", SCRATCH / "anacrontab", "-S", spool], timeout=LIMIT_S,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def settled(agent, name, cgroup):
    """What is told once the unit's files have been looked at, which is beside the event path."""
    end = time.monotonic() + LIMIT_S
    for attempt in itertools.count(1):
        within(cgroup, read_as(f"{name}{attempt}"))
        event = told(agent, f"{name}{attempt}")
        if "unit_fragment" in event or "unit_unknown" in kinds(event) or time.monotonic() > end:
            return event


def try_units(agent):
    with unit("plain") as cgroup:
        event = settled(agent, "plain", cgroup)
        check("plain: the unit", event.get("identity") == f"svc/{MARK}-plain", event["evidence"])
        fragment = f"{UNITS}/{MARK}-plain.service"
        says = tuple(event.get(key) for key in ["unit", "unit_fragment", "unit_description", "owner", "owner_source"])
        wanted = (f"{MARK}-plain.service", fragment, f"Proof of    {MARK}-plain", f"team: {MARK}", "unit")
        check("plain: what its file says", [str(part).split() for part in says] == [part.split() for part in wanted], says)
    with unit("timed") as cgroup:
        event = settled(agent, "timed", cgroup)
        check("timed: the timer", event.get("identity") == f"timer/{MARK}-nightly", event["evidence"])
        check("timed: by which timer", kinds(event).get("timer", ("", ""))[1] == "declared", event["evidence"])
    # What others can write says nothing.
    (UNITS / f"{MARK}-loose.service").write_text("[X-Telltale]\nOwner=mallory\n")
    (UNITS / f"{MARK}-loose.service").chmod(0o666)
    with unit("loose") as cgroup:
        event = settled(agent, "loose", cgroup)
        check("loose: the unit", event.get("identity") == f"svc/{MARK}-loose", event["evidence"])
        check("loose: its file is refused", "unit_unknown" in kinds(event) and "owner" not in event, event["evidence"])


def try_runner(agent):
    worker = f"{HOME}/actions-runner/bin/Runner.Worker"
    variables = " ".join(f"{name}={value}" for name, value in GITHUB.items())
    other = f"GITHUB_REPOSITORY=acme/other {variables}"
    step = lambda name: f"{variables} bash -c '({read_as(name)}); true'; true"
    with unit("runner") as cgroup:
        within(cgroup, f"exec {worker} -c \"{step('ci')}\"", USER.pw_uid)
        event = expect(agent, "ci", f"{HELLO}@svc/{MARK}-runner")
        check("ci: its runner says so", kinds(event).get("ci_job", ("", ""))[1] == "observed", event["evidence"])
        nested = f"{variables} bash -c '{worker} -c \\\"{other} bash -c \\\\\\\"{read_as('nested')}\\\\\\\"; true\\\"; true'; true"
        within(cgroup, f"exec {worker} -c \"{nested}\"", USER.pw_uid)
        expect(agent, "nested", f"{HELLO}@svc/{MARK}-runner")
        within(cgroup, read_as("exported"), USER.pw_uid, **GITHUB)
        expect(agent, "exported", f"svc/{MARK}-runner")


def try_search_order():
    """The directories of the code, against those that systemd itself names."""
    source = pathlib.Path(__file__).parents[2] / "agent/src/host/units/mod.rs"
    ours = source.read_text().split("const DIRECTORIES")[1].split("= [")[1].split("]")[0]
    ours = [part.strip().strip('"') for part in ours.split(",") if part.strip()]
    ran = subprocess.run(["systemd-analyze", "unit-paths"], capture_output=True, text=True, check=False)
    # Where /lib is a link the two are one.
    theirs = [path.replace("/lib/", "/usr/lib/") if path.startswith("/lib/") else path for path in ran.stdout.split()]
    merged = [path for path in ours if not path.startswith("/lib/")]
    theirs = list(dict.fromkeys(theirs))
    check("units are looked for where systemd does", [path for path in merged if path in theirs] == theirs, theirs)


def judge_replay(agent, recording):
    keys = ["boot_ns", "pid", "identity", "login", "owner", "owner_source", "unit", "unit_fragment", "unit_description"]
    of = lambda events: [[event.get(key) for key in keys] for event in events
                         if event["event"] == "credential_access" and event.get("argv", [""])[0].startswith(MARK)]
    ran = subprocess.run([TELLTALE, "replay", "--json", recording], capture_output=True, text=True, check=True)
    replayed, live = of(map(json.loads, ran.stdout.splitlines())), of(agent.told)
    check("a replay says the same", replayed == live and live, [pair for pair in zip(live, replayed) if pair[0] != pair[1]][:1])


def main():
    lay_out()
    try_search_order()
    recording = SCRATCH / "recording"
    agent = Agent(TELLTALE, SCRATCH, LIMIT_S, "--record", str(recording))
    daemons = []
    try:
        agent.wait_start()
        daemons = start_daemons()
        begin_jobs()
        expect(agent, "at", f"at/{MARK}", "at")
        expect(agent, "anacron", "cron/root/weekly.sh", "anacron")
        if unified():
            try_units(agent)
            try_runner(agent)
        else:
            print("no cgroups of version 2: units and runners are not tried")
        expect(agent, "cron", f"cron/{MARK}/nightly.sh", "cron")
        expect(agent, "part", f"cron/root/{MARK}", "cron")
    finally:
        for daemon in daemons:
            daemon.terminate()
            daemon.wait(LIMIT_S)
        agent.stop()
    judge_replay(agent, recording)
    conclude()


main()
