# What the proofs are written with; sourced, never run.
# shellcheck shell=bash disable=SC2317 # `check` calls most functions by their names.

# Emulated processors are slow; nothing here takes a tenth of it on a real one.
readonly patience_s=90
readonly unit=telltale.service
# Whose journals are shown where something does not hold.
units=("$unit")

passed=0
failed=0
work=$(mktemp -d)

# check WHAT COMMAND...: it holds if the command succeeds.
check() {
    local what=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what"
        tail -n 20 "$work/said"
    fi
}

same() { [[ $1 == "$2" ]] || { echo "$1 instead of $2"; return 1; }; }

not() { ! "$@"; }

property() { systemctl show --value --property "$2" "$1"; }

# await UNIT PATTERN: until the unit's journal has such a line. (In a pipe journalctl would wait for its next line
# before it sees that nobody reads any more.)
await() {
    local status
    coproc exec journalctl --follow --no-tail --output cat --unit "$1"
    local journal=$COPROC_PID
    timeout "$patience_s" grep --max-count 1 --extended-regexp -- "$2" <&"${COPROC[0]}"
    status=$?
    kill "$journal"
    wait "$journal" 2>/dev/null
    return "$status"
}

# told UNIT TEXT COUNT: how many lines of its journal have it.
told() {
    journalctl --sync
    same "$(journalctl --no-pager --output cat --unit "$1" | grep --count --fixed-strings -- "$2")" "$3"
}

# The kernel's numbers of the programs that a process holds.
programs_of() { sed -n 's/^prog_id:\s*//p' "/proc/$1/fdinfo/"* | sort -nu; }

# none_left FILE: whether none of the programs listed there is loaded. The kernel frees them a little after their last
# holder has gone, and tells nobody.
none_left() {
    local left
    for _ in {1..500}; do
        bpftool --json prog show | grep --only-matching '"id":[0-9]*' | cut -d: -f2 | sort -nu >"$work/loaded"
        left=$(sort -n "$1" "$work/loaded" | uniq -d)
        [[ -z $left ]] && return 0
    done
    echo "left: $left"
    return 1
}

# field PID NAME: a line of its status.
field() { sed -n "s/^$2:\s*//p" "/proc/$1/status"; }

# caps NAME...: the mask of these capabilities, as /proc shows it.
caps() {
    local mask=0 name
    local -A number=([net_admin]=12 [dac_read_search]=2 [sys_ptrace]=19 [perfmon]=38 [bpf]=39)
    for name; do mask=$((mask | 1 << number[$name])); done
    printf '%016x' "$mask"
}

sum() { echo "$passed passed, $failed failed"; ((failed == 0)); }

# Whatever came before, the last line is the sum.
finish() {
    if ((failed > 0)); then
        journalctl --no-pager --output short-monotonic --lines 60 "${units[@]/#/--unit=}"
    fi
    sum
    # Nothing here is worth an orderly end.
    systemctl poweroff --force --force &>/dev/null
    exit
}
