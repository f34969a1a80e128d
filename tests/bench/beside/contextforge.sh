#!/bin/sh
# Another gateway for `cargo xtask bench -- --only native --beside tests/bench/beside/contextforge.sh`: installs IBM
# ContextForge from PyPI below target/ once, and runs it in front of the MCP server at the URL that is given.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
installed="${CARGO_TARGET_DIR:-$here/../../../target}/beside/contextforge"
if ! [ -e "$installed/done" ]; then
  python3 -m venv "$installed" >&2
  # httpcore looks for sniffio with every call, and where there is none it searches the disk each time.
  "$installed/bin/pip" install --quiet --disable-pip-version-check \
    mcp-contextforge-gateway==1.0.7 sniffio==1.3.1 >&2
  touch "$installed/done"
fi
exec "$installed/bin/python" "$here/contextforge_gateway.py" "$1"
