"""Pods that a real containerd runs as a kubelet has it, and an API server that tells of them: it answers, refuses, is slow,
lies and goes away.

usage: kubernetes.py TELLTALE SCRATCH    the agent, a directory of the test's own
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time
import uuid

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent)]
import api as cluster  # noqa: E402
from cri import LIMIT_S, Containerd, run  # noqa: E402
from proof import Agent, check, conclude, limit  # noqa: E402

TELLTALE, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2])
MARK = f"telltale-{os.getpid()}"
IMAGE = f"registry.example/{MARK}/box:1.2"
BY_IMAGE = f"container/registry.example/{MARK}/box"
NODE = "node-7"
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
KUBELET = pathlib.Path("/var/lib/kubelet")
HOME = SCRATCH / "home"
# Between a pod's reads: several pods leave a slow machine's time to what they are read by.
PAUSE_S = limit(0.2)


def make_image():
    """An image as `docker save` writes it: one layer with busybox."""
    root = SCRATCH / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in ["sh", "cat", "sleep"]:
        (root / "bin" / name).symlink_to("busybox")
    for name in ["proc", "root", "dev", "sys", "tmp", "etc", "var/run"]:
        (root / name).mkdir(parents=True)
    with tarfile.open(SCRATCH / "layer.tar", "w") as tar:
        tar.add(root, ".", filter=lambda it: it.replace(uid=0, gid=0, deep=False))
    layer = hashlib.sha256((SCRATCH / "layer.tar").read_bytes()).hexdigest()
    config = {"architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux",
              "config": {"Cmd": ["/bin/sleep", "600"]}, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]}}
    (SCRATCH / "config.json").write_text(json.dumps(config))
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    (SCRATCH / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(SCRATCH / "image.tar", "w") as tar:
        for name in ["manifest.json", "config.json", "layer.tar"]:
            tar.add(SCRATCH / name, name)


class Pod:
    """A pod as the kubelet lays it out: its volume of tokens is a file system of its own."""

    def __init__(self, app, owner=None):
        self.app, self.name, self.uid, self.namespace = app, f"{app}-5d9-x1", str(uuid.uuid4()), "shop"
        self.directory = KUBELET / "pods" / self.uid
        self.volume = self.directory / "volumes/kubernetes.io~projected/kube-api-access-x1"
        self.owner, self.container = owner, None

    def mount(self):
        self.volume.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "tmpfs", str(self.volume))
        # As the kubelet's atomic writer does.
        (self.volume / "..2026_01_01").mkdir()
        (self.volume / "..2026_01_01/token").write_text("eyJ")
        (self.volume / "..data").symlink_to("..2026_01_01")
        (self.volume / "token").symlink_to("..data/token")

    def unmount(self):
        subprocess.run(["umount", str(self.volume)], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, containerd, mounts=None, read=f"{TOKENS}/token"):
        """Reads its token, and a credential that is no token, until it is stopped."""
        command = f": {MARK}-{self.app}; while :; do cat {read} /root/.aws/credentials >/dev/null; sleep {PAUSE_S}; done"
        pod = {"name": self.name, "uid": self.uid, "namespace": self.namespace}
        mounts = {"/root": HOME, TOKENS: self.volume} | (mounts or {})
        self.container = containerd.run(pod, "main", IMAGE, ["/bin/sh", "-c", command], mounts)

    def object(self, **metadata):
        """As the API server tells of it."""
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{self.app}-5d9", "uid": f"rs-{self.app}",
                     "controller": True}
        own = {"name": self.name, "namespace": self.namespace, "uid": self.uid, "ownerReferences": [reference],
               "labels": {"app": self.app, "pod-template-hash": "5d9"}, "annotations": {}}
        if self.owner:
            own["annotations"]["telltale.dev/owner"] = self.owner
        return {"metadata": own | metadata, "spec": {"nodeName": NODE, "serviceAccountName": f"{self.app}-sa"}, "status": {}}

    def path(self):
        return f"/apis/apps/v1/namespaces/{self.namespace}/replicasets/{self.app}-5d9"

    def replica_set(self):
        above = {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.app, "uid": f"d-{self.app}", "controller": True}
        return {"name": f"{self.app}-5d9", "namespace": self.namespace, "uid": f"rs-{self.app}", "ownerReferences": [above]}

    def identity(self):
        return f"k8s/{cluster.NAME}/{self.namespace}/deployment/{self.app}/main"


def is_read(event, pod, path, holds):
    return (event["event"] == "credential_access" and event.get("container_id") == pod.container and event["comm"] == "cat"
            and path in event["path"] and holds(event))


def wait_read(agent, what, pod, holds, path="/.aws/credentials", since=0):
    """The first read in a pod's container of which `holds`; each goes on to read."""
    try:
        event = agent.wait(lambda event: is_read(event, pod, path, holds), since)
    except SystemExit:
        event = {}
    check(what, event, [event for event in agent.told if is_read(event, pod, path, lambda _: True)][-1:])
    return event


