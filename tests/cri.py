"""A containerd of a test's own, asked for pods as a kubelet asks: `runtime.v1` of the CRI, over gRPC by curl."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

from proof import limit

# Where containerd keeps what runs: the agent looks nowhere else.
STATE = pathlib.Path("/run/containerd")
LIMIT_S = limit(60)


def run(*command, **options):
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, **options)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))[:300]}: {ended.returncode}: {ended.stderr.strip()[-600:]}")
    return ended.stdout.strip()


def wait_for(what, holds):
    until = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > until:
            sys.exit(f"{what}: not within {LIMIT_S} s")
        time.sleep(0.1)


def message(*fields):
    """A message of protobuf: (number, value) each, of integers, texts and messages."""
    def varint(number):
        rest = b""
        while number > 127:
            rest, number = rest + bytes([number & 127 | 128]), number >> 7
        return rest + bytes([number])

    def field(number, value):
        if isinstance(value, int):
            return varint(number << 3) + varint(value)
        data = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(data)) + data

    return b"".join(field(*it) for it in fields)


class Containerd:
    """Containerd's daemon. `why_not`: it cannot be had."""

    def __init__(self, scratch, pause):
        """`pause`: the image of pods' own containers."""
        self.scratch, self.address, self.process, self.pods = scratch, f"{scratch}/containerd.sock", None, []
        self.why_not = self.start(pause)

    def start(self, pause):
        if not all(map(shutil.which, ["containerd", "ctr", "curl"])):
            return "it is not installed"
        if STATE.exists():
            return f"one runs here, or has run: {STATE} is there"
        configuration, log = self.scratch / "containerd.toml", open(self.scratch / "containerd.log", "w")
        configuration.write_text(f"""version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
""")
        self.process = subprocess.Popen(["containerd", "--config", configuration, "--root", self.scratch / "containerd",
                                         "--state", STATE, "--address", self.address], stdout=log, stderr=log)
        wait_for("containerd starts", lambda: self.process.poll() is not None or os.path.exists(self.address))
        if self.process.poll() is None:
            return None
        self.stop()
        return "it does not start"

    def load(self, archive):
        run("ctr", "-a", self.address, "-n", "k8s.io", "images", "import", "--snapshotter", "native", archive)

    def ask(self, method, request):
        body = b"\0" + len(request).to_bytes(4, "big") + request
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        answer, trailers = self.scratch / "answer", self.scratch / "trailers"
        subprocess.run(["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", self.address, *headers,
                        "--data-binary", "@-", "--output", answer, "--dump-header", trailers,
                        f"http://localhost/runtime.v1.RuntimeService/{method}"], input=body, timeout=LIMIT_S, check=True)
        if "grpc-status: 0" not in trailers.read_text():
            sys.exit(f"containerd: {method}: {trailers.read_text()[-400:]}")
        return answer.read_bytes()[5:]

    def run(self, pod, name, image, command, mounts):
        """A container in a pod of its own; its id. `pod` has `name`, `uid` and `namespace`."""
        # The answers have one field, a text.
        text = lambda answer: answer[2:].decode()
        metadata = message((1, pod["name"]), (2, pod["uid"]), (3, pod["namespace"]))
        # The node's network: there is nothing here that makes one for a pod.
        linux = message((1, f"/kubepods/burstable/pod{pod['uid']}"), (2, message((1, message((1, 2))))))
        sandbox = message((1, metadata), (8, linux))
        self.pods.append(text(self.ask("RunPodSandbox", message((1, sandbox)))))
        words = [(3, command[0])] + [(4, word) for word in command[1:]]
        bound = [(7, message((1, within), (2, str(host)))) for within, host in mounts.items()]
        wanted = message((1, message((1, name))), (2, message((1, image))), *words, *bound)
        container = text(self.ask("CreateContainer", message((1, self.pods[-1]), (2, wanted), (3, sandbox))))
        self.ask("StartContainer", message((1, container)))
        return container

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            for pod in self.pods:
                for method in ["StopPodSandbox", "RemovePodSandbox"]:
                    self.ask(method, message((1, pod)))
        self.process.terminate()
        self.process.wait(LIMIT_S)
        shutil.rmtree(STATE, ignore_errors=True)
