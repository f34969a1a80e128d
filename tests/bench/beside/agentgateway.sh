#!/bin/sh
# Another gateway for `cargo xtask bench -- --only native --beside tests/bench/beside/agentgateway.sh`: runs agentgateway
# (https://github.com/agentgateway/agentgateway), whose program AGENTGATEWAY names, in front of the MCP server at the URL
# that is given. Its callers are anonymous, each has a session of its own with the server; it decides nothing by who they
# are and keeps no records. It listens on all addresses of the machine.
set -eu
: "${AGENTGATEWAY:?is to name the program of agentgateway}"
# One that is free now.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# What it says goes to where a failure is looked for; what it does not do for a call is off.
config="config:
  adminAddr: 'off'
  statsAddr: 'off'
  readinessAddr: 'off'
  logging:
    level: error
mcp:
  port: $port
  # Its tools are called as the gateway's own adapter calls them.
  prefixMode: always
  targets:
  - name: old
    mcp:
      host: $1"
python3 - "$port" <<'EOF' &
import socket, sys, time
for _ in range(600):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        print(f"listening on 127.0.0.1:{sys.argv[1]}", flush=True)
        break
    except OSError:
        time.sleep(0.05)
EOF
exec "$AGENTGATEWAY" --config "$config" >&2
