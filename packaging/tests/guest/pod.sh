#!/bin/bash
# Runs as a service in a machine whose process 1 is systemd, beside bundles of the pod and an image for them, and proves
# that the pod sees the node: what is done there, with the node's files, users and name instead of its own.
# shellcheck disable=SC2317 # `check` calls most functions by their names.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

units=(doctor pod receiver)

# service UNIT COMMAND...: as one of the node's.
service() { systemd-run --quiet --service-type=exec --unit "$1" -- "${@:2}"; }

prove_refusal() {
    check "it looks at the node without CAP_SYS_PTRACE" service doctor runc run --bundle /root/doctor doctor
    check "and says that it sees too little, and what to do" \
        await doctor '"name":"host_root","state":"no".*by number.*give the agent CAP_SYS_PTRACE'
}

prove_start() {
    # The node's file and the pod's own are credentials by their inodes alone: the names under which they are opened
    # tell nothing.
    ln /home/alice/.aws/credentials /srv/notes
    ln /root/image/root/.aws/credentials /srv/decoy
    check "it is started" service pod runc run --bundle /root/pod --pid-file /run/pod.pid pod
    check "it starts" await pod '^telltale .* started'
    ((failed == 0)) || finish
    main=$(</run/pod.pid)
    programs_of "$main" >"$work/held"
    check "it holds programs" test -s "$work/held"
    check "nothing of the node is hidden" told pod 'WARN host_' 0
    check "no way to more capabilities" \
        same "$(field "$main" CapBnd)" "$(caps bpf perfmon net_admin sys_ptrace dac_read_search)"
    check "those for loading given up" same "$(field "$main" CapPrm)" "$(caps bpf dac_read_search)"
    check "a root of its own" not test "/proc/$main/root" -ef /
    check "a collector in its network" \
        service receiver nsenter --target "$main" --net -- telltale collect --json --once-stopped
}

prove_work() {
    check "another unit reads the pod's own file" systemd-run --quiet --wait --unit other cat /srv/decoy
    check "another unit reads as alice" systemd-run --quiet --wait --unit reader --uid alice cat /srv/notes
    mkdir /srv/.aws
    : >/srv/.aws/credentials
    check "another unit reads by a telling name" systemd-run --quiet --wait --unit namer cat /srv/.aws/credentials
    # Nobody listens at port 1; that it is refused is seen as well.
    systemd-run --quiet --wait --unit caller -- bash -c 'exec 3<>/dev/tcp/127.0.0.1/1'
    check "a connection of the node" await pod 'svc/caller +bash\[[0-9]+\] root .*127\.0\.0\.1:1 ECONNREFUSED'
    check "a credential by its name" await pod 'svc/namer +cat\[[0-9]+\] root +read +/srv/\.aws/credentials'
    check "a credential of a closed home by its inode, with the node's path and user" \
        await pod 'svc/reader +cat\[[0-9]+\] alice +read +/srv/notes +aws-credentials'
    check "with the node's name, and a path of its own root, at the collector" await receiver \
        '"host":"node-7\.example",.*"blended":\["exe/usr/bin/cat@uid:1000"\],.*"path":"/srv/notes"'
}

prove_stop() {
    check "it stops when told to" runc kill pod TERM
    check "in good order" await pod 'pod\.service: Deactivated successfully'
    check "all is collected" await receiver 'receiver\.service: Deactivated successfully'
    check "the credential is told once" told pod /srv/notes 1
    check "and once at the collector" told receiver '"path":"/srv/notes"' 1
    check "the pod's own file is no credential of the node" told pod /srv/decoy 0
    check "nor are its users the node's" told pod impostor 0
    check "no program is left" none_left "$work/held"
}

echo "$(uname -r), $(runc --version | head -n 1), $(systemctl --version | head -n 1)"
# The manifest's DirectoryOrCreate.
mkdir -p /run/telltale /var/lib/telltale
prove_refusal
prove_start
prove_work
prove_stop
finish
