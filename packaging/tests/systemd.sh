#!/usr/bin/env bash
# The unit in a real systemd: process 1 of a virtual machine with a distribution's kernel. A container would not do:
# it has process ids of its own, and there the agent refuses to run (see nspawn.sh).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

series=${1:-6.12}
readonly limit_s=420

((EUID == 0)) || cannot "making a system needs root"
need qemu-system-x86_64 qemu-system-x86
need cpio cpio

# The kernels are those of `cargo xtask vm`.
find_kernel() {
    local home=$target/vm/kernels/$series
    if [[ ! -f $home/current ]]; then
        say "fetching kernel $series"
        (cd "$workspace" && cargo xtask vm --kernel "$series" --bare -- true) >"$cache/kernel.log" 2>&1 ||
            cannot "cargo xtask vm fails: $(tail -n 1 "$cache/kernel.log") ($cache/kernel.log)"
    fi
    kernel=$(echo "$home/$(<"$home/current")"/boot/vmlinuz-*)
    [[ -f $kernel ]] || cannot "there is no kernel in $home"
}

mkdir -p "$cache"
find_agent
find_kernel
find_system
scratch=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/root"
install_all "$scratch/root" unit
ln -s dev/ttyS1 "$scratch/root/proof-says"
(cd "$scratch/root" && find . -print0 | cpio --null --create --format newc --quiet) >"$scratch/system.cpio"
rm -rf "$scratch/root"

say "booting systemd on kernel $(basename "$kernel"), with $agent"
: >"$scratch/said"
# The time limit ends a machine that hangs; that it was reached shows in what the proof did not say.
timeout --signal KILL "$limit_s" qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
    -M q35 -cpu max -accel tcg,thread=multi -smp 2 -m 1024M \
    -kernel "$kernel" -initrd "$scratch/system.cpio" \
    -append "console=ttyS0 quiet panic=-1 norandmaps rdinit=/lib/systemd/systemd \
lsm=lockdown,capability,landlock,yama,apparmor,bpf" \
    -serial "file:$scratch/console" -serial "file:$scratch/said" </dev/null || say "the machine ended with $?"
cp "$scratch/console" "$cache/systemd-console.log"
tr -d '\r' <"$scratch/said" >"$cache/systemd.log"
judge "$cache/systemd.log"
