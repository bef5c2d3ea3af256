#!/usr/bin/env bash
# The unit in a real systemd: process 1 of a virtual machine with a distribution's kernel. A container would not do:
# it has process ids of its own, and there the agent refuses to run (see nspawn.sh).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=vm.sh
source "$(dirname "${BASH_SOURCE[0]}")/vm.sh"

need_vm
mkdir -p "$cache"
find_agent
find_kernel "${1:-6.12}"
find_system
scratch=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/root"
install_all "$scratch/root" unit
boot systemd
