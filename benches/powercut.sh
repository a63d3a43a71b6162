#!/usr/bin/env bash
# Cuts the power in the middle of the load W3 and counts acknowledged jobs that are gone: of Musher, or of any other
# target of queue-bench.
#
#   powercut.sh [TARGET...]        (musher/sync); needs root, a loop device and python3
#
# The server's data is on a file system of its own, which is shut down under it with nothing flushed, so that whatever
# was not synced is lost. Environment: ROUNDS (3), MUSHER_BIN, WORK (a directory on a disk; a temporary one).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tool=$here/queue-bench
export MUSHER_BIN=${MUSHER_BIN:-$here/../target/release/musher}

cut_power() { # cut_power TARGET: the server stops with the power, and its file system comes back as it was on the disk
    local pids
    pids=$("$tool/ctl.sh" pids "$1")
    # shellcheck disable=SC2086 # several numbers
    kill -STOP $pids
    sleep 0.1
    python3 - "$PEERS_RUN" <<'END'
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))  # EXT4_IOC_SHUTDOWN, the journal is not flushed
END
    # shellcheck disable=SC2086
    kill -9 $pids
    for _ in $(seq 100); do
        umount "$PEERS_RUN" 2>/dev/null && break
        sleep 0.1
    done
    mount "$POWERCUT_DEVICE" "$PEERS_RUN"
    rm -f "$PEERS_RUN"/*/data/postmaster.pid
}

if [[ ${1:-} == --ctl ]]; then # called by queue-bench: like ctl.sh, but `kill` cuts the power
    if [[ $2 == kill ]]; then cut_power "$3"; else exec "$tool/ctl.sh" "${@:2}"; fi
    exit
fi

if [[ $(id -u) != 0 || ! -e /dev/loop-control ]]; then
    echo 'powercut.sh: root and loop devices are needed' >&2
    exit 77
fi
(cd "$tool" && cargo build --release --quiet)
work=$(mktemp -d ${WORK:+-p "$WORK"})
export PEERS_RUN=$work/mnt POWERCUT_DEVICE=
clean() {
    umount "$PEERS_RUN" 2>/dev/null || true
    [[ -z $POWERCUT_DEVICE ]] || losetup -d "$POWERCUT_DEVICE" 2>/dev/null || true
}
current=
trap '[[ -z $current ]] || "$tool/ctl.sh" stop "$current" >/dev/null 2>&1; clean; rm -rf "$work"' EXIT
printf '#!/bin/sh\nexec "%s" --ctl "$@"\n' "$here/powercut.sh" >"$work/ctl"
chmod +x "$work/ctl"
mkdir "$PEERS_RUN"
chmod 755 "$work"

for target in "${@:-musher/sync}"; do
    for _ in $(seq "${ROUNDS:-3}"); do
        truncate -s 8G "$work/disk"
        mkfs.ext4 -q "$work/disk"
        POWERCUT_DEVICE=$(losetup -f --show "$work/disk")
        mount "$POWERCUT_DEVICE" "$PEERS_RUN"
        current=$target
        "$tool/ctl.sh" start "$target"
        addr=$("$tool/ctl.sh" addr "$target")
        for _ in $(seq 200); do
            [[ -S ${addr#unix:} || $addr = tcp:* ]] && break
            sleep 0.05
        done
        sleep 0.5
        sync -f "$PEERS_RUN"
        timeout 200 "$tool/target/release/queue-bench" crash --peer "$target" --ctl "$work/ctl" --load 'W7 power cut' \
            --jobs 1000000 --secs 20 --after 3 --producers 16 --consumers 16 \
            --addr "$addr" --protocol "$("$tool/ctl.sh" protocol "$target")"
        "$tool/ctl.sh" stop "$target"
        current=
        clean
        rm -f "$work/disk"
    done
done
