#!/usr/bin/env bash
# What real programs are told to contain and to be of, without a network: of packages of dpkg and of rpm, in another root,
# and an agent of PyPI (programs.py).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../packaging/tests/machine.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../packaging/tests/machine.sh"

((EUID == 0)) || cannot "loading kernel programs needs root"
need dpkg-query dpkg
need readelf binutils
need busybox busybox-static
need python3 python3
need pip3 python3-pip
need rpmbuild rpm

# Without what it depends on: that it is started is enough.
find_packages() {
    local made
    lock_cache
    packages=$cache/programs-$(digest "$here/packages.txt")
    if [[ ! -d $packages ]]; then
        say "fetching an agent (PyPI)"
        made=$(mktemp -d "$cache/half-made-XXXXXX")
        pip3 download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$made/wheels" \
            --requirement "$here/packages.txt" >"$cache/pip.log" 2>&1 ||
            cannot "the agent cannot be fetched: $(tail -n 1 "$cache/pip.log")"
        mv "$made/wheels" "$packages"
        rm -rf "$made"
    fi
    unlock_cache
}

mkdir -p "$cache"
find_packages
if [[ ${1-} == fetch ]]; then
    say "$packages"
    exit
fi
find_agent
scratch=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
python3 "$here/programs.py" "$agent" "$packages" "$scratch"
