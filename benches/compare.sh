#!/usr/bin/env bash
# Measures Musher beside other queues on the same loads; benches/README.md says what they are.
#
#   compare.sh --quick                  each load once: Musher, Redis and the reference; about a minute
#   compare.sh [TARGET...]              three rounds in turn, medians; all that are installed, or these
#   compare.sh --backlog N [TARGET...]  memory, disk, restart after kill -9, and claims with N jobs waiting
#
# Environment: ROUNDS (3), MUSHER_BIN (built with --release if not given), PEERS_RUN (where data lives while it runs:
# a directory on the disk to measure; benches/queue-bench/run).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tool=$here/queue-bench
bench=$tool/target/release/queue-bench
musher=musher/sync redis=redis-list/always reference=reference/group+claims
export PEERS_RUN=${PEERS_RUN:-$tool/run} MUSHER_BIN=${MUSHER_BIN:-$here/../target/release/musher}

fail() { printf 'compare.sh: %s\n' "$*" >&2; exit 1; }

installed() { # installed TARGET: whether it can be run here
    case $1 in
    musher/* | reference/*) true ;;
    redis-*) command -v redis-server >/dev/null ;;
    beanstalkd/*) command -v beanstalkd >/dev/null ;;
    nats/*) [[ -x $tool/venv/bin/nats-server ]] ;;
    postgres*) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
    *) fail "no target \`$1\`: see benches/README.md" ;;
    esac
}

# The loads: name, then what the generator is told.
loads=(
    'W1 1 producer|run --secs 1 --jobs 100000'
    'W2 16 producers|run --secs 1 --jobs 400000 --producers 16'
    'W2 64 producers|run --secs 1 --jobs 400000 --producers 64'
    'W2 1000 in flight|run --secs 1 --jobs 1000000 --window 1000'
    'W2 1000 in flight, 100 a request|run --secs 1 --jobs 1000000 --window 1000 --batch 100'
    'W3 16+16|run --secs 2 --jobs 200000 --producers 16 --consumers 16'
    'W3 16+16, 50 a request|run --secs 2 --jobs 200000 --producers 16 --consumers 16 --window 50 --batch 50'
    'W4 submit to a waiting worker|wake --secs 3 --jobs 1000'
)

current=
trap '[[ -z $current ]] || "$tool/ctl.sh" clean "$current" >/dev/null 2>&1 || true' EXIT

with() { # with TARGET COMMAND OPTION…: a fresh server for one load; its result goes to standard output
    local target=$1 command=$2 addr
    shift 2
    current=$target
    "$tool/ctl.sh" start "$target"
    addr=$("$tool/ctl.sh" addr "$target")
    for _ in $(seq 200); do
        [[ -S ${addr#unix:} || $addr = tcp:* ]] && break
        sleep 0.02
    done
    sleep 0.2
    timeout 600 "$bench" "$command" --peer "$target" --ctl "$tool/ctl.sh" --addr "$addr" \
        --protocol "$("$tool/ctl.sh" protocol "$target")" "$@" ||
        fail "$target failed; its log: $(tail -n 3 "$PEERS_RUN/${target//\//-}/log" 2>/dev/null)"
    "$tool/ctl.sh" clean "$target"
    current=
}

rounds() { # rounds N TARGET…: every load on every target, in turn, N times
    local n=$1 load target
    shift
    for _ in $(seq "$n"); do
        for load in "${loads[@]}"; do
            for target in "$@"; do
                # shellcheck disable=SC2086 # the options are words
                with "$target" ${load#*|} --load "${load%%|*}" --size 100 | tee -a "$results" >&2
            done
        done
    done
}

command -v cargo >/dev/null || fail 'cargo is needed to build Musher and the load generator'
(cd "$tool" && cargo build --release --quiet)
[[ -x $MUSHER_BIN ]] || (cd "$here/.." && cargo build --release)
results=$(mktemp)

case ${1:-} in
--quick)
    targets=("$musher" "$reference")
    if installed "$redis"; then
        targets+=("$redis")
    else
        echo 'redis-server is not installed: no ratios to Redis (benches/queue-bench/install.sh)' >&2
    fi
    rounds 1 "${targets[@]}"
    ;;
--backlog)
    jobs=${2:?'how many jobs?'}
    shift 2
    for target in ${*:-$musher $redis}; do
        installed "$target" || { echo "$target is not installed" >&2; continue; }
        with "$target" backlog --jobs "$jobs" --secs 240 --producers 4 --window 1000 --batch 100 |
            tee -a "$results" >&2
    done
    ;;
-*) fail "no option \`$1\`: --quick, --backlog N, or targets" ;;
*)
    targets=()
    for target in ${*:-$musher $reference $redis redis-stream/always beanstalkd/fsync nats/always postgres/on}; do
        if installed "$target"; then targets+=("$target"); else echo "$target is not installed" >&2; fi
    done
    rounds "${ROUNDS:-3}" "${targets[@]}"
    ;;
esac

"$bench" ratios --file "$results" --to "$redis" --limit "$reference"
rm -f "$results"
