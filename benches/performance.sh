#!/usr/bin/env bash
# Measures everything that docs/performance.md shows, and writes its tables and pictures: about half an hour.
#
#   performance.sh           new results in place of docs/performance/results.tsv, then the document
#   performance.sh --add     adds rounds to the results that are there
#   performance.sh --write   measures nothing: writes the tables and pictures from the results that are there
#   performance.sh STEP...   only these steps, added: compare series backlog long commands idle
#
# On an idle machine. Environment: as compare.sh; MINUTES of the long run (10), BACKLOGS (sizes of the backlogs),
# QUIET (a command that each measurement is run through).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
docs=$here/../docs
results=$docs/performance/results.tsv
bench=${CARGO_TARGET_DIR:-$here/queue-bench/target}/release/queue-bench
read -ra quiet <<<"${QUIET:-}"
compare=("${quiet[@]}" "$here/compare.sh" --out "$results")
mkdir -p "$docs/performance"

step() {
    printf '%(%T)T %s\n' -1 "$1" >&2
    case $1 in
    compare) "${compare[@]}" >/dev/null ;;
    series) ROUNDS=${ROUNDS:-2} "${compare[@]}" --series >/dev/null ;;
    backlog)
        for jobs in ${BACKLOGS:-10000 100000 1000000 10000000}; do "${compare[@]}" --backlog "$jobs" >/dev/null; done
        ;;
    long) "${compare[@]}" --long "${MINUTES:-10}" >/dev/null ;;
    commands)
        [[ -x $here/commands.sh ]] || { echo 'no benches/commands.sh: W6 is left out' >&2; return; }
        # Its last lines are target, jobs a second, ratio; they become result lines like those of the other loads.
        "${quiet[@]}" "$here/commands.sh" | awk -F'\t' 'NF == 3 && $2 + 0 > 0 {
            print $1 "\tW6 /bin/true, two at a time\t0\t" $2 "\t0\t0\t0\t0\t0\t0\t0\t0" }' >>"$results"
        ;;
    idle)
        [[ -x $here/idle.sh ]] || { echo 'no benches/idle.sh: wake-ups are left out' >&2; return; }
        # Its lines are thread name, how many, wake-ups a second.
        "${quiet[@]}" "$here/idle.sh" | awk -F'\t' 'NF == 3 { split($3, rate, " ")
            print "musher/sync\tidle, " $1 " (" $2 ")\t0\t" rate[1] "\t0\t0\t0\t0\t0\t0\t0\t0" }' >>"$results"
        ;;
    *) printf 'performance.sh: no step `%s`: compare, series, backlog, long, commands, idle\n' "$1" >&2; exit 2 ;;
    esac
}

steps=(compare series backlog long commands idle)
case ${1:-} in
'') rm -f "$results" ;;
--add) ;;
--write) steps=() ;;
-*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
*) steps=("$@") ;;
esac
# A step that fails (the long run does, below nine tenths) takes nothing from the others.
failed=()
for name in "${steps[@]}"; do step "$name" || failed+=("$name"); done

(cd "$here/queue-bench" && cargo build --release --quiet)
[[ -s $results ]] || { echo "performance.sh: $results: no results yet" >&2; exit 1; }
"$bench" report --file "$results" --document "$docs/performance.md"
"$bench" plot --file "$results" --dir "$docs/performance"
[[ ${#failed[@]} = 0 ]] || { echo "performance.sh: failed: ${failed[*]}" >&2; exit 1; }
