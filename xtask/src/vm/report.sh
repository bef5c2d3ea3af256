# What the guest's scripts say on ttyS2, `key=value` a line; its last line is `exit=STATUS`. Sourced, never run.
report() { printf '%s\n' "$*" >/dev/ttyS2; }
must() { "$@" || { report "failed=$*"; poweroff -f; }; }
