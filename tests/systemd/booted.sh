# For `run` of this directory and of tests/package: a real systemd as PID 1 of a container whose root is this machine's own under a
# throw-away overlay. Sourced; needs root. `skip WHY` ends with 77: this machine cannot do it.
skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip 'needs root'
command -v systemd-nspawn >/dev/null && command -v nsenter >/dev/null && [ -x /lib/systemd/systemd ] || skip 'needs systemd and systemd-nspawn (systemd-container)'

dir=$(mktemp -d /var/tmp/musher-systemd.XXXXXX)
mkdir "$dir"/{upper,work,root}
root=$dir/root
container=
cleanup() {
    if [ -n "$container" ]; then
        kill -TERM "$container" 2>/dev/null
        for _ in $(seq 100); do kill -0 "$container" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$container" 2>/dev/null
        wait "$container" 2>/dev/null
    fi
    umount "$dir/root" 2>/dev/null
    mountpoint -q "$dir/root" || rm -rf "$dir"
}
trap cleanup EXIT
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root" || skip 'no overlay over /'
# Nothing that is installed already.
rm -rf "$root"/usr/bin/musher "$root"/usr/local/bin/musher "$root"/etc/systemd/system/musher{.,-backup.}* \
    "$root"/etc/musher "$root"/var/lib/musher "$root"/run/musher
mkdir -p "$root/opt/musher"

# Starts it, and runs a program of /opt/musher in there.
run_inside() { # run_inside PROGRAM NAME
    echo uninitialized >"$root/etc/machine-id"
    mkdir -p "$root/var/log/journal"
    # No further than basic.target: none of this machine's services.
    # Version 2 of control groups alone, as on all systems of today, whatever this one has.
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit --private-network -D "$root" -M "$2" --boot --console=pipe -- \
        --unit=basic.target systemd.firstboot=no </dev/null >"$dir/console" 2>&1 &
    container=$!
    local init
    for _ in $(seq 600); do
        init=$(pgrep -P "$container" | head -1)
        [ -n "$init" ] && nsenter -t "$init" -a systemctl is-active basic.target >/dev/null 2>&1 && break
        kill -0 "$container" 2>/dev/null || { cat "$dir/console"; container=; skip 'the container does not start'; }
        sleep 0.1
    done
    nsenter -t "$init" -a env -C /opt/musher -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin SYSTEMD_PAGER=cat "./$1"
}
