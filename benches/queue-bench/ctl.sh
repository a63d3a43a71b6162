#!/bin/bash
# Control one peer: ctl.sh VERB PEER/MODE
#   start   start it on its own directory, in the background, and wait until it listens
#   stop    ask it to end; kill: kill -9; both wait until it is gone
#   clean   stop it and remove its data
#   pids, rss (MiB), disk (MiB), addr, protocol
# Data lives in $PEERS_RUN (default: run/ beside this script). $MUSHER_BIN is the Musher to measure.
verb=$1 mode=$2
here=$(cd "$(dirname "$0")" && pwd)
root=${PEERS_RUN:-$here/run}
dir=$root/${mode//\//-}
sock=$dir/s
pidfile=$dir/pid
pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
bench=$here/target/release/queue-bench
nats=$here/venv/bin/nats-server
musher=${MUSHER_BIN:-$here/../../target/release/musher}

as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }

start_one() {
    mkdir -p "$dir/data"
    case $mode in
    musher/sync) "$musher" serve --data "$dir/data" --socket "$sock" --workers 0 ;;
    reference/none) "$bench" reference --addr "unix:$sock" ;;
    reference/group) "$bench" reference --addr "unix:$sock" --log "$dir/data/log" ;;
    reference/group+claims) "$bench" reference --addr "unix:$sock" --log "$dir/data/log" --claims 1 ;;
    reference/overlap) "$bench" reference --addr "unix:$sock" --log "$dir/data/log" --overlap 1 ;;
    reference/overlap+claims) "$bench" reference --addr "unix:$sock" --log "$dir/data/log" --overlap 1 --claims 1 ;;
    beanstalkd/fsync) beanstalkd -l "unix:$sock" -b "$dir/data" -f 0 ;;
    beanstalkd/none) beanstalkd -l "unix:$sock" -b "$dir/data" -F ;;
    redis-*/always | redis-*/everysec)
        redis-server --port 0 --unixsocket "$sock" --dir "$dir/data" --save '' \
            --appendonly yes --appendfsync "${mode#*/}" --auto-aof-rewrite-percentage 0 ;;
    nats/*)
        sync='"2m"'; [ "$mode" = nats/always ] && sync=always
        cat > "$dir/conf" <<END
listen: "127.0.0.1:4999"
max_pending: 256MB
jetstream { store_dir: "$dir/data", max_file_store: 20GB, sync_interval: $sync }
END
        "$nats" -c "$dir/conf" ;;
    postgres*/*)
        if [ ! -e "$dir/data/PG_VERSION" ]; then
            chmod 755 "$root" "$dir"; chown postgres "$dir" "$dir/data" 2>/dev/null
            as_postgres "$pg/initdb" -D "$dir/data" -A trust -U postgres --no-sync > "$dir/initdb.log"
        fi
        as_postgres "$pg/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c port=5999 \
            -c synchronous_commit="${mode#*/}" -c shared_buffers=1GB -c max_wal_size=8GB \
            -c max_connections=200 -c autovacuum_naptime=1s ;;
    *) echo "unknown peer $mode" >&2; exit 2 ;;
    esac
}

pids() {
    local p; p=$(cat "$pidfile" 2>/dev/null) || return
    kill -0 "$p" 2>/dev/null || return
    echo "$p"; ps -o pid= --ppid "$p"
}

gone() { for _ in $(seq 600); do [ -z "$(pids)" ] && return; sleep 0.05; done; echo "$mode will not end" >&2; exit 1; }

case $verb in
start)
    mkdir -p "$dir"
    rm -f "$sock"
    # A subshell that becomes the server, so that its pid is the server's.
    ( start_one ) > "$dir/log" 2>&1 &
    sub=$!
    # The case above runs the server as the only child of the subshell.
    for _ in $(seq 400); do
        child=$(ps -o pid=,args= --ppid "$sub" | grep -E 'musher|beanstalkd|redis-server|nats-server|bin/postgres|queue-bench' | awk 'NR==1{print $1}')
        [ -n "$child" ] && break
        kill -0 "$sub" 2>/dev/null || break
        sleep 0.005
    done
    echo "${child:-$sub}" > "$pidfile"
    case $mode in postgres*) [ -e "$dir/ready" ] || for _ in $(seq 200); do
        psql -q -h "$dir" -p 5999 -U postgres -f "$here/jobs.sql" >> "$dir/log" 2>&1 && touch "$dir/ready" && break; sleep 0.1; done ;; esac ;;
stop) p=$(pids | head -1); sig=TERM; case $mode in postgres*) sig=INT ;; esac
    [ -n "$p" ] && kill -$sig "$p"; gone ;;
kill) p=$(pids); [ -n "$p" ] && kill -9 $p; gone; rm -f "$dir/data/postmaster.pid" ;;
clean) "$0" stop "$mode"; rm -rf "$dir" ;;
pids) pids | tr -d ' ' ;;
rss) for p in $(pids); do awk '/^Pss:/{print $2}' "/proc/$p/smaps_rollup"; done | awk '{s+=$1} END{printf "%.0f\n", s/1024}' ;;
disk) du -sm "$dir/data" | cut -f1 ;;
addr) case $mode in nats/*) echo tcp:127.0.0.1:4999 ;; postgres*) echo "unix:$dir/.s.PGSQL.5999" ;; *) echo "unix:$sock" ;; esac ;;
protocol) case $mode in reference/* | beanstalkd/*) echo beanstalk ;; *) echo "${mode%/*}" ;; esac ;;
esac
