# A virtual machine whose process 1 is a systemd of its own; sourced, never run.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

readonly limit_s=600

# Where `cargo xtask setup` unpacks QEMU if its package cannot be installed.
# shellcheck disable=SC2154 # lib.sh sets $target.
PATH=$PATH:$target/tools/qemu

# need_vm: what a machine is made of, by who may make it.
need_vm() {
    ((EUID == 0)) || cannot "making a system needs root"
    need qemu-system-x86_64 qemu-system-x86
    need cpio cpio
}

# find_kernel SERIES: sets $kernel. The kernels are those of `cargo xtask vm`.
find_kernel() {
    local home=$target/vm/kernels/$1
    if [[ ! -f $home/current ]]; then
        say "fetching kernel $1"
        (cd "$workspace" && cargo xtask vm --kernel "$1" --bare -- true) >"$cache/kernel.log" 2>&1 ||
            cannot "cargo xtask vm fails: $(tail -n 1 "$cache/kernel.log") ($cache/kernel.log)"
    fi
    kernel=$(echo "$home/$(<"$home/current")"/boot/vmlinuz-*)
    [[ -f $kernel ]] || cannot "there is no kernel in $home"
}

# shellcheck disable=SC2154 # Whoever sources this sets $scratch.
# boot NAME: boots the tree $scratch/root, which goes, and judges what its proof said. NAME is that of the logs.
boot() {
    ln -s dev/ttyS1 "$scratch/root/proof-says"
    install -m 755 "$guest/early.sh" "$scratch/root/early"
    (cd "$scratch/root" && find . -print0 | cpio --null --create --format newc --quiet) >"$scratch/system.cpio"
    rm -rf "$scratch/root"

    say "booting systemd on kernel $(basename "$kernel"), with $agent"
    : >"$scratch/said"
    # The time limit ends a machine that hangs; that it was reached shows in what the proof did not say. One processor: of
    # some twenty machines with two, each emulated by a thread of its own, one has reset itself within seconds.
    timeout --signal KILL "$limit_s" qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
        -M q35 -cpu max -accel tcg,thread=multi -smp 1 -m 1024M \
        -kernel "$kernel" -initrd "$scratch/system.cpio" \
        -append "console=ttyS0 quiet panic=-1 norandmaps rdinit=/early \
lsm=lockdown,capability,landlock,yama,apparmor,bpf" \
        -serial "file:$scratch/console" -serial "file:$scratch/said" </dev/null || say "the machine ended with $?"
    cp "$scratch/console" "$cache/$1-console.log"
    tr -d '\r' <"$scratch/said" >"$cache/$1.log"
    judge "$cache/$1.log" "$cache/$1-console.log"
}
