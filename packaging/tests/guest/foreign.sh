#!/bin/bash
# Runs as a service in a container that has process ids of its own, where the agent would take processes for others:
# it must not start there, and must say why.
# shellcheck disable=SC2317 # `check` calls most functions by their names.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

echo "$(uname -r), $(systemctl --version | head -n 1), $(readlink /proc/self/ns/pid)"
check "it does not start" not systemctl enable --now "$unit"
check "with the status for it" same "$(property "$unit" ExecMainStatus)" 5
check "without trying again" same "$(property "$unit" ActiveState),$(property "$unit" NRestarts)" failed,0
check "and the reason" await "$unit" 'pid_namespace: .* processes would be mistaken for others'
check "and what to do" await "$unit" 'remedy: .*hostPID: true'
finish
