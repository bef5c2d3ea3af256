#!/bin/sh
# The first process. A container's root is changed with pivot_root, which the kernel refuses below its initial root:
# systemd gets the same files by a mount of their own.
mount -t proc proc /proc
mount --bind / /mnt
cd /mnt || exit 1
mount --move . /
exec chroot . /lib/systemd/systemd
