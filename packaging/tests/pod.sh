#!/usr/bin/env bash
# The manifest's pod on a node: a virtual machine with a distribution's kernel, a systemd as process 1 and runc, which
# gives the pod the privileges, namespaces and mounts that the manifest asks for. No cluster, and nothing of this
# machine is touched.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=vm.sh
source "$(dirname "${BASH_SOURCE[0]}")/vm.sh"
# shellcheck source=python.sh
source "$packaging/tests/python.sh"

need_vm
mkdir -p "$cache"
find_agent
find_kernel "${1:-6.12}"
find_system
find_python
scratch=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root
mkdir "$root"
install_all "$root" pod

# The image: the agent, and users and a credential that are not the node's.
image=$root/root/image
install -D -m 755 "$root/usr/bin/telltale" "$image/usr/bin/telltale"
install -D -m 600 /dev/null "$image/root/.aws/credentials"
mkdir "$image/etc"
printf 'root:x:0:0::/root:/bin/sh\nimpostor:x:1000:1000::/:/bin/sh\n' >"$image/etc/passwd"

# bundle NAME WITHOUT COMMAND...: see pod.py.
bundle() {
    mkdir "$root/root/$1"
    "$python" "$packaging/tests/pod.py" "$packaging/kubernetes/daemonset.yaml" "$root" /root/image /root/configuration \
        "/kubepods/burstable/pod$1/$1" node-7.example "${@:2}" >"$root/root/$1/config.json"
}
mkdir "$root/root/configuration"
bundle pod ''
# It has nothing to load with either, so that it only looks.
bundle doctor SYS_PTRACE,BPF /usr/bin/telltale doctor --json
sed -i 's|^# collector = .*|collector = "http://127.0.0.1:4319"|' "$root/root/configuration/telltale.toml"
boot pod
