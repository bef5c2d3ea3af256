"""What a container runtime is asked for when a node starts the manifest's pod: an OCI bundle's config.json.

Usage: pod.py MANIFEST ROOT IMAGE CONFIGURATION CGROUP NODE [WITHOUT [COMMAND...]] >config.json

ROOT is here the node's root directory. IMAGE and CONFIGURATION are directories of the node; the files of the ConfigMap
are written to the latter. NODE is the node's name, WITHOUT a list of capabilities that are left out, and COMMAND is run
in place of the manifest's.

As a kubelet and containerd make it, but for the seccomp and AppArmor profiles, which are containerd's own.
"""

import json
import sys
from pathlib import Path

import yaml

# Every container's, by the OCI runtime specification and containerd's defaults.
STANDARD_MOUNTS = [
    ("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
]
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/sys/firmware"]
READ_ONLY = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def expanded(words, env):
    """As a kubelet does: `$(NAME)` is the variable's value."""
    for name, value in env.items():
        words = [word.replace(f"$({name})", value) for word in words]
    return words


def main(manifest, root, image, configuration, cgroup, node, without="", *command):
    kinds = {resource["kind"]: resource for resource in yaml.safe_load_all(Path(manifest).read_text())}
    for name, text in kinds["ConfigMap"]["data"].items():
        (Path(root) / configuration.lstrip("/") / name).write_text(text)
    pod = kinds["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = container["securityContext"]

    sources = {each["name"]: each.get("hostPath", {}).get("path", configuration) for each in pod["volumes"]}
    mounts = [{"destination": at, "type": kind, "source": kind, "options": how} for at, kind, how in STANDARD_MOUNTS]
    for mount in container["volumeMounts"]:
        access = "ro" if mount.get("readOnly") else "rw"
        options = ["rbind", "rprivate", access]
        source = sources[mount["name"]]
        mounts.append({"destination": mount["mountPath"], "type": "bind", "source": source, "options": options})

    # A namespace for each that the pod does not share with the host.
    shared = {"pid": pod["hostPID"], "network": pod["hostNetwork"], "ipc": pod["hostIPC"], "uts": pod["hostNetwork"]}
    namespaces = ["mount", "cgroup"] + [name for name, with_host in shared.items() if not with_host]
    capabilities = [f"CAP_{name}" for name in security["capabilities"]["add"] if name not in without.split(",")]
    of_node = {"spec.nodeName": node}
    env = {each["name"]: of_node[each["valueFrom"]["fieldRef"]["fieldPath"]] for each in container["env"]}
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": image, "readonly": security["readOnlyRootFilesystem"]},
        "hostname": "pod",
        "mounts": mounts,
        "process": {
            "terminal": False,
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": list(command) or expanded(container["command"], env),
            "env": ["PATH=/usr/bin"] + [f"{name}={value}" for name, value in env.items()],
            "cwd": "/",
            "capabilities": {each: capabilities for each in ("bounding", "effective", "permitted")},
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
        },
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": name} for name in namespaces],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }
    json.dump(config, sys.stdout, indent=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
