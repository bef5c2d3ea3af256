#!/bin/busybox sh
# The init of a guest with disks: makes the system on the first one its root, with the files of the second at /telltale, and
# goes on there as perform.sh says. The ports are those of init.sh.
export PATH=/usr/bin LANG=C.UTF-8
umask 022
. /vm/report.sh

must mkdir -p /dev /proc /system
must mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1
for port in /dev/ttyS1 /dev/ttyS2; do must stty -F "$port" raw; done
must mount -t proc proc /proc

while read -r module; do must insmod "$module"; done </vm/modules
must mount -t ext4 /dev/vda /system
must mkdir -p /system/telltale /system/vm
must mount -t ext4 /dev/vdb /system/telltale

must mount -t proc proc /system/proc
must mount -t sysfs sysfs /system/sys
must mount -t cgroup2 cgroup2 /system/sys/fs/cgroup
must mount -t bpf bpf /system/sys/fs/bpf
must mount -t tracefs tracefs /system/sys/kernel/tracing
must mount -t securityfs securityfs /system/sys/kernel/security
must mount -t devtmpfs devtmpfs /system/dev
must mkdir -p /system/dev/pts /system/dev/shm
must mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /system/dev/pts
must mount -t tmpfs -o mode=1777 tmpfs /system/dev/shm
must mount -t tmpfs -o mode=755 tmpfs /system/run
must mkdir -p -m 1777 /system/run/lock
for link in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
    must ln -sf "${link#*:}" "/system/dev/${link%%:*}"
done
must mount -t tmpfs tmpfs /system/vm
must cp /usr/bin/busybox /vm/report.sh /vm/perform.sh /vm/command /system/vm
must hostname guest
must ip link set lo up

# As a login of root's has it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb RUST_BACKTRACE=1
exec switch_root -c /dev/console /system /vm/busybox sh /vm/perform.sh
