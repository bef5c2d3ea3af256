"""Real container engines, without a network: what is told of a container is its image, or its service.

Podman always; docker and containerd where they are installed. Containerd's daemon is the test's own, and docker's where
none runs; what is made in another's is taken away again.

usage: containers.py TELLTALE SCRATCH    the agent, a directory of the test's own
"""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from cri import LIMIT_S, Containerd, run, wait_for  # noqa: E402
from proof import Agent, check, conclude  # noqa: E402

TELLTALE, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2])
MARK = f"telltale-{os.getpid()}"
REPOSITORY = f"registry.example/{MARK}/box"
# Of the image that podman gets, and that docker gets under another name.
TAG = "1.2"
HOME, SIGNALS = SCRATCH / "home", SCRATCH / "signals"
READ = "cat /root/.aws/credentials >/dev/null; nc 127.0.0.1 9 </dev/null"
POD = {"name": "operator-65747dc769-pjztg", "uid": "4cad64d0-7a36-452a-8a08-bd3a694cdad5", "namespace": "shop"}
USER = 64_111


def skip(what, why):
    print(f"{'not tried':8} {what}: {why}", flush=True)


def reads(told, marker):
    """Reads of the credential with this argument in the reader's lineage, or its own."""
    return [event for event in told if is_read(event, marker)]


def is_read(event, marker):
    if event["event"] != "credential_access" or event["comm"] != "cat" or not event["path"].endswith("/.aws/credentials"):
        return False
    own = [event] + event.get("lineage", [])
    return any(marker in argument for who in own for argument in who.get("argv", []))


def make_files():
    for directory in [HOME / ".aws", SIGNALS]:
        directory.mkdir(parents=True)
    (HOME / ".aws/credentials").write_text("[default]\n")
    rootfs = SCRATCH / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), rootfs / "bin/busybox")
    for name in ["sh", "cat", "nc", "sleep"]:
        (rootfs / "bin" / name).symlink_to("busybox")
    for name in ["proc", "root", "dev", "sys", "tmp", "signals", "etc"]:
        (rootfs / name).mkdir()
    with tarfile.open(SCRATCH / "box.tar", "w") as tar:
        tar.add(rootfs, ".", filter=lambda it: it.replace(uid=0, gid=0, deep=False))


def script(name):
    """What a container runs: `name` tells its acts from others'."""
    return ["/bin/sh", "-c", f": {MARK}-{name}; {READ}; true"]


def podman(*words):
    return run("podman", "--cgroup-manager", "cgroupfs", *words)


def podman_run(name, *options, command=None):
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
    volumes = ["-v", f"{HOME}:/root", "-v", f"{SIGNALS}:/signals"]
    podman("run", "--runtime", "runc", *limits, "--network", "none", *volumes, "--name", f"{MARK}-{name}", *options,
           f"{REPOSITORY}:{TAG}", *(command or script(name)))
    return f"{MARK}-{name}"


