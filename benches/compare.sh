#!/usr/bin/env bash
# Measures Musher beside other queues on the same loads; benches/README.md says what they are.
#
#   compare.sh --quick                  each load once: Musher, Redis and the reference; about a minute
#   compare.sh [TARGET...]              three rounds in turn, medians; all that are installed, or these
#   compare.sh --series [TARGET...]     what plot.sh draws: over producers, over submits in flight, over an offered rate
#   compare.sh --backlog N [TARGET...]  memory, disk, restart after kill -9, and claims with N jobs waiting
#   compare.sh --long MINUTES [TARGET]  the last slice against the first, with a backlog of a million beside
#
# With --out FILE the results are kept, and added to those that are there; without it they are forgotten.
#
# Environment: ROUNDS (3), SLICES of the long run (one a minute, at least 5), MUSHER_BIN (built with --release if not
# given), PEERS_RUN (where data lives while it runs: a directory on the disk to measure; benches/queue-bench/run),
# PATIENCE (seconds that a run waits for other processes to be done; 20).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tool=$here/queue-bench
bench=${CARGO_TARGET_DIR:-$tool/target}/release/queue-bench
musher=musher/sync redis=redis-list/always reference=reference/group+claims
export PEERS_RUN=${PEERS_RUN:-$tool/run} MUSHER_BIN=${MUSHER_BIN:-$here/../target/release/musher} QUEUE_BENCH=$bench

fail() { printf 'compare.sh: %s\n' "$*" >&2; exit 1; }

