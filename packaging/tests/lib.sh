# Shared by the tests of packaging; sourced, never run. Each test exits with 0 (holds), 1 (does not) or 77 (cannot run
# here, with the reason as its last line).
# shellcheck shell=bash

packaging=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
workspace=$(dirname "$packaging")
target=${CARGO_TARGET_DIR:-$workspace/target}
cache=$target/packaging
# Used by those who source this.
export packaging workspace target cache

say() { printf '%s\n' "$*"; }

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

cannot() {
    printf 'cannot run here: %s\n' "$*"
    exit 77
}

# need PROGRAM PACKAGE
need() {
    command -v "$1" >/dev/null || cannot "no $1: apt-get install $2"
}

# Names a cache entry by what makes it.
digest() { cat -- "$@" | sha256sum | cut -c1-16; }

# One maker at a time; the kernel lets go when the test ends. What a killed one left half made goes.
lock_cache() {
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    rm -rf "$cache"/half-made-*
}

unlock_cache() { exec 9>&-; }
