#!/usr/bin/env bash
# Real AI agents and a real MCP server of npm, each in a network without a route: who they are told to be (agents.py).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../packaging/tests/machine.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../packaging/tests/machine.sh"

((EUID == 0)) || cannot "loading kernel programs needs root"
need ip iproute2
need node nodejs
need python3 python3

# Versions are named, so that what was looked at is what is run. Of the packages' scripts one is run: Claude Code's links its
# binary, which another package holds, to where it is started.
find_packages() {
    local made
    lock_cache
    packages=$cache/agents-$(digest "$here/packages.txt")
    if [[ ! -d $packages ]]; then
        need npm npm
        say "fetching AI agents (npm)"
        made=$(mktemp -d "$cache/half-made-XXXXXX")
        # shellcheck disable=SC2046 # One package a word.
        npm install --global --prefix "$made/npm" --ignore-scripts --no-audit --no-fund --no-update-notifier \
            --cache "$made/cache" $(cat "$here/packages.txt") >"$cache/npm.log" 2>&1 ||
            cannot "the agents cannot be fetched: $(tail -n 1 "$cache/npm.log")"
        (cd "$made/npm/lib/node_modules/@anthropic-ai/claude-code" && node install.cjs) >>"$cache/npm.log" 2>&1 ||
            cannot "Claude Code cannot be set up: $(tail -n 1 "$cache/npm.log")"
        # Links within are relative.
        mv "$made/npm" "$packages"
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
python3 "$here/agents.py" "$agent" "$packages" "$scratch"
