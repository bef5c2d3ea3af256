#!/usr/bin/env bash
# Real container engines, without a network: who their containers are told to be (containers.py).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../packaging/tests/machine.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../packaging/tests/machine.sh"

((EUID == 0)) || cannot "loading kernel programs needs root"
need podman podman
need runc runc
need busybox busybox-static
need setpriv util-linux
need curl curl
need python3 python3

mkdir -p "$cache"
find_agent
scratch=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
python3 "$here/containers.py" "$agent" "$scratch"
