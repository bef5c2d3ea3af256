#!/usr/bin/env bash
# Real cron, anacron and at, units as systemd's files have them, and the layout of a build system's runner (jobs.py).
#
# The host itself must know whose jobs they are: for the time of the test it gets a user, a line in /etc/cron.d, a program in
# /etc/cron.hourly and files of units, which no systemd is asked to load.
# Where no cron and no atd run, the host's own are started for a minute at most: they do what its crontabs say.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../packaging/tests/machine.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../packaging/tests/machine.sh"

((EUID == 0)) || cannot "loading kernel programs needs root"
PATH=$PATH:/usr/sbin:/sbin
need cron cron
need crontab cron
need anacron anacron
need atd at
need setpriv util-linux
need useradd passwd
need python3 python3
need systemd-analyze systemd
[[ $(command -v cron) == /usr/sbin/cron && $(command -v atd) == /usr/sbin/atd ]] ||
    cannot "cron and atd are not where Debian has them"

find_agent
user=telltale-test-$$
# Where that user may enter, which the cache need not be.
scratch=$(mktemp -d /tmp/telltale-jobs-XXXXXX)
clean() {
    crontab -u "$user" -r 2>/dev/null || true
    rm -f "/etc/cron.d/$user" "/etc/cron.hourly/$user" "/run/systemd/system/$user"* "/etc/systemd/system/$user"*
    userdel --force "$user" 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean EXIT
chmod 711 "$scratch"
useradd --no-log-init --user-group --no-create-home --home-dir "$scratch/home" --shell /bin/bash --password '*' "$user"
python3 "$here/jobs.py" "$agent" "$scratch" "$user"
