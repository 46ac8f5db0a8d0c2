#!/bin/sh
# Installs what building, the demo and the tests need and this machine lacks: Debian 12 and its relatives, as
# root or through sudo.  Does nothing, and needs no network, when all is there.  Starts no service: the demo and
# the tests run servers of their own on sockets.
set -eu

packages="build-essential pkg-config libhiredis-dev libev-dev libmariadb-dev libmariadb-dev-compat libmsgpack-dev
libcurl4-openssl-dev libssl-dev libjansson-dev libmicrohttpd-dev libsystemd-dev libxxhash-dev redis-server mariadb-server
mariadb-client python3 tzdata"

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    echo "deps: no apt here; these Debian packages, or what your system calls them, are needed:" $packages >&2
    exit 0
fi

# Whoever has node and npm from elsewhere keeps them; the tests of time zones compare with npm packages.
command -v node >/dev/null 2>&1 || packages="$packages nodejs"
command -v npm >/dev/null 2>&1 || packages="$packages npm"

missing=
for p in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

echo "deps: installing$missing" >&2
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "deps: no sudo; run this as root, then try again:" >&2
        echo "    apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    sudo=sudo
fi

# While packages are set up, nothing is started: Debian asks this file.
policy=/usr/sbin/policy-rc.d
guarded=no
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    guarded=yes
fi
cleanup() { [ "$guarded" = no ] || $sudo rm -f "$policy"; }
trap cleanup EXIT
trap 'exit 1' INT TERM

install() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing
}
# Lists that are too old, or not there, are fetched once.
install || { $sudo apt-get -q update && install; }
