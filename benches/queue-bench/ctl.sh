#!/bin/bash
# Control one peer: ctl.sh VERB PEER/MODE
#   start   start it on its own directory, in the background, and wait until it listens
#   stop    ask it to end; kill: kill -9; both wait until it is gone
#   clean   stop it, by force if it does not end, and remove its data
#   pids, rss (MiB), disk (MiB), addr, protocol
# Data lives in $PEERS_RUN (default: run/ beside this script). $MUSHER_BIN is the Musher to measure.
verb=$1 mode=$2
here=$(cd "$(dirname "$0")" && pwd)
root=${PEERS_RUN:-$here/run}
dir=$root/${mode//\//-}
sock=$dir/s
pidfile=$dir/pid
pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
bench=${QUEUE_BENCH:-$here/target/release/queue-bench}
nats=$here/venv/bin/nats-server
musher=${MUSHER_BIN:-$here/../../target/release/musher}

postgres_user=
[ "$(id -u)" = 0 ] && postgres_user='setpriv --reuid=postgres --regid=postgres --clear-groups'

# Becomes the server, so that its process is the one that was started.
start_one() {
    mkdir -p "$dir/data"
    case $mode in
    musher/sync | musher:unique/sync) exec "$musher" serve --data "$dir/data" --socket "$sock" --workers 0 ;;
    musher:keyed/sync)
        printf '[queues.keyed]\nper_key = 1\n' > "$dir/conf"
        exec "$musher" serve --config "$dir/conf" --data "$dir/data" --socket "$sock" --workers 0 ;;
    musher:beanstalk/sync)
        printf '[daemon]\nbeanstalk = "%s"\n' "$sock" > "$dir/conf"
        exec "$musher" serve --config "$dir/conf" --data "$dir/data" --socket "$dir/own" --workers 0 ;;
    reference/none) exec "$bench" reference --addr "unix:$sock" ;;
    reference/group) exec "$bench" reference --addr "unix:$sock" --log "$dir/data/log" ;;
    reference/group+claims) exec "$bench" reference --addr "unix:$sock" --log "$dir/data/log" --claims 1 ;;
    reference/overlap) exec "$bench" reference --addr "unix:$sock" --log "$dir/data/log" --overlap 1 ;;
    reference/overlap+claims) exec "$bench" reference --addr "unix:$sock" --log "$dir/data/log" --overlap 1 --claims 1 ;;
    beanstalkd/fsync) exec beanstalkd -l "unix:$sock" -b "$dir/data" -f 0 ;;
    beanstalkd/none) exec beanstalkd -l "unix:$sock" -b "$dir/data" -F ;;
    redis-*/always | redis-*/everysec)
        exec redis-server --port 0 --unixsocket "$sock" --dir "$dir/data" --save '' \
            --appendonly yes --appendfsync "${mode#*/}" --auto-aof-rewrite-percentage 0 ;;
    nats/*)
        sync='"2m"'; [ "$mode" = nats/always ] && sync=always
        cat > "$dir/conf" <<END
listen: "127.0.0.1:4999"
max_pending: 256MB
jetstream { store_dir: "$dir/data", max_file_store: 20GB, sync_interval: $sync }
END
        exec "$nats" -c "$dir/conf" ;;
    postgres*/*)
        if [ ! -e "$dir/data/PG_VERSION" ]; then
            chmod 755 "$root" "$dir"; chown postgres "$dir" "$dir/data" 2>/dev/null
            $postgres_user "$pg/initdb" -D "$dir/data" -A trust -U postgres --no-sync > "$dir/initdb.log"
        fi
        exec $postgres_user "$pg/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c port=5999 \
            -c synchronous_commit="${mode#*/}" -c shared_buffers=1GB -c max_wal_size=8GB \
            -c max_connections=200 -c autovacuum_naptime=1s ;;
    *) echo "unknown peer $mode" >&2; exit 2 ;;
    esac
}

pids() {
    local p; p=$(cat "$pidfile" 2>/dev/null) || return
    [ -e "/proc/$p" ] || return
    # Only what still is the server of this directory: a number may have been given to another process since.
    tr '\0' ' ' 2>/dev/null < "/proc/$p/cmdline" | grep -qF -e "$dir" -e "start $mode" || return
    echo "$p"; ps -o pid= --ppid "$p"
}

gone() { # gone TENTHS: wait so long until it is
    for _ in $(seq "$1"); do [ -z "$(pids)" ] && return; sleep 0.1; done
    echo "$mode will not end" >&2
    return 1
}

case $verb in
start)
    mkdir -p "$dir"
    rm -f "$sock"
    # Descriptor 9 is the caller's lock.
    ( start_one ) > "$dir/log" 2>&1 < /dev/null 9>&- &
    echo $! > "$pidfile"
    case $mode in postgres*) [ -e "$dir/ready" ] || for _ in $(seq 200); do
        psql -q -h "$dir" -p 5999 -U postgres -f "$here/jobs.sql" >> "$dir/log" 2>&1 && touch "$dir/ready" && break; sleep 0.1; done ;; esac ;;
stop) p=$(pids | head -1); sig=TERM; case $mode in postgres*) sig=INT ;; esac
    [ -n "$p" ] && kill -$sig "$p"; gone 300 ;;
kill) p=$(pids); [ -n "$p" ] && kill -9 $p; gone 300 || exit; rm -f "$dir/data/postmaster.pid" ;;
clean)
    p=$(pids | head -1); [ -n "$p" ] && { case $mode in postgres*) kill -INT "$p" ;; *) kill -TERM "$p" ;; esac; }
    gone 100 || "$0" kill "$mode"
    rm -rf "$dir" ;;
pids) pids | tr -d ' ' ;;
rss) for p in $(pids); do awk '/^Pss:/{print $2}' "/proc/$p/smaps_rollup"; done | awk '{s+=$1} END{printf "%.0f\n", s/1024}' ;;
disk) du -sm "$dir/data" | cut -f1 ;;
addr) case $mode in nats/*) echo tcp:127.0.0.1:4999 ;; postgres*) echo "unix:$dir/.s.PGSQL.5999" ;; *) echo "unix:$sock" ;; esac ;;
protocol) case $mode in reference/* | beanstalkd/* | musher:beanstalk/*) echo beanstalk ;; *) echo "${mode%/*}" ;; esac ;;
esac
