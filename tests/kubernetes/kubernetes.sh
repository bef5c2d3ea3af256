#!/usr/bin/env bash
# Pods that a real containerd runs, and an API server that answers, is slow, lies and goes away (kubernetes.py).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../packaging/tests/machine.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../packaging/tests/machine.sh"

((EUID == 0)) || cannot "loading kernel programs needs root"
need containerd containerd
need runc runc
need busybox busybox-static
need curl curl
need ip iproute2
need nsenter util-linux
need openssl openssl
need python3 python3

mkdir -p "$cache"
find_agent
scratch=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
python3 "$here/kubernetes.py" "$agent" "$scratch"
