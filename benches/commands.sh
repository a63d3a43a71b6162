#!/usr/bin/env bash
# Runs /bin/true many times, two at a time, through Musher and through what else is installed; benches/README.md.
#
#   commands.sh [TARGET...]  ROUNDS rounds in turn; the median of each target, and its ratio to xargs -P2
#
# Targets: xargs, musher-exec (a program that gets each job's body), musher-command (the job says the command),
# musher-work (a worker outside), tsp (task-spooler), nq (one at a time), pueue, parallel (GNU parallel).
# Time runs from the first submit until the last command has ended; with Musher the submit is one `--lines`.
# Environment: ROUNDS (5), JOBS (4000; a tenth for those that are slow), MUSHER_BIN (built with --release if not
# given), PEERS_RUN (a directory on the disk to measure; benches/queue-bench/run).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-5} jobs=${JOBS:-4000}
musher=${MUSHER_BIN:-$here/../target/release/musher}
run=${PEERS_RUN:-$here/queue-bench/run}
[[ -x $musher ]] || (cd "$here/.." && cargo build --release)
mkdir -p "$run"
dir=$(mktemp -d "$run/commands.XXXXXX")
results=$dir/results
servers=()
trap 'for server in "${servers[@]}"; do kill "$server" 2>/dev/null && wait "$server" || true; done; rm -rf "$dir"' EXIT

fail() { printf 'commands.sh: %s\n' "$*" >&2; exit 1; }

until_true() { # until_true WHAT COMMAND…
    local what=$1
    shift
    for _ in $(seq 500); do "$@" >/dev/null 2>&1 && return; sleep 0.02; done
    fail "$what: not within 10 seconds; see $dir"
}

serve() { # serve CONFIG: a fresh daemon
    export MUSHER_SOCKET=$dir/musher.sock
    rm -rf "$dir/data"
    printf '%b' "$1" >"$dir/musher.toml"
    "$musher" serve --config "$dir/musher.toml" --data "$dir/data" >"$dir/log" 2>&1 &
    servers=($!)
    until_true 'the daemon answers' "$musher" status
}

stop() { # stop: the daemon, or whatever the last target has started
    local server
    for server in "${servers[@]}"; do kill "$server" && wait "$server" || true; done
    servers=()
}

through_musher() { # through_musher QUEUE BODY
    local ids
    ids=$(for ((i = 0; i < jobs; i++)); do echo "$2"; done | "$musher" submit "$1" --lines --ids 2>/dev/null | tail -n 8)
    # shellcheck disable=SC2086 # one word an id
    "$musher" wait $ids >/dev/null
}

# Each measures what is between `begin` and `finish`.
begin() { begun=$(date +%s%N); }
finish() { # finish TARGET JOBS
    awk -v t="$1" -v n="$2" -v ns="$(($(date +%s%N) - begun))" \
        'BEGIN { printf "%s\t%.0f\n", t, n * 1e9 / ns }' | tee -a "$results" >&2
}

measure() {
    local n=$((jobs / 10))
    case $1 in
    xargs) begin; seq "$jobs" | xargs -P2 -n1 /bin/true; finish "$1" "$jobs" ;;
    musher-exec)
        serve '[queues.true]\nhandler = { exec = ["/bin/true"] }\nworkers = 2\n'
        begin; through_musher true x; finish "$1" "$jobs"
        stop
        ;;
    musher-command)
        serve '[queues.commands]\nhandler = "command"\nworkers = 2\n'
        begin
        through_musher commands '{"argv":["/bin/true"],"cwd":"/","env":[["PATH","/usr/bin:/bin"]]}'
        finish "$1" "$jobs"
        stop
        ;;
    musher-work)
        serve ''
        "$musher" work true -j 2 -- /bin/true &
        servers=($! "${servers[@]}")
        begin; through_musher true x; finish "$1" "$jobs"
        stop
        ;;
    tsp)
        export TS_SOCKET=$dir/tsp TS_SLOTS=2 TS_MAXFINISHED=10 TS_MAXCONN=1000 TMPDIR=$dir
        tsp -n true
        begin
        for ((i = 0; i < n; i++)); do tsp -n /bin/true >/dev/null; done
        while tsp | grep -qE 'queued|running'; do sleep 0.02; done
        finish "$1" "$n"
        tsp -K
        ;;
    nq)
        export NQDIR=$dir/nq
        mkdir "$NQDIR"
        begin
        for ((i = 0; i < n; i++)); do nq -q /bin/true; done
        (cd "$NQDIR" && nq -w)
        finish "$1" "$n"
        rm -rf "$NQDIR"
        ;;
    pueue)
        printf 'client: {}\ndaemon: {}\nshared:\n  pueue_directory: %s\n  runtime_directory: %s\n' "$dir" "$dir" >"$dir/p.yml"
        printf '  use_unix_socket: true\n  unix_socket_path: %s/pueue.sock\n' "$dir" >>"$dir/p.yml"
        pueued -c "$dir/p.yml" >"$dir/log" 2>&1 &
        servers=($!)
        until_true 'pueued answers' pueue -c "$dir/p.yml" parallel 2
        n=50
        begin
        for ((i = 0; i < n; i++)); do pueue -c "$dir/p.yml" add -- /bin/true >/dev/null; done
        pueue -c "$dir/p.yml" wait --quiet
        finish "$1" "$n"
        stop
        ;;
    parallel) begin; seq "$n" | parallel -j2 /bin/true 2>/dev/null; finish "$1" "$n" ;;
    *) fail "no target \`$1\`: see benches/README.md" ;;
    esac
}

targets=("$@")
if [[ $# = 0 ]]; then
    targets=(xargs musher-exec musher-command musher-work)
    for peer in tsp nq pueue parallel; do
        if command -v "$peer" >/dev/null; then targets+=("$peer"); else echo "$peer is not installed" >&2; fi
    done
fi
for _ in $(seq "$rounds"); do
    for target in "${targets[@]}"; do measure "$target"; done
done

echo $'target\tjobs/s\tto xargs'
for target in "${targets[@]}"; do
    median=$(awk -v t="$target" '$1 == t { print $2 }' "$results" | sort -n | sed -n "$(((rounds + 1) / 2))p")
    [[ $target = xargs ]] && limit=$median
    awk -v t="$target" -v m="$median" -v l="${limit:-0}" 'BEGIN { printf "%s\t%d\t%s\n", t, m, l ? sprintf("%.2f", m / l) : "-" }'
done
