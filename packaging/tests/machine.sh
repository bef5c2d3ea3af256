# A Debian with systemd, and Telltale installed in it as a package would; sourced, never run.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=system.sh
source "$(dirname "${BASH_SOURCE[0]}")/system.sh"

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

# install_all ROOT PROOF: as a package would, and what the proof of that name (guest/PROOF.sh) needs.
install_all() {
    local root=$1 proof=$2 name
    cp -a "$system/." "$root"
    install -D -m 755 "$agent" "$root/usr/bin/telltale"
    strip --strip-debug "$root/usr/bin/telltale" 2>/dev/null || say "no strip: the machine gets the agent as it is"
    install -D -m 644 -t "$root/usr/lib/systemd/system" "$packaging/systemd/telltale.service"
    install -D -m 644 "$packaging/systemd/telltale.sysusers.conf" "$root/usr/lib/sysusers.d/telltale.conf"
    install -D -m 644 "$packaging/systemd/telltale.tmpfiles.conf" "$root/usr/lib/tmpfiles.d/telltale.conf"
    mkdir -p "$root/etc/telltale"
    echo 'collector = "http://127.0.0.1:4319"' >"$root/etc/telltale/telltale.toml"

    install -D -m 755 "$guest/$proof.sh" "$root/root/proof"
    install -m 644 "$guest/checks.sh" "$root/root/"
    for name in acts collector proof; do
        install -m 644 "$guest/$name.service" "$root/etc/systemd/system/"
    done
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s ../proof.service "$root/etc/systemd/system/multi-user.target.wants/"

    echo 'alice:x:1000:1000::/home/alice:/bin/sh' >>"$root/etc/passwd"
    # Without these two PAM knows no account, and there is no service manager of hers.
    echo 'alice:*:20000:0:99999:7:::' >>"$root/etc/shadow"
    echo 'alice:x:1000:' >>"$root/etc/group"
    install -d -o 1000 -g 1000 -m 700 "$root/home/alice" "$root/home/alice/.aws"
    install -o 1000 -g 1000 -m 600 /dev/null "$root/home/alice/.aws/credentials"
}

# judge FILE [CONSOLE]: what the proof printed decides; where it does not hold, the console's end says more.
judge() {
    cat "$1"
    local sum
    sum=$(tail -n 1 "$1")
    [[ $sum =~ ^[1-9][0-9]*\ passed,\ 0\ failed ]] && return
    printf 'FAILED: the proof did not hold, or did not end: %s\n' "$sum"
    [[ -z ${2-} ]] || tail -n 10 "$2" | cat -v | sed 's/^/  /'
    exit 1
}
