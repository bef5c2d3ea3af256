#!/usr/bin/env bash
# The manifest: every object is strictly valid for each Kubernetes release it is for, without a cluster; and it says
# what it must (manifest.py).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need python3 python3

requirements=$packaging/tests/requirements.txt
lock_cache
environment=$cache/python-$(digest "$requirements")
if [[ ! -x $environment/bin/python ]]; then
    say "fetching the Kubernetes schemas (PyPI kubernetes-validate)"
    made=$(mktemp -d "$cache/half-made-XXXXXX")
    trap 'rm -rf "$made"' EXIT
    python3 -m venv "$made/python" >"$cache/pip.log" 2>&1 ||
        cannot "python3 -m venv fails: apt-get install python3-venv ($cache/pip.log)"
    "$made/python/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: --requirement "$requirements" >>"$cache/pip.log" 2>&1 ||
        cannot "the schemas cannot be fetched: $(tail -n 1 "$cache/pip.log")"
    # It is run by its interpreter alone, so the old path in its scripts does not matter.
    mv "$made/python" "$environment"
fi
unlock_cache

"$environment/bin/python" "$packaging/tests/manifest.py" \
    "$packaging/kubernetes/daemonset.yaml" "$packaging/systemd/telltale.service"
