#!/usr/bin/env bash
# The unit in a container with a systemd of its own (systemd-nspawn). Such a container always has process ids of its
# own, and the agent cannot work there: proven is that the unit then fails at once and says why. The unit at work is in
# systemd.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

readonly limit_s=180

((EUID == 0)) || cannot "making a system needs root"
need systemd-nspawn systemd-container

mkdir -p "$cache"
find_agent
find_system
scratch=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/root"
install_all "$scratch/root" foreign

say "starting a container with $agent"
# All that the unit asks for, so that nothing but the process ids is in its way.
timeout --kill-after 10 "$limit_s" systemd-nspawn --quiet --directory="$scratch/root" --boot --register=no --keep-unit \
    --machine=telltale-test --private-network --console=read-only \
    --capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN,CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH \
    --system-call-filter='bpf perf_event_open' --bind-ro=/sys/kernel/btf \
    >"$cache/nspawn-console.log" 2>&1 </dev/null || say "the container ended with $?"
[[ -s $scratch/root/proof-says ]] ||
    fail "the container said nothing: $(tail -n 3 "$cache/nspawn-console.log") ($cache/nspawn-console.log)"
judge "$scratch/root/proof-says"
