#!/usr/bin/env bash
# What jobs take that are like no other; benches/README.md.
#
#   memory.sh [JOBS [KIND]]  1,000,000 jobs; a line a moment: what, and the daemon's memory in MiB
#                            KIND is tags (each has a tag and a delay of its own), or keys (each has a unique key of
#                            its own, and one of 100,000 keys)
#
# Environment: MUSHER_BIN, one program or several with spaces between.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
jobs=${1:-1000000} kind=${2:-tags}
read -ra programs <<<"${MUSHER_BIN:-$here/../target/release/musher}"
[[ -x ${programs[0]} ]] || (cd "$here/.." && cargo build --release)
dir=$(mktemp -d)
export MUSHER_SOCKET=$dir/socket
daemon=
trap '[[ -z $daemon ]] || kill "$daemon" 2>/dev/null; wait; rm -rf "$dir"' EXIT

start() { # start PROGRAM: until it answers
    : >"$dir/musher.toml"
    "$1" serve --config "$dir/musher.toml" --data "$dir/data" >>"$dir/log" 2>&1 &
    daemon=$!
    for _ in $(seq 3000); do "$1" status >/dev/null 2>&1 && return; sleep 0.02; done
    printf 'memory.sh: no answer within a minute: %s\n' "$(tail -n 3 "$dir/log")" >&2
    exit 1
}

tell() { printf '%s\t%s\t%d\n' "${program##*/}" "$1" "$(($(awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status") / 1024))"; }
now() { date +%s%N; }
since() { awk -v ns="$(($(now) - $1))" 'BEGIN { printf "%.2f s", ns / 1e9 }'; }

for program in "${programs[@]}"; do
    rm -rf "$dir/data"
    start "$program"
    tell empty
    body=$(printf 'x%.0s' $(seq 100))
    case $kind in
    tags) of='"tags":{"order":"%d"},"delay":"%ds"' ;;
    keys) of='"unique":"%d","key":"%d"' ;;
    *) printf 'memory.sh: no such kind: %s\n' "$kind" >&2 && exit 2 ;;
    esac
    seq "$jobs" | awk -v body="$body" -v of="$of" -v kind="$kind" '{
        other = kind == "keys" ? $1 % 100000 : 2592000 + $1 * 7919 % 31536000
        printf "{\"body\":\"%s\"," of "}\n", body, $1, other
    }' | "$program" submit q --jsonl 2>/dev/null
    sleep 3
    tell filled
    if [[ $kind = tags ]]; then
        begun=$(now)
        "$program" list --tag "order=$((jobs / 2))" --json >/dev/null
        tell "list --tag in $(since "$begun")"
    fi
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null || true
    begun=$(now)
    start "$program"
    took=$(since "$begun")
    sleep 3
    tell "started after SIGKILL in $took"
    kill "$daemon"
    wait "$daemon" 2>/dev/null || true
    daemon=
done