def evidence(event, kind):
    return next((piece["detail"] for piece in event.get("evidence", []) if piece["kind"] == kind), None)


def by_identity(pod):
    return lambda event: event["identity"] == pod.identity()


def because(kind, *words):
    return lambda event: all(word in (evidence(event, kind) or "") for word in words)


def try_told(agent, web):
    event = wait_read(agent, "a pod's container is its workload's", web, by_identity(web))
    told = [event.get(key) for key in ["identity_kind", "cluster", "workload_kind", "workload", "service_account",
                                       "container_name", "pod", "pod_namespace", "pod_uid", "owner", "owner_source"]]
    expected = ["kubernetes", cluster.NAME, "deployment", "web", "web-sa", "main", web.name, web.namespace, web.uid,
                "team: web", "workload"]
    check("workload, service account, owner", told == expected, told)
    check("its labels, but no hash", event.get("pod_labels") == ["app=web"], event.get("pod_labels"))
    check("its image is blended in", BY_IMAGE in event.get("blended", []), event.get("blended"))
    event = wait_read(agent, "its own token is its own", web, lambda event: event.get("token_of"), "/token")
    told = [event.get(key) for key in ["token_of", "token_pod", "token_pod_uid", "token_service_account"]]
    check("and its service account's", told == ["own", f"shop/{web.name}", web.uid, "shop/web-sa"], told)


def try_tokens(agent, containerd, web, thief):
    run("cat", str(web.volume / "token"))
    is_host = lambda event: event["event"] == "credential_access" and "container_id" not in event and "token_of" in event
    event = agent.wait(is_host)
    told = [event.get(key) for key in ["token_of", "token_pod", "token_service_account"]]
    check("read from the host it is another's", told == ["another", f"shop/{web.name}", "shop/web-sa"], told)
    thief.start(containerd, {f"/host{KUBELET}": KUBELET}, f"/host{web.volume}/token")
    what = "and from another pod, which has the host's directory elsewhere"
    event = wait_read(agent, what, thief, lambda event: event.get("token_of"), web.uid)
    told = [event.get(key) for key in ["identity", "token_of", "token_service_account"]]
    check("which is told", told == [thief.identity(), "another", "shop/web-sa"], told)


def try_refused(agent, api, containerd, dark):
    api.tell("ADDED", dark.object())
    dark.start(containerd)
    event = wait_read(agent, "without the right to read owners it is by its label", dark, by_identity(dark))
    check("and doubted", because("workload_unconfirmed", "403", "pod-template-hash")(event), event.get("evidence"))


def try_lie(agent, api, containerd, lied):
    """It says that a pod of this node is another."""
    api.tell("ADDED", lied.object(namespace="payments", name="gateway-5d9-x1"))
    lied.start(containerd)
    event = wait_read(agent, "what engine and cgroup do not say is not believed", lied, because("pod_differs", "payments"))
    told = [event.get(key) for key in ["identity", "pod_namespace", "service_account", "workload"]]
    check("it is its image's", told == [BY_IMAGE, "shop", None, None], told)
    api.tell("MODIFIED", lied.object())
    wait_read(agent, "and once it says the truth, its workload's", lied, by_identity(lied))


def try_silent(agent, api, containerd, web, late):
    api.stop()
    silent = because("cluster_silent", "since 20")
    known = lambda event: by_identity(web)(event) and silent(event)
    wait_read(agent, "where nobody answers, what is known stays", web, known)
    late.start(containerd)
    event = wait_read(agent, "who comes then is its image's, with the reason", late, because("pod_unknown", "silent"))
    check("its pod is told by the engine", [event.get("identity"), event.get("pod")] == [BY_IMAGE, late.name], event)
    api.is_slow = True
    api.start()
    api.tell("ADDED", late.object())
    wait_read(agent, "while it says nothing, events are told as ever", web, known, since=len(agent.told))
    since = len(agent.told)
    with api.changed:
        api.is_slow = False
        api.changed.notify_all()
    wait_read(agent, "when it answers again, it catches up", late, by_identity(late))
    answered = lambda event: not evidence(event, "cluster_silent")
    wait_read(agent, "and is silent no more", web, answered, since=since)


