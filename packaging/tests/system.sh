# The base system, fetched once for each state of this file; sourced by machine.sh, never run.
# shellcheck shell=bash disable=SC2034 # What is set here is for those who source this.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The archive of Debian that this machine's apt is told to use; none where it uses none, or does not know yet: then
# debootstrap has its own.
apt_mirror() {
    # shellcheck disable=SC2016 # apt expands these.
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 ~ "^https?://" { print $2; exit }'
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
        # shellcheck disable=SC2046 # Without a mirror of its own there is no argument.
        debootstrap --variant=minbase --include=systemd,systemd-sysv,libpam-systemd,dbus,bpftool,runc bookworm "$made/system" \
            $(apt_mirror) >"$cache/debootstrap.log" 2>&1 ||
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
