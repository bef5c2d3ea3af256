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

# identified IDENTITY FILE [PATTERN]: who has read the file, at the collector; and what else its event says.
identified() {
    await collector.service "\"event\":\"credential_access\",\"identity\":\"$1\".*${3-}.*\"path\":\"$2\""
}

# becomes UNIT ...: starts it until `identified ...` holds. What a unit's files say is looked up when it is first met, and the
# first of its acts may come before the answer.
becomes() {
    local try
    for try in {1..20}; do
        systemctl restart "$1" || return 1
        journalctl --sync
        journalctl --no-pager --output cat --unit collector.service | grep --extended-regexp --quiet -- \
            "\"event\":\"credential_access\",\"identity\":\"$2\".*${4-}.*\"path\":\"$3\"" && return 0
    done
    echo "not after $try starts"
    return 1
}

# starts UNIT: or its journal says why not.
starts() { systemctl start "$1" || { journalctl --no-pager --output cat --lines 15 --unit "$1"; return 1; }; }

# credential NAME: a file of its own for each, so that no event is taken for another's. Known by its name alone.
credential() {
    install -D --mode 644 /dev/null "/srv/$1/.aws/credentials"
}

# Units of every kind that a service manager has, and timers, with the names that they have here.
prove_identities() {
    local read=/usr/bin/cat name
    for name in named outer inner unnamed scope instance timer user; do credential "$name"; done

    check "a unit of systemd-run" systemd-run --quiet --wait --unit nightly-copy "$read" /srv/named/.aws/credentials
    check "is who it is called" identified svc/nightly-copy /srv/named/.aws/credentials
    check "one within another" systemd-run --quiet --wait --unit outer -- \
        sh -c "$read /srv/outer/.aws/credentials; systemd-run --quiet --wait --unit inner $read /srv/inner/.aws/credentials"
    check "is the outer" identified svc/outer /srv/outer/.aws/credentials
    check "and the inner, of its own" identified svc/inner /srv/inner/.aws/credentials
    check "one that nobody has named" systemd-run --quiet --wait "$read" /srv/unnamed/.aws/credentials
    check "is what it runs, and has been asked for" \
        identified exe/usr/bin/cat@uid:0 /srv/unnamed/.aws/credentials '"kind":"transient_unit"'
    check "a scope" systemd-run --quiet --scope "$read" /srv/scope/.aws/credentials
    check "is what it runs" identified exe/usr/bin/cat@uid:0 /srv/scope/.aws/credentials

    cat >/etc/systemd/system/worker@.service <<EOF
[Unit]
Description=Worker %i
[Service]
Type=oneshot
Slice=batch-jobs.slice
ExecStart=$read /srv/%i/.aws/credentials
[X-Telltale]
Owner=team: batch
EOF
    cat >/etc/systemd/system/nightly.service <<EOF
[Service]
Type=oneshot
ExecStart=$read /srv/timer/.aws/credentials
EOF
    cat >/etc/systemd/system/nightly.timer <<EOF
[Timer]
OnActiveSec=0
EOF
    systemctl daemon-reload
    check "an instance in a slice of its own, with its owner and description" becomes worker@instance.service \
        svc/worker%40instance /srv/instance/.aws/credentials \
        '"owner":"team: batch".*"unit_description":"Worker instance"'
    check "what a timer runs is the timer" becomes nightly.timer timer/nightly /srv/timer/.aws/credentials

    # A service manager of alice's, with a unit that she names as one of the system is called.
    install -d -o 1000 -g 1000 /home/alice/.config{,/systemd{,/user{,/default.target.wants}}}
    cat >/home/alice/.config/systemd/user/nginx.service <<EOF
[Service]
Type=oneshot
ExecStart=$read /srv/user/.aws/credentials
EOF
    ln -s ../nginx.service /home/alice/.config/systemd/user/default.target.wants/
    check "alice's own service manager" starts user@1000.service
    check "its unit is hers, and no nginx" identified exe/usr/bin/cat@uid:1000 /srv/user/.aws/credentials \
        '"user-svc/alice/nginx"'
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
prove_identities
prove_handover
prove_watchdog
prove_stop
prove_refusal
finish