class Network:
    """Two network namespaces: who connects, and where addresses of the cluster are, at which nobody listens."""

    CLIENT, CLUSTER = f"{MARK}-client", f"{MARK}-cluster"
    POD, SERVICE, FOREIGN = "10.244.1.7", "10.96.0.7", "203.0.113.7"

    def __init__(self):
        for name in [self.CLIENT, self.CLUSTER]:
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "v0", "netns", self.CLIENT, "type", "veth", "peer", "name", "v0", "netns", self.CLUSTER)
        for name, address in [(self.CLIENT, "192.0.2.1/24"), (self.CLUSTER, "192.0.2.2/24")]:
            run("ip", "-n", name, "address", "add", address, "dev", "v0")
            run("ip", "-n", name, "link", "set", "v0", "up")
        for address in [self.POD, self.SERVICE, self.FOREIGN]:
            run("ip", "-n", self.CLUSTER, "address", "add", f"{address}/32", "dev", "v0")
            run("ip", "-n", self.CLIENT, "route", "add", address, "via", "192.0.2.2")

    def close(self):
        for name in [self.CLIENT, self.CLUSTER]:
            run("ip", "netns", "delete", name)

    def connect(self, agent, address, port):
        """The event of a connection that is refused."""
        is_it = lambda event: (event["event"] == "connection" and event["remote_address"] == address
                               and event["remote_port"] == port)
        found = lambda: [event for event in agent.told if is_it(event)]
        before = len(found())
        # Not `ip netns exec`, which makes another mount namespace too.
        run("nsenter", f"--net=/run/netns/{self.CLIENT}", sys.executable, "-c",
            f"import socket; socket.socket().connect_ex(('{address}', {port}))")
        agent.wait(lambda _: len(found()) > before)
        return found()[before]

    def until(self, agent, what, place, holds):
        """Connects until an event is told of which `holds`: what the API server says comes when it comes."""
        until = time.monotonic() + LIMIT_S
        while not holds(event := self.connect(agent, *place)):
            if time.monotonic() > until:
                keys = [key for key in event if key.startswith("destination")]
                return check(what, False, {key: event[key] for key in keys})
        return check(what, True)


def leads(identity, *kinds):
    """That a connection leads there, by exactly this evidence."""
    return lambda event: ([event.get("destination_identity"),
                           [piece["kind"] for piece in event.get("destination_evidence", [])]] == [identity, list(kinds)])


def try_destinations(agent, api, shop, network):
    """`shop`: a pod of another node."""
    workload, service, foreign = f"k8s/{cluster.NAME}/shop/deployment/{shop.app}", (network.SERVICE, 443), (network.FOREIGN, 443)
    pod = shop.object()
    pod["spec"]["nodeName"] = "node-9"
    pod["status"] = {"phase": "Running", "podIP": network.POD, "podIPs": [{"ip": network.POD}]}
    network.until(agent, "before the cluster tells of it, an address is nobody's", (network.POD, 8443), leads(None))
    api.tell("ADDED", pod)
    network.until(agent, "a pod's address is its workload's", (network.POD, 8443), leads(workload, "pod"))
    event = network.connect(agent, network.POD, 22)
    told = [event.get(key) for key in ["destination_kind", "destination_confidence", "outcome"]]
    check("at any port, as the cluster declares", told == ["kubernetes_workload", "declared", "failed"], told)

    front = {"metadata": {"name": "web", "namespace": "shop", "uid": "s-1"},
             "spec": {"clusterIP": network.SERVICE, "clusterIPs": [network.SERVICE],
                      "ports": [{"name": "https", "protocol": "TCP", "port": 443}]}}
    api.tell("ADDED", front, cluster.SERVICES)
    network.until(agent, "a Service without endpoints is evidence", service, leads(None, "service", "workload_unknown"))
    target = {"kind": "Pod", "namespace": "shop", "name": shop.name, "uid": shop.uid}
    ends = [{"addresses": [network.POD], "conditions": {"ready": True}, "targetRef": target}]
    backs = {"metadata": {"name": "web-1", "namespace": "shop", "uid": "e-1", "labels": {"kubernetes.io/service-name": "web"}},
             "addressType": "IPv4", "endpoints": ends, "ports": [{"name": "https", "protocol": "TCP", "port": 8443}]}
    api.tell("ADDED", backs, cluster.SLICES)
    network.until(agent, "with endpoints it is their workload", service, leads(workload, "service"))

    front["spec"]["externalIPs"] = [network.FOREIGN, network.POD]
    api.tell("MODIFIED", front, cluster.SERVICES)
    network.until(agent, "what a Service says to be its address has no name", foreign, leads(None, "service_external"))
    network.until(agent, "and a pod's has none there", (network.POD, 443), leads(None, "pod", "service_external"))
    network.until(agent, "but elsewhere", (network.POD, 8443), leads(workload, "pod"))
    del front["spec"]["externalIPs"]
    api.tell("MODIFIED", front, cluster.SERVICES)
    backs["endpoints"].append({"addresses": [network.FOREIGN], "conditions": {"ready": True}, "targetRef": target})
    api.tell("MODIFIED", backs, cluster.SLICES)
    network.until(agent, "who adds an endpoint that is no pod's takes the Service's name", service,
                  leads(None, "service", "workload_unknown"))
    network.until(agent, "and gives it to nobody", foreign, leads(None))
    api.tell("DELETED", pod)
    network.until(agent, "whose an address was is evidence", (network.POD, 8443), leads(None, "pod_gone"))


