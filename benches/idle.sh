#!/usr/bin/env bash
# Counts how often a daemon wakes up while workers wait for jobs that do not come; benches/README.md.
#
#   idle.sh [WORKERS] [SECONDS]  24 workers outside, 10 seconds; a line a thread name: threads, wake-ups a second
#
# A wake-up is a voluntary context switch (/proc/PID/task/*/status). Environment: MUSHER_BIN.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
workers=${1:-24} seconds=${2:-10}
musher=${MUSHER_BIN:-$here/../target/release/musher}
[[ -x $musher ]] || (cd "$here/.." && cargo build --release)
dir=$(mktemp -d)
export MUSHER_SOCKET=$dir/socket
: >"$dir/musher.toml"
"$musher" serve --config "$dir/musher.toml" --data "$dir/data" --workers 2 >"$dir/log" 2>&1 &
daemon=$!
outside=()
trap 'kill "${outside[@]}" "$daemon" 2>/dev/null; wait; rm -rf "$dir"' EXIT

fail() { printf 'idle.sh: %s\n' "$*" >&2; exit 1; }

waiting() { # waiting: how many claims wait in the queue `idle`
    "$musher" queues --json 2>/dev/null | tr '{' '\n' | sed -n '/"queue":"idle"/s/.*"waiting_claims":\([0-9]*\).*/\1/p'
}

until_waiting() { # until_waiting N
    for _ in $(seq 500); do
        [[ $(waiting) = "$1" ]] && return
        sleep 0.02
    done
    fail "$1 claims do not wait within 10 seconds: $(tail -n 3 "$dir/log")"
}

# The queue comes into being with its first job.
for _ in $(seq 500); do "$musher" submit idle x >/dev/null 2>&1 && break; sleep 0.02; done
for _ in $(seq "$workers"); do
    "$musher" work idle -q -- true 2>/dev/null &
    outside+=($!)
done
until_waiting "$workers"
# Whatever the job has left to do.
sleep 3

switches() { # switches: thread, its name, its voluntary context switches
    for task in /proc/"$daemon"/task/*; do
        awk -v id="${task##*/}" '/^Name:/ { name = $2 } /^voluntary_ctxt/ { print id, name, $2 }' "$task/status"
    done
}

switches >"$dir/before"
sleep "$seconds"
switches >"$dir/after"
awk -v seconds="$seconds" '
    NR == FNR { before[$1] = $3; next }
    { name = $2; sub(/-[0-9]+$/, "", name); threads[name]++; woken[name] += $3 - before[$1] }
    END { for (name in woken) printf "%s\t%d threads\t%.1f wake-ups/s\n", name, threads[name], woken[name] / seconds }
' "$dir/before" "$dir/after" | sort
