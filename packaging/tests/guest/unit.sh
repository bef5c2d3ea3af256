#!/bin/bash
# Runs as a service in a machine whose process 1 is systemd, beside an installed and stopped telltale.service, and
# proves what the unit promises. Says what held, then `N passed, M failed`, and powers off.
# shellcheck disable=SC2317 # `check` calls most functions by their names.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

# pings_go_on: the time of the last watchdog ping moves.
pings_go_on() {
    local first
    first=$(property "$unit" WatchdogTimestampMonotonic)
    for _ in {1..1000}; do
        [[ $(property "$unit" WatchdogTimestampMonotonic) != "$first" ]] && return 0
    done
    echo "no ping since $first"
    return 1
}

# read_only COMMAND...: root itself, among the agent's mounts, is refused because they are read-only.
read_only() {
    ! nsenter --target "$main" --mount -- "$@" 2>"$work/refused" || return 1
    grep 'Read-only file system' "$work/refused" || { cat "$work/refused"; return 1; }
}

prove_start() {
    check "exposure of 3.0 or better" systemd-analyze security --no-pager --threshold=30 "$unit"
    # The catalogue knows these files by name. Under their other names they are known only to who has seen the inode:
    # through a home that is closed, and in the /tmp that all share.
    ln /home/alice/.aws/credentials /srv/keys
    install --mode 600 /dev/null /tmp/krb5cc_0
    ln /tmp/krb5cc_0 /srv/ticket
    systemctl start collector.service
    check "it starts, and says so" systemctl enable --now "$unit"
    check "it is active" same "$(property "$unit" ActiveState)" active
    ((failed == 0)) || finish
    main=$(property "$unit" MainPID)
    check "nothing of the host is hidden" told "$unit" 'WARN host_' 0
    check "its start comes to the collector" await collector.service '"phase":"start"'
}

prove_confinement() {
    check "a user of its own" same "$(stat --format %U "/proc/$main")" telltale
    check "no way to more capabilities" \
        same "$(field "$main" CapBnd)" "$(caps bpf perfmon net_admin sys_ptrace dac_read_search)"
    check "those for loading given up" same "$(field "$main" CapPrm)" "$(caps bpf dac_read_search)"
    check "no new privileges" same "$(field "$main" NoNewPrivs)" 1
    check "a filter of system calls" same "$(field "$main" Seccomp)" 2
    for path in /etc /usr /root /home/alice /var/lib /tmp /sys/fs/cgroup; do
        check "cannot write $path" read_only mkdir "$path/made-by-telltale"
    done
    check "can write its state" nsenter --target "$main" --mount -- mkdir /var/lib/telltale/made-by-telltale
    check "cannot change a setting of the kernel" read_only sh -c 'echo 60 >/proc/sys/vm/swappiness'
    check "its state is its own" \
        same "$(stat --format '%U %a' /var/lib/telltale)" "telltale 700"
    check "no dump" grep --quiet 'Max core file size *0 *0' "/proc/$main/limits"
}

prove_work() {
    check "another unit acts" systemctl start acts.service
    check "its connection is in the journal" await "$unit" 'svc/acts .*127\.0\.0\.1:4319'
    check "a credential in a closed home, by its inode" await "$unit" 'svc/acts .*/srv/keys'
    check "a credential of /tmp, by its inode" await "$unit" 'svc/acts .*/srv/ticket'
    check "and at the collector" await collector.service '"event":"connection","identity":"svc/acts"'
}

prove_handover() {
    check "it pins its programs" test -n "$(ls /sys/fs/bpf/telltale)"
    check "none but itself can look" same "$(stat --format '%U %a' /sys/fs/bpf/telltale)" "telltale 700"
    check "it makes way" systemctl reload "$unit"
    check "and ends" await "$unit" 'handed over'
    cat /srv/ticket
    check "a new one comes" await "$unit" 'Scheduled restart job'
    check "and is ready" systemctl start "$unit"
    check "as another process" not same "$(property "$unit" MainPID)" "$main"
    check "it tells what was done meanwhile" await "$unit" 'svc/proof .*/srv/ticket'
    main=$(property "$unit" MainPID)
}

prove_watchdog() {
    check "watchdog pings go on" pings_go_on
    check "no restart since" same "$(property "$unit" NRestarts)" 1
    # Only shorter, so that nobody waits for half a minute.
    mkdir -p "/run/systemd/system/$unit.d"
    printf '[Service]\nWatchdogSec=5\n' >"/run/systemd/system/$unit.d/sooner.conf"
    systemctl daemon-reload
    check "it restarts" systemctl restart "$unit"
    main=$(property "$unit" MainPID)
    programs_of "$main" >"$work/frozen"
    kill -STOP "$main"
    check "a hang is noticed" await "$unit" 'Watchdog timeout'
    check "and mended" await "$unit" 'Scheduled restart job'
    check "it is ready again" systemctl start "$unit"
    check "as another process" not same "$(property "$unit" MainPID)" "$main"
    check "which left no program behind" none_left "$work/frozen"
}

prove_stop() {
    main=$(property "$unit" MainPID)
    programs_of "$main" >"$work/held"
    check "it holds programs" test -s "$work/held"
    check "it stops" systemctl stop "$unit"
    check "in good order" same "$(property "$unit" Result)" success
    check "no program is left" none_left "$work/held"
    check "no pin is left" same "$(ls /sys/fs/bpf/telltale)" ""
}

prove_refusal() {
    echo 'colector = "http://127.0.0.1:4319"' >/etc/telltale/telltale.toml
    check "a wrong configuration: no start" not systemctl start "$unit"
    check "with the status for it" same "$(property "$unit" ExecMainStatus)" 2
    check "without trying again" same "$(property "$unit" ActiveState)" failed
    check "and the reason" await "$unit" colector
}

echo "$(uname -r), $(systemctl --version | head -n 1), $(</sys/kernel/security/lsm)"
prove_start
prove_confinement
prove_work
prove_handover
prove_watchdog
prove_stop
prove_refusal
finish
