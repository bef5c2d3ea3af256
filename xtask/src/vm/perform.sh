# What every guest does once it is prepared: runs /vm/command, reports, powers off.
. /vm/report.sh

report "release=$(uname -r)"
report "lsm=$(cat /sys/kernel/security/lsm)"
read -r uptime _ </proc/uptime
report "ready_s=$uptime"

must mkfifo /run/output
cat /run/output >/dev/ttyS1 &
forwarder=$!
cd /root || exit
/bin/sh /vm/command </dev/null >/run/output 2>&1
status=$?

# Whoever still holds the pipe keeps the forwarder waiting: give it a moment, no more.
(sleep 5; kill "$forwarder") 2>/dev/null &
wait "$forwarder"

report "tainted=$(cat /proc/sys/kernel/tainted)"
report "exit=$status"
poweroff -f
