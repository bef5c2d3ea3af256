# Python with what the tests of the manifest need; sourced, never run.
# shellcheck shell=bash disable=SC2034 # What is set here is for those who source this.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Sets $python: the interpreter of an environment of its own.
find_python() {
    local made environment requirements=$packaging/tests/requirements.txt
    need python3 python3
    lock_cache
    environment=$cache/python-$(digest "$requirements")
    if [[ ! -x $environment/bin/python ]]; then
        say "fetching the Kubernetes schemas (PyPI kubernetes-validate)"
        made=$(mktemp -d "$cache/half-made-XXXXXX")
        python3 -m venv "$made/python" >"$cache/pip.log" 2>&1 ||
            cannot "python3 -m venv fails: apt-get install python3-venv ($cache/pip.log)"
        "$made/python/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            --only-binary :all: --requirement "$requirements" >>"$cache/pip.log" 2>&1 ||
            cannot "the schemas cannot be fetched: $(tail -n 1 "$cache/pip.log")"
        # It is run by its interpreter alone, so the old path in its scripts does not matter.
        mv "$made/python" "$environment"
        rmdir "$made"
    fi
    python=$environment/bin/python
    unlock_cache
}
