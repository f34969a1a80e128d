#!/bin/sh
# Installs what the peers run on: the MCP SDKs, MCP Inspector and the official conformance suite into
# target/peers (venvs py1, py2, prom and k8s, node, inspector, conformance), the development authorization server
# into target/dev-auth-server.
# Done once for one set of pins; exit 3 where this machine lacks a tool that it takes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
peers=$root/target/peers

missing() {
    echo "peers: $1" >&2
    exit 3
}

# `fresh <name> <pin file>...`: whether the last good installation had these very pins.
fresh() {
    stamp=$peers/$1/.pins
    shift
    [ -f "$stamp" ] && cat "$@" | cmp -s - "$stamp"
}

# Runs a command quietly: what it said is shown only if it fails.
quietly() {
    "$@" >"$peers/setup.log" 2>&1 || {
        cat "$peers/setup.log" >&2
        echo "peers: failed: $*" >&2
        exit 1
    }
}

python_peer() {
    pins=$here/requirements-$1.txt
    fresh "$1" "$pins" && return
    command -v python3 >/dev/null || missing "python3 is not installed"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || missing "python3 is older than 3.10"
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing "python3 has no venv (Debian: apt install python3-venv)"
    announce
    rm -rf "${peers:?}/$1"
    quietly python3 -m venv "$peers/$1"
    quietly "$peers/$1/bin/python" -m pip install --quiet --disable-pip-version-check -r "$pins"
    cp "$pins" "$peers/$1/.pins"
}

node_peers() {
    fresh node "$here/package.json" "$here/package-lock.json" && return
    command -v node >/dev/null || missing "node is not installed"
    command -v npm >/dev/null || missing "npm is not installed"
    node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 11) ? 0 : 1)' ||
        missing "node is older than 20.11"
    announce
    rm -rf "$peers/node"
    mkdir -p "$peers/node"
    cp "$here/package.json" "$here/package-lock.json" "$peers/node/"
    quietly npm ci --prefix "$peers/node" --ignore-scripts --no-audit --no-fund --omit=dev
    cat "$here/package.json" "$here/package-lock.json" >"$peers/node/.pins"
}

# Run by the Node.js that the authorization server brings: the machine's own may be too old.
inspector() {
    fresh inspector "$here/inspector/package.json" "$here/inspector/package-lock.json" && return
    command -v npm >/dev/null || missing "npm is not installed"
    announce
    rm -rf "$peers/inspector"
    mkdir -p "$peers/inspector"
    cp "$here/inspector/package.json" "$here/inspector/package-lock.json" "$peers/inspector/"
    quietly npm ci --prefix "$peers/inspector" --ignore-scripts --no-audit --no-fund --omit=dev
    cat "$here/inspector/package.json" "$here/inspector/package-lock.json" >"$peers/inspector/.pins"
}

# The suite takes a newer Node than the SDKs do; where the system's is older, one comes as a package.
conformance_suite() {
    pins=$here/../conformance
    fresh conformance "$pins/package.json" "$pins/package-lock.json" && return
    newer=
    ! node -e 'process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)' || newer=--omit=optional
    announce
    rm -rf "$peers/conformance"
    mkdir -p "$peers/conformance"
    cp "$pins/package.json" "$pins/package-lock.json" "$peers/conformance/"
    # shellcheck disable=SC2086 # one word or none
    quietly npm ci --prefix "$peers/conformance" --ignore-scripts --no-audit --no-fund --omit=dev $newer
    [ -n "$newer" ] || [ -x "$(echo "$peers"/conformance/node_modules/node-*/bin/node)" ] ||
        missing "node is older than 22, and there is no package of a newer one for this machine"
    cat "$pins/package.json" "$pins/package-lock.json" >"$peers/conformance/.pins"
}

announced=
announce() {
    [ -n "$announced" ] || echo "peers: installing MCP SDKs, MCP Inspector and the conformance suite into target/peers (once, about a minute)"
    announced=yes
}

mkdir -p "$peers"
# Two at a time would install over each other; the second one finds the work done.
exec 9>"$peers/.lock"
! command -v flock >/dev/null || flock 9
python_peer py1
python_peer py2
python_peer prom
python_peer k8s
node_peers
inspector
sh "$root/examples/dev-auth-server/install.sh" "$root/target" >/dev/null
conformance_suite
rm -f "$peers/setup.log"
