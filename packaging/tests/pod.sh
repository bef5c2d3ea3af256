#!/usr/bin/env bash
# The manifest's pod on this machine's kernel, started by runc with the privileges, namespaces and mounts that the
# manifest asks for; no cluster. It must see what others do here, and leave nothing.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
# shellcheck source=python.sh
source "$packaging/tests/python.sh"
# shellcheck source=guest/checks.sh
source "$guest/checks.sh"

((EUID == 0)) || cannot "loading kernel programs needs root"
need runc runc
need bpftool bpftool

mkdir -p "$cache"
find_agent
find_system
find_python

scratch=$(mktemp -d "$cache/run-XXXXXX")
name=telltale-test-$$
end() {
    runc delete --force "$name" &>/dev/null
    rm -rf "$scratch" "$work"
}
trap end EXIT
mkdir "$scratch/root" "$scratch/configuration" "$scratch/runtime"
cp -a "$system/." "$scratch/root"
install -D -m 755 "$agent" "$scratch/root/usr/bin/telltale"
"$python" "$packaging/tests/pod.py" "$packaging/kubernetes/daemonset.yaml" "$scratch/configuration" \
    "$scratch/runtime" "/kubepods/burstable/pod$name/$name" >"$scratch/config.json"

# said FILE PATTERN: until the pod has said so.
said() { timeout "$patience_s" grep --max-count 1 --extended-regexp -- "$2" < <(exec tail -n +1 --pid $$ -F "$1"); }

say "starting the pod with $agent"
: >"$scratch/events"
: >"$cache/pod.log"
runc run --bundle "$scratch" --pid-file "$scratch/pid" "$name" >"$scratch/events" 2>"$cache/pod.log" </dev/null &
runner=$!
check "it starts" said "$cache/pod.log" '^telltale .* started'
((failed == 0)) || fail "$(tail -n 5 "$cache/pod.log")"
main=$(<"$scratch/pid")
programs_of "$main" >"$work/held"
check "it holds programs" test -s "$work/held"
check "no way to more capabilities" \
    same "$(field "$main" CapBnd)" "$(caps bpf perfmon net_admin sys_ptrace dac_read_search)"
check "those for loading given up" same "$(field "$main" CapPrm)" "$(caps bpf dac_read_search)"

mkdir "$scratch/.aws"
: >"$scratch/.aws/credentials"
# Nobody listens at port 1; that it is refused is seen as well.
bash -c "echo \$\$ >$scratch/actor; exec 3<>/dev/tcp/127.0.0.1/1" 2>"$work/refused" || true
cat "$scratch/.aws/credentials"
check "a connection of the host" said "$scratch/events" "bash\[$(<"$scratch/actor")\] .*127\.0\.0\.1:1 ECONNREFUSED"
check "a credential read on the host" said "$scratch/events" " cat\[[0-9]+\] .*$scratch/\.aws/credentials"

check "it stops when told to" runc kill "$name" TERM
check "in good order" wait "$runner"
check "no program is left" none_left "$work/held"
sum
