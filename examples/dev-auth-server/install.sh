#!/bin/sh
# Installs this server below a folder, so that nothing is written into the source tree, and prints
# the command that starts it: the path of Node.js, then that of the program, one a line.
#
#   install.sh <target folder>
#
# Exit 3 where this machine lacks what that takes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
target=$(cd "$1" && pwd)
folder=$target/dev-auth-server
node=$(sh "$here/../../plugins/xtask/node.sh" "$target")

mkdir -p "$folder"
# Two at a time would install over each other; the second one finds the work done.
exec 9>"$folder/.lock"
! command -v flock >/dev/null || flock 9

pins() {
    cat "$here/package.json" "$here/package-lock.json"
}
if ! pins | cmp -s - "$folder/.pins"; then
    if ! command -v npm >/dev/null; then
        echo "dev-auth-server: npm is not installed: install Node.js from https://nodejs.org" >&2
        exit 3
    fi
    echo "dev-auth-server: installing its packages into $folder (once, some seconds)" >&2
    cp "$here/package.json" "$here/package-lock.json" "$folder/"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --omit=dev --loglevel=error >&2
    pins >"$folder/.pins"
fi
# Only when they differ: another one may be starting from there.
for part in src test; do
    diff -rq "$here/$part" "$folder/$part" >/dev/null 2>&1 || {
        rm -rf "${folder:?}/$part"
        cp -R "$here/$part" "$folder/$part"
    }
done
ln -sfn "$node" "$folder/node"
printf '%s\n' "$node" "$folder/src/main.js"
