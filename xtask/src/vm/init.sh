#!/bin/busybox sh
# The guest's init. Prepares what tests stand on, and goes on as perform.sh says.
#
#   ttyS0  the kernel's console, and this script's own words
#   ttyS1  standard output and error of the command
#   ttyS2  the result (report.sh)
export PATH=/usr/bin HOME=/root LANG=C.UTF-8 TERM=dumb RUST_BACKTRACE=1
umask 022
# busybox's shell takes its own applets before what is on the PATH: other programs go by their whole path.

. /vm/report.sh

must chmod 755 /
must mkdir -p /proc /sys /dev /run /tmp /root /home/user /var/lib /mnt/ext4 /mnt/overlay /mnt/tmpfs
must mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1
for port in /dev/ttyS1 /dev/ttyS2; do must stty -F "$port" raw; done

must mount -t proc proc /proc
must mount -t sysfs sysfs /sys
must mount -t cgroup2 cgroup2 /sys/fs/cgroup
must mount -t bpf bpf /sys/fs/bpf
must mount -t tracefs tracefs /sys/kernel/tracing
must mount -t securityfs securityfs /sys/kernel/security
must mkdir -p /dev/pts /dev/shm
must mount -t devpts devpts /dev/pts
must mount -t tmpfs -o mode=1777 tmpfs /dev/shm
must mount -t tmpfs -o mode=755 tmpfs /run
must mount -t tmpfs -o mode=1777 tmpfs /tmp
must mount -t tmpfs -o mode=755 tmpfs /mnt/tmpfs
must chown 1000:1000 /home/user
must hostname guest
must ip link set lo up

while read -r module; do must insmod "$module"; done </vm/modules

# Two disks: what a test does on one is no doing of the other's.
disk() {
    must truncate -s 64M "/vm/$1.img"
    must /usr/bin/mke2fs -q -F -t ext4 -T ext4 -E lazy_itable_init=1,lazy_journal_init=1 "/vm/$1.img"
    must mkdir -p "$2"
    must mount -t ext4 -o loop "/vm/$1.img" "$2"
}
disk plain /mnt/ext4
disk layers /mnt/layers
must mkdir /mnt/layers/lower /mnt/layers/upper /mnt/layers/work
must mount -t overlay -o lowerdir=/mnt/layers/lower,upperdir=/mnt/layers/upper,workdir=/mnt/layers/work \
    overlay /mnt/overlay

. /vm/perform.sh
