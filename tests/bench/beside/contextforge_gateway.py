"""IBM ContextForge in front of one MCP server, as another gateway to measure (`--beside`).

One worker with everything off that its tuning guide calls costly and that a call does not need: its profile "MCP-only
deployment". Its callers are anonymous, it decides nothing by who they are and keeps no records.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile

import httpx
import uvicorn
import uvloop

ADMIN = "admin@example.com"
# `Authorization` is the load's, whose tokens ContextForge does not know and would refuse: it shall not look there.
AUTHORIZATION = "X-MCP-Gateway-Auth"

SETTINGS = {
    # It makes this user, who may register an MCP server.
    "PLATFORM_ADMIN_EMAIL": ADMIN,
    "PLATFORM_ADMIN_PASSWORD": "Aa1!" + secrets.token_urlsafe(24),
    "JWT_SECRET_KEY": secrets.token_urlsafe(48),
    "AUTH_HEADER_NAME": AUTHORIZATION,
    # Who has no token may call what is public.
    "MCP_REQUIRE_AUTH": "false",
    # The MCP server is on this machine.
    "SSRF_ALLOW_LOCALHOST": "true",
    # Its tools are called as the gateway's own adapter calls them.
    "GATEWAY_TOOL_NAME_SEPARATOR": "_",
    "JSON_RESPONSE_ENABLED": "true",
    # Only for a caller's session it keeps one with the MCP server. Without, each call takes a new connection,
    # `initialize` and `notifications/initialized` first, and 1.6 times the CPU.
    "USE_STATEFUL_SESSIONS": "true",
    # Otherwise it reads all certificate authorities for each connection, even for http://.
    "SKIP_SSL_VERIFY": "true",
    # Each is a layer around every call.
    "RATE_LIMITING_ENABLED": "false",
    "HEADER_SIZE_VALIDATION_ENABLED": "false",
    "CSRF_ENABLED": "false",
    "PASSWORD_CHANGE_ENFORCEMENT_ENABLED": "false",
    # Its path /mcp comes last: the fewer routes before it, the better.
    "LEGACY_API_ENABLED": "false",
    # There are no other workers to share one with.
    "CACHE_TYPE": "memory",
    # The profile. What it keeps on, such as the other caches, is on by default.
    "MCPGATEWAY_UI_ENABLED": "false",
    "MCPGATEWAY_ADMIN_API_ENABLED": "false",
    "MCPGATEWAY_A2A_ENABLED": "false",
    "MCPGATEWAY_CATALOG_ENABLED": "false",
    "LLMCHAT_ENABLED": "false",
    "PLUGINS_ENABLED": "false",
    "OBSERVABILITY_ENABLED": "false",
    "ENABLE_METRICS": "false",
    "AUDIT_TRAIL_ENABLED": "false",
    "SECURITY_LOGGING_ENABLED": "false",
    "STRUCTURED_LOGGING_DATABASE_ENABLED": "false",
    "CORRELATION_ID_ENABLED": "false",
    "DB_METRICS_RECORDING_ENABLED": "false",
    "TOKEN_USAGE_LOGGING_ENABLED": "false",
    "COMPRESSION_ENABLED": "false",
    "LOG_LEVEL": "ERROR",
}


async def register(gateway: str, url: str) -> None:
    # Importing it reads the settings.
    from mcpgateway.utils.create_jwt_token import create_jwt_token

    token = await create_jwt_token({"sub": ADMIN})
    # It is public unless told otherwise.
    server = {"name": "old", "url": url, "transport": "STREAMABLEHTTP"}
    async with httpx.AsyncClient(timeout=120) as client:
        headers = {AUTHORIZATION: f"Bearer {token}"}
        answer = await client.post(f"{gateway}/v1/gateways", json=server, headers=headers)
    if answer.is_error:
        sys.exit(f"cannot register {url}: {answer.status_code} {answer.text}")


async def serve(url: str) -> None:
    server = uvicorn.Server(uvicorn.Config("mcpgateway.main:app", log_level="error", access_log=False))
    server.handle_exit = end
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # Waits in the backlog until the server has started.
    await register(f"http://{address}", url)
    os.write(output, f"listening on {address}\n".encode())
    await serving


def end(*_: object) -> None:
    """Ends at once: nothing is worth a shutdown in good order, which takes seconds with sessions open."""
    data.cleanup()
    os._exit(0)


# The migrations of its database print what they do.
output = os.dup(1)
os.dup2(2, 1)
# It looks for `.env` and other files where it is started.
data = tempfile.TemporaryDirectory()
os.chdir(data.name)
os.environ.update(SETTINGS, DATABASE_URL=f"sqlite:///{data.name}/mcp.db")
signal.signal(signal.SIGTERM, end)
uvloop.run(serve(sys.argv[1]))
