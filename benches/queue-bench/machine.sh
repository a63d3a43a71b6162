#!/usr/bin/env bash
# Says on what machine results were made, as lines that a file of results can hold: machine.sh MUSHER_BIN
here=$(cd "$(dirname "$0")" && pwd)
cpu=$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
memory=$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
disk=$(df --output=fstype "${PEERS_RUN:-$here}" | tail -n 1)
printf '# machine: %s processors (%s), %s GiB of memory, Linux %s, %s\n' \
    "$(nproc)" "${cpu:-unknown}" "$memory" "$(uname -r | cut -d- -f1)" "$disk"
commit=$(git -C "$here" rev-parse --short HEAD 2>/dev/null)
versions="$("$1" --version | head -n 1)${commit:+ ($commit)}"
command -v redis-server >/dev/null && versions+=", Redis $(redis-server --version | grep -o 'v=[^ ]*' | cut -c3-)"
command -v beanstalkd >/dev/null && versions+=", $(beanstalkd -v)"
[[ -x $here/venv/bin/nats-server ]] && versions+=", $("$here/venv/bin/nats-server" --version | tr -d :)"
for pg in /usr/lib/postgresql/*/bin/postgres; do
    [[ -x $pg ]] && versions+=", PostgreSQL $("$pg" --version | grep -o '[0-9.]*' | head -n 1)"
done
printf '# versions: %s\n' "$versions"
