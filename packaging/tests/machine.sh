# A Debian with systemd, and Telltale installed in it as a package would; sourced, never run.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

guest=$packaging/tests/guest

# The agent to test: $TELLTALE, else the static one that the other machines run, else the one of a plain build.
find_agent() {
    local path
    for path in "${TELLTALE:-}" "$target/x86_64-unknown-linux-gnu/release/telltale" "$target/debug/telltale"; do
        if [[ -n $path && -x $path ]]; then
            agent=$path
            return
        fi
    done
    cannot "no telltale is built: cargo build"
}

# Sets $system: the unpacked base system, from the cache or from Debian.
find_system() {
    local made kept
    kept=$cache/system-$(digest "${BASH_SOURCE[0]}")
    lock_cache
    if [[ ! -d $kept ]]; then
        need debootstrap debootstrap
        say "fetching a Debian 12 with systemd (debootstrap)"
        made=$(mktemp -d "$cache/half-made-XXXXXX")
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,bpftool bookworm "$made/system" \
            http://deb.debian.org/debian >"$cache/debootstrap.log" 2>&1 ||
            cannot "debootstrap fails: $(tail -n 1 "$cache/debootstrap.log") ($cache/debootstrap.log)"
        # What nobody reads here only makes the machine slow to start.
        rm -rf "$made"/system/var/{cache/apt,lib/apt/lists,log}/* \
            "$made"/system/usr/share/{doc,man,info,locale,zoneinfo,bash-completion} \
            "$made"/system/etc/systemd/system/{timers,getty}.target.wants
        : >"$made/system/etc/machine-id"
        rm -rf "$cache"/system-*
        mv "$made/system" "$kept"
        rmdir "$made"
    fi
    system=$kept
    unlock_cache
}

# install_all ROOT: as a package would, and what the proof needs.
install_all() {
    local root=$1 name
    cp -a "$system/." "$root"
    install -D -m 755 "$agent" "$root/usr/bin/telltale"
    strip --strip-debug "$root/usr/bin/telltale" 2>/dev/null || say "no strip: the machine gets the agent as it is"
    install -D -m 644 -t "$root/usr/lib/systemd/system" "$packaging/systemd/telltale.service"
    install -D -m 644 "$packaging/systemd/telltale.sysusers.conf" "$root/usr/lib/sysusers.d/telltale.conf"
    mkdir -p "$root/etc/telltale"
    echo 'collector = "http://127.0.0.1:4319"' >"$root/etc/telltale/telltale.toml"

    install -D -m 755 "$guest/proof.sh" "$root/root/proof.sh"
    for name in acts collector proof; do
        install -m 644 "$guest/$name.service" "$root/etc/systemd/system/"
    done
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s ../proof.service "$root/etc/systemd/system/multi-user.target.wants/"

    echo 'alice:x:1000:1000::/home/alice:/bin/sh' >>"$root/etc/passwd"
    install -d -o 1000 -g 1000 -m 700 "$root/home/alice" "$root/home/alice/.aws"
    install -o 1000 -g 1000 -m 600 /dev/null "$root/home/alice/.aws/credentials"
}

# judge FILE: what the proof printed decides.
judge() {
    cat "$1"
    local sum
    sum=$(tail -n 1 "$1")
    [[ $sum =~ ^[1-9][0-9]*\ passed,\ 0\ failed ]] || fail "the proof did not hold, or did not end: $sum"
}
