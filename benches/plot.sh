#!/usr/bin/env bash
# Draws kept results as SVG: plot.sh [RESULTS [DIRECTORY]]; docs/performance/results.tsv into docs/performance.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
docs=$here/../docs/performance
(cd "$here/queue-bench" && cargo build --release --quiet)
exec "${CARGO_TARGET_DIR:-$here/queue-bench/target}/release/queue-bench" plot --file "${1:-$docs/results.tsv}" --dir "${2:-$docs}"
