#!/bin/sh
# Another gateway for `cargo xtask bench -- --only native --beside tests/bench/beside/fastmcp.sh`: installs FastMCP
# from PyPI below target/ once, and runs it in front of the MCP server at the URL that is given.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
installed="${CARGO_TARGET_DIR:-$here/../../../target}/beside/fastmcp"
if ! [ -e "$installed/done" ]; then
  python3 -m venv "$installed" >&2
  "$installed/bin/pip" install --quiet --disable-pip-version-check fastmcp==4.2.3 >&2
  touch "$installed/done"
fi
exec "$installed/bin/python" "$here/fastmcp_gateway.py" "$1"