def judge_replay(agent, recording):
    keys = ["boot_ns", "pid", "identity", "pod", "workload", "service_account", "owner", "token_of", "token_service_account",
            "remote_port", "destination_identity"]
    is_compared = lambda event: event["event"] in ["credential_access", "connection"]
    told = lambda events: [[event.get(key) for key in keys] for event in events if is_compared(event)]
    lines = run(TELLTALE, "replay", "--json", recording).splitlines()
    replayed, live = told(map(json.loads, lines)), told(agent.told)
    differ = [pair for pair in zip(live, replayed) if pair[0] != pair[1]][:1]
    check("a replay says the same", replayed == live and live, (len(live), len(replayed), differ))


def judge_figures(agent):
    figures = {}
    for event in agent.told:
        if event["event"] == "agent_status":
            figures = {each["name"]: each["value"] for each in event["counters"]}
    told = [figures.get(name) for name in ["pods_known", "kube_silent_seconds", "pods_evicted", "pods_not_kept"]]
    check("figures of pods", told == [5, 0, 0, 0] and figures["kube_failures"] > 0, figures)
    told = [figures.get(name) for name in ["peer_silent_seconds", "peers_evicted", "peers_not_kept"]]
    check("figures of destinations", told == [0, 0, 0] and figures["peers_known"] > 0, figures)


def configure(api):
    token = SCRATCH / "token"
    token.write_text(f"{api.token}\n")
    (SCRATCH / "telltale.toml").write_text(f"""[kubernetes]
server = "{api.url()}"
token_file = "{token}"
ca_file = "{SCRATCH}/ca.crt"
destinations = true
""")
    return ["--config", str(SCRATCH / "telltale.toml"), "--node-name", NODE]


def main():
    make_image()
    (HOME / ".aws").mkdir(parents=True)
    (HOME / ".aws/credentials").write_text("[default]\n")
    cluster.make_certificates(SCRATCH)
    api = cluster.Api(SCRATCH, NODE, f"token-{MARK}")
    web, thief, dark, lied, late = pods = [Pod("web", "team: web"), Pod("thief"), Pod("dark"), Pod("lied"), Pod("late")]
    shop = Pod("shop")
    for pod in [*pods, shop]:
        api.objects[pod.path()] = pod.replica_set()
    api.refused.add(dark.path())
    for pod in [web, thief]:
        api.tell("ADDED", pod.object())
    api.start()
    is_own, containerd, network = not KUBELET.exists(), Containerd(SCRATCH, IMAGE), Network()
    try:
        if containerd.why_not:
            print(f"cannot run here: containerd: {containerd.why_not}")
            sys.exit(77)
        containerd.load(SCRATCH / "image.tar")
        recording = str(SCRATCH / "recording")
        for pod in pods:
            pod.mount()
        agent = Agent(TELLTALE, SCRATCH, LIMIT_S, "--record", recording, *configure(api))
        try:
            agent.wait_start()
            try_destinations(agent, api, shop, network)
            web.start(containerd)
            try_told(agent, web)
            try_tokens(agent, containerd, web, thief)
            try_lie(agent, api, containerd, lied)
            try_silent(agent, api, containerd, web, late)
            network.until(agent, "and of destinations too", (network.SERVICE, 443), leads(None, "service", "workload_unknown"))
            # Last: a refusal of one is remembered for the whole kind.
            try_refused(agent, api, containerd, dark)
        finally:
            agent.stop()
        judge_replay(agent, recording)
        judge_figures(agent)
    finally:
        network.close()
        containerd.stop()
        for pod in pods:
            pod.unmount()
        if is_own:
            for directory in [KUBELET / "pods", KUBELET]:
                with contextlib.suppress(OSError):
                    directory.rmdir()
    conclude()


main()