class Docker:
    """A docker daemon, of the test's own where none runs, asked over its socket."""

    USUAL = "/var/run/docker.sock"

    # Docker's own, and what its containerd makes beside them.
    PLACES = [pathlib.Path(path) for path in ["/var/lib/docker", "/run/docker", "/run/containerd", "/opt/containerd"]]

    def __init__(self):
        self.containers, self.images, self.made, self.process = [], [], [], None
        self.socket = self.USUAL
        if not os.path.exists(self.USUAL):
            self.start()

    def start(self):
        self.made = [place for place in self.PLACES if not place.exists()]
        self.socket = str(SCRATCH / "docker.sock")
        log = open(SCRATCH / "dockerd.log", "w")
        self.process = subprocess.Popen(
            ["dockerd", "--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false",
             "--exec-opt", "native.cgroupdriver=cgroupfs", "-H", f"unix://{self.socket}",
             "--pidfile", str(SCRATCH / "docker.pid")], stdout=log, stderr=log)

    def why_not(self):
        """Why it cannot be asked, once it had time to start."""
        wait_for("docker starts", lambda: self.has_ended() or self.is_up())
        if self.has_ended():
            return f"it does not start: {(SCRATCH / 'dockerd.log').read_text().strip()[-300:]}"
        kept = self.ask("GET", "/info").get("DockerRootDir")
        return None if kept == "/var/lib/docker" else f"it keeps its containers in {kept}"

    def has_ended(self):
        return self.process is not None and self.process.poll() is not None

    def ask(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPConnection("localhost", timeout=LIMIT_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(LIMIT_S)
        connection.sock.connect(self.socket)
        with contextlib.closing(connection):
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            connection.request(method, f"/v1.41{path}", data, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status >= 400:
                sys.exit(f"docker: {method} {path}: {answer.status} {text[:300]}")
            return json.loads(text) if text.startswith("{") and "\n{" not in text.strip() else {}

    def is_up(self):
        try:
            self.ask("GET", "/version")
            return True
        except OSError:
            return False

    def load(self, repository, changes=""):
        tar = (SCRATCH / "box.tar").read_bytes()
        self.ask("POST", f"/images/create?fromSrc=-&repo={repository}&tag={TAG}{changes}", tar, "application/x-tar")
        self.images.append(f"{repository}:{TAG}")

    def run(self, name, image, labels=None):
        host = {"NetworkMode": "none", "Binds": [f"{HOME}:/root"]}
        made = self.ask("POST", f"/containers/create?name={MARK}-{name}",
                        {"Image": image, "Cmd": script(name), "Labels": labels or {}, "HostConfig": host})
        self.containers.append(made["Id"])
        self.ask("POST", f"/containers/{made['Id']}/start")
        self.ask("POST", f"/containers/{made['Id']}/wait")
        return made["Id"]

    def stop(self):
        for container in self.containers:
            self.ask("DELETE", f"/containers/{container}?force=1")
        for image in self.images:
            self.ask("DELETE", f"/images/{image}?force=1")
        if self.process:
            self.process.terminate()
            self.process.wait(LIMIT_S)
        for place in self.made:
            shutil.rmtree(place, ignore_errors=True)


def identity_of(agent, marker):
    agent.wait(lambda event: is_read(event, marker))
    found = reads(agent.told, marker)
    return found[-1] if found else {}


def judge_podman(agent, names, ids):
    expected = f"container/{REPOSITORY}"
    for name in names:
        event = identity_of(agent, f"{MARK}-{name}")
        check(f"podman, {name}: it is its image", event.get("identity") == expected, event)
        told = [event.get(key) for key in ["image", "image_tag", "container_id", "container_name", "container_engine"]]
        check(f"podman, {name}: image, tag, id, name", told == [REPOSITORY, TAG, ids[name], f"{MARK}-{name}", "podman"], told)
        connects = [it for it in agent.told if it["event"] == "connection" and it.get("container_id") == ids[name]]
        check(f"podman, {name}: its connection is its image's", {it["identity"] for it in connects} == {expected}, connects[:1])
        by_id = [it for it in agent.told if it.get("container_id") == ids[name] and it["identity"].startswith("container/podman/")]
        check(f"podman, {name}: nothing was told under its id", not by_id, by_id[:1])
    different = {identity_of(agent, f"{MARK}-{name}").get("container_id") for name in names}
    check("podman: different containers, one identity", len(different) == len(names), different)


def try_podman(agent, early):
    ids = {"early": early}
    (SIGNALS / "go").touch()
    for name in ["one", "two"]:
        podman_run(name)
        ids[name] = podman("inspect", "-f", "{{.Id}}", f"{MARK}-{name}")
    judge_podman(agent, ["early", "one", "two"], ids)
    return ids["early"]


def try_docker(agent):
    if not shutil.which("dockerd"):
        return skip("docker", "it is not installed")
    docker = Docker()
    try:
        why_not = docker.why_not()
        if why_not:
            return skip("docker", why_not)
        docker.load(f"{MARK}/box")
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db",
                  "com.docker.compose.config-hash": "0123"}
        changes = "LABEL " + " ".join(f"{name}={value}" for name, value in labels.items())
        change = "&" + urllib.parse.urlencode({"changes": changes})
        docker.load(f"evil.example/{MARK}/box", change)
        for name, image, own, expected in [
            ("plain", f"{MARK}/box:{TAG}", None, f"container/docker.io/{MARK}/box"),
            ("composed", f"{MARK}/box:{TAG}", labels, "container/compose/shop/db"),
            ("labelled", f"evil.example/{MARK}/box:{TAG}", None, f"container/evil.example/{MARK}/box"),
        ]:
            container = docker.run(name, image, own)
            event = identity_of(agent, f"{MARK}-{name}")
            check(f"docker, {name}: {expected}", event.get("identity") == expected, event)
            told = [event.get(key) for key in ["container_id", "container_name", "container_engine", "image_tag"]]
            check(f"docker, {name}: id, name, tag", told == [container, f"{MARK}-{name}", "docker", TAG], told)
    finally:
        docker.stop()


def try_containerd(agent):
    image = f"{REPOSITORY}:{TAG}"
    containerd = Containerd(SCRATCH, image)
    if containerd.why_not:
        return skip("containerd", containerd.why_not)
    try:
        podman("save", "--quiet", "--output", str(SCRATCH / "image.tar"), image)
        containerd.load(SCRATCH / "image.tar")
        container = containerd.run(POD, "operator", image, script("pod"), {"/root": HOME})
        event = identity_of(agent, f"{MARK}-pod")
        check("containerd: a pod's container is its image", event.get("identity") == f"container/{REPOSITORY}", event)
        keys = ["container_id", "container_engine", "container_name", "image_tag", "pod", "pod_namespace", "pod_uid"]
        pod = [POD[key] for key in ["name", "namespace", "uid"]]
        told = [event.get(key) for key in keys]
        check("containerd: pod, namespace, uid, name", told == [container, "containerd", "operator", TAG, *pod], told)
    finally:
        containerd.stop()


def cgroup_mount():
    for line in open("/proc/self/mountinfo"):
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return pathlib.Path(fields.split()[4])
    sys.exit("no cgroup v2 is mounted")


def try_forged(agent, container):
    """A user's own service manager may name its cgroups as it likes: here as a container that is there."""
    slices = cgroup_mount() / "user.slice"
    made = [slices / f"user-{USER}.slice"]
    made.append(made[-1] / f"user@{USER}.service")
    made.append(made[-1] / f"docker-{container}.scope")
    is_own = not slices.exists()
    made[-1].mkdir(parents=True)
    try:
        home = SCRATCH / "forger/.aws"
        home.mkdir(parents=True)
        (home / "credentials").write_text("[default]\n")
        for path in [SCRATCH / "forger", home, home / "credentials"]:
            os.chown(path, USER, USER)
        SCRATCH.chmod(0o755)
        user = f"setpriv --reuid={USER} --regid={USER} --clear-groups"
        line = f'echo $$ >"{made[-1]}/cgroup.procs"; exec {user} cat "{home}/credentials" {MARK}-forged'
        subprocess.run(["sh", "-c", line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False)
        event = identity_of(agent, f"{MARK}-forged")
        check("a user's scope with a container's name is no container", event.get("identity_kind") == "executable", event)
        check("nor has it the container's image", not {"image", "container_id", "container_name"} & event.keys(), event)
        kinds = {piece["kind"]: piece["confidence"] for piece in event.get("evidence", [])}
        check("it is told as a claim", kinds.get("container_claim") == "claimed", kinds)
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()
        if is_own:
            with contextlib.suppress(OSError):
                slices.rmdir()


def judge_replay(agent, recording):
    keys = ["boot_ns", "pid", "identity", "image", "image_tag", "container_id", "container_name", "container_engine", "path"]
    told = lambda events: [[event.get(key) for key in keys] for event in events if event["event"] == "credential_access"]
    lines = run(TELLTALE, "replay", "--json", recording).splitlines()
    replayed, live = told(map(json.loads, lines)), told(agent.told)
    check("a replay says the same", replayed == live and live, [pair for pair in zip(live, replayed) if pair[0] != pair[1]][:1])


def main():
    make_files()
    recording = str(SCRATCH / "recording")
    # A pod's pause container runs what the image says.
    podman("import", "--change", 'CMD ["/bin/sleep", "300"]', str(SCRATCH / "box.tar"), f"{REPOSITORY}:{TAG}")
    try:
        loop = f": {MARK}-early; while ! [ -e /signals/go ]; do sleep 0.1; done; {READ}; sleep 300"
        podman_run("early", "-d", command=["/bin/sh", "-c", loop])
        early = podman("inspect", "-f", "{{.Id}}", f"{MARK}-early")
        agent = Agent(TELLTALE, SCRATCH, LIMIT_S, "--record", str(recording))
        try:
            agent.wait_start()
            try_podman(agent, early)
            try_forged(agent, early)
            try_containerd(agent)
            try_docker(agent)
        finally:
            agent.stop()
        judge_replay(agent, recording)
    finally:
        for name in ["early", "one", "two"]:
            subprocess.run(["podman", "--cgroup-manager", "cgroupfs", "rm", "-f", "-t", "0", f"{MARK}-{name}"],
                           capture_output=True, check=False)
        subprocess.run(["podman", "rmi", "-f", f"{REPOSITORY}:{TAG}"], capture_output=True, check=False)
    conclude()


main()
