#!/usr/bin/env bash
# The manifest: every object is strictly valid for each Kubernetes release it is for, without a cluster; and it says
# what it must (manifest.py).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"

find_python
"$python" "$packaging/tests/manifest.py" "$packaging/kubernetes/daemonset.yaml" "$packaging/systemd/telltale.service"
