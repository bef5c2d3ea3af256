#!/usr/bin/env bash
# Real logins: OpenSSH, login, sudo, tmux, and an agent behind them, in a network without a route (login.py).
#
# The host itself must know who logs in: for the time of the test it gets a user, and a rule for sudo.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../packaging/tests/machine.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../packaging/tests/machine.sh"

((EUID == 0)) || cannot "loading kernel programs needs root"
PATH=$PATH:/usr/sbin:/sbin
need sshd openssh-server
need ssh openssh-client
need sudo sudo
need tmux tmux
need login login
need setsid util-linux
need node nodejs
need ip iproute2
need nsenter util-linux
need useradd passwd
need python3 python3
[[ $(command -v sshd) == /usr/sbin/sshd ]] || cannot "sshd is not where Debian has it"

find_agent
user=telltale-test-$$
rule=/etc/sudoers.d/$user
# Where that user may enter, which the cache need not be.
scratch=$(mktemp -d /tmp/telltale-login-XXXXXX)
privileges=/run/sshd
[[ -d $privileges ]] && privileges=
clean() {
    rm -f "$rule"
    # With a systemd, the manager of that user outlives the logins by some seconds.
    userdel --force "$user" 2>/dev/null || true
    rm -rf "$scratch"
    # sshd's empty directory, which a running ssh.service has made otherwise.
    [[ -z $privileges ]] || rmdir "$privileges" 2>/dev/null || true
}
trap clean EXIT
chmod 711 "$scratch"
mkdir -p /run/sshd
useradd --no-log-init --user-group --no-create-home --home-dir "$scratch/home" --shell /bin/bash --password '*' "$user"
printf '%s ALL=(root) NOPASSWD: ALL\nDefaults:%s !requiretty\n' "$user" "$user" >"$scratch/rule"
install -m 440 "$scratch/rule" "$rule"
python3 "$here/login.py" "$agent" "$scratch" "$user"