installed() { # installed TARGET: whether it can be run here
    case $1 in
    musher/* | musher:beanstalk/* | musher:keyed/* | musher:unique/* | reference/*) true ;;
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
series=()
for n in 1 2 4 16 64 256; do series+=("producers $n|run --secs 1 --jobs 400000 --producers $n"); done
for n in 1 3 10 30 100 300 1000; do series+=("in flight $n|run --secs 1 --jobs 1000000 --window $n"); done
for n in 1000 5000 10000 20000 50000 100000 200000 400000; do
    series+=("offered $n|offered --rate $n --secs 2 --producers 16")
done

current=
# shellcheck disable=SC2329 # called by the trap
finish() {
    trap '' INT TERM HUP
    [[ -z ${generator:-} ]] || kill "$generator" 2>/dev/null || true
    [[ -z $current ]] || "$tool/ctl.sh" clean "$current" >/dev/null 2>&1 || true
    [[ ${kept:-} || ! ${results:-} ]] || rm -f "$results"
    [[ ! ${made:-} ]] || rmdir "$PEERS_RUN" 2>/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

idle() { # idle: waits until other processes leave the processors alone, and says so if they do not
    local cores waited=0 user nice system free wait rest used
    cores=$(nproc)
    while true; do
        read -r _ user nice system free wait rest </proc/stat
        used=$((free + wait))
        sleep 0.25
        read -r _ user nice system free wait rest </proc/stat
        # In hundredths of a processor; a clock tick is a hundredth of a second.
        used=$((100 * cores - 4 * (free + wait - used)))
        ((used > 15)) || return 0
        ((waited++ < 4 * ${PATIENCE:-20})) || break
    done
    printf 'the machine is busy: others use %d.%02d of %d processors\n' $((used / 100)) $((used % 100)) "$cores" >&2
}

with() { # with TARGET COMMAND OPTION…: a fresh server for one load; its results go to $results
    local target=$1 command=$2 addr code=0
    shift 2
    current=$target
    "$tool/ctl.sh" start "$target"
    addr=$("$tool/ctl.sh" addr "$target")
    for _ in $(seq 200); do
        [[ -S ${addr#unix:} || $addr = tcp:* ]] && break
        sleep 0.02
    done
    sleep 0.2
    idle
    # In the background, since a trap runs only when no command is waited for. No pipe: what runs in a pipe could not
    # tell the trap what is to be cleaned up.
    timeout "${LIMIT:-600}" "$bench" "$command" --peer "$target" --ctl "$tool/ctl.sh" --addr "$addr" \
        --protocol "$("$tool/ctl.sh" protocol "$target")" "$@" >>"$results" 9>&- &
    generator=$!
    wait "$generator" || code=$?
    generator=
    [[ $code = 0 ]] || fail "$target failed on \`$command $*\`; its log: $(tail -n 3 "$PEERS_RUN/${target//\//-}/log" 2>/dev/null)"
    "$tool/ctl.sh" clean "$target"
    current=
}

rounds() { # rounds N TARGET…: every load of $list on every target, in turn, N times
    local n=$1 load target
    shift
    for _ in $(seq "$n"); do
        for load in "${list[@]}"; do
            for target in "$@"; do
                # PostgreSQL's waiting consumers are told by LISTEN and NOTIFY, which cost other loads something.
                case $target,$load in
                postgres/on,W4*) target=postgres-notify/on ;;
                # A sync for each job: at most of these rates there would be only its own queue to see.
                beanstalkd/*,offered*) continue ;;
                esac
                # shellcheck disable=SC2086 # the options are words
                with "$target" ${load#*|} --load "${load%%|*}" --size 100
            done
        done
    done
}

among() { # among TARGET…: those that are installed, as $targets
    local target
    targets=()
    for target in "$@"; do
        if installed "$target"; then
            targets+=("$target")
        else
            echo "$target is not installed (benches/queue-bench/install.sh)" >&2
        fi
    done
}

kept='' what='' words=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --out | --backlog | --long)
        [[ ${2:-} ]] || fail "$1: what follows is missing, see --help"
        if [[ $1 = --out ]]; then kept=$2; else what=$1 number=$2; fi
        shift
        ;;
    --quick | --series) what=$1 ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    -*) fail "no option \`$1\`: --quick, --series, --backlog N, --long MINUTES, --out FILE, or targets" ;;
    *) words+=("$1") ;;
    esac
    shift
done
for target in "${words[@]}"; do installed "$target" || true; done
[[ ${number:-1} =~ ^[0-9]*\.?[0-9]+$ ]] || fail "$what $number: a number"

command -v cargo >/dev/null || fail 'cargo is needed to build Musher and the load generator'
(cd "$tool" && cargo build --release --quiet)
[[ -x $MUSHER_BIN ]] || (cd "$here/.." && cargo build --release)

[[ -d $PEERS_RUN ]] || { mkdir -p "$PEERS_RUN" && made=1; }
PEERS_RUN=$(cd "$PEERS_RUN" && pwd)
exec 9<"$PEERS_RUN"
flock -n 9 || fail "another run uses $PEERS_RUN: wait for it, or name another directory in PEERS_RUN"
# What a run that was killed has left: its results, its servers, and their data.
rm -f "$PEERS_RUN"/results.*
for left in "$PEERS_RUN"/*/pid; do
    [[ -e $left ]] || continue
    left=$(basename "$(dirname "$left")")
    "$tool/ctl.sh" clean "${left%-*}/${left##*-}"
done

if [[ $kept ]]; then
    results=$kept
    [[ -s $results ]] || "$bench" columns >"$results"
    { "$tool/machine.sh" "$MUSHER_BIN"; date -u +'# measured on %F'; } | while read -r note; do
        grep -qxF "$note" "$results" || echo "$note" >>"$results"
    done
else
    results=$(mktemp "$PEERS_RUN/results.XXXXXX")
fi

list=("${loads[@]}")
case $what in
--quick)
    PATIENCE=${PATIENCE:-2}
    among "${words[@]:-$musher}" "$reference" "$redis"
    rounds 1 "${targets[@]}"
    ;;
--series)
    list=("${series[@]}")
    among ${words[@]:-$musher $reference $redis beanstalkd/fsync}
    rounds "${ROUNDS:-3}" "${targets[@]}"
    ;;
--backlog)
    among ${words[@]:-$musher $redis}
    for target in "${targets[@]}"; do
        with "$target" backlog --jobs "$number" --secs 240 --producers 4 --window 1000 --batch 100
    done
    ;;
--long)
    slices=${SLICES:-$(awk -v m="$number" 'BEGIN { print m < 5 ? 5 : int(m) }')}
    LIMIT=$(awk -v m="$number" 'BEGIN { print int(m * 60) + 600 }')
    with "${words[0]:-$musher}" long --minutes "$number" --slices "$slices" --size 100
    exit
    ;;
*)
    among ${words[@]:-$musher $reference $redis redis-stream/always beanstalkd/fsync nats/always postgres/on}
    rounds "${ROUNDS:-3}" "${targets[@]}"
    ;;
esac

"$bench" ratios --file "$results" --to "$redis" --limit "$reference"
