# Exactly what CI runs.
check:
    .ci/run

# Licences, advisories, bans. Needs cargo-deny.
deny:
    cargo deny check

# The units, as systemd reads them.
units:
    systemd-analyze verify --man=no systemd/*.service systemd/*.socket systemd/*.timer
